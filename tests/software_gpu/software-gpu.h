// A GPU for tests that needs no GPU: a ggml backend with memory of its own and a queue of its own, which computes with
// ggml's CPU backend and ends the process, with a message, at whatever a real device would forgive or not notice.
//
// See README.md for what it checks and what it counts. This is its API for Python (software_gpu.py).

#pragma once

#include "ggml-backend.h"

#ifdef __cplusplus
extern "C" {
#endif

// Register a backend with new devices, so that the next model finds them. Options are "key=value,key=value" of those in
// options.h. NULL if one of them is wrong, see software_gpu_error.
GGML_BACKEND_API ggml_backend_reg_t software_gpu_open(const char * options);

// Take the devices from the registry again. Returns the bytes that were never freed; the devices live on where there are any.
GGML_BACKEND_API size_t software_gpu_close(ggml_backend_reg_t reg);

GGML_BACKEND_API const char * software_gpu_error(void);

// What device `index` has counted, as JSON; valid until the next call.
GGML_BACKEND_API const char * software_gpu_counters(ggml_backend_reg_t reg, size_t index);

// Count from 0 again on all devices; peaks start from what is allocated now.
GGML_BACKEND_API void software_gpu_reset(ggml_backend_reg_t reg);

// Whether a backend of the source, "cuda" or "metal", accepts an operation, as its own supports_op says.
GGML_BACKEND_API bool software_gpu_accepts(const char * backend, const struct ggml_tensor * op);

#ifdef __cplusplus
}
#endif
