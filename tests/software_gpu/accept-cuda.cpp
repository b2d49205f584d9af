// ggml-cuda's own answers, for an NVIDIA card of compute capability 8.6. What they ask of the rest of that backend is
// answered here.

#include "ggml-backend-impl.h"
#include "ggml-impl.h"

#define GGML_COMMON_DECL_CPP
#include "ggml-common.h"

#include <algorithm>
#include <cstring>

#define FLASH_ATTN_AVAILABLE
#define GGML_CUDA_USE_CUB

static constexpr int GGML_CUDA_CC_ADA_LOVELACE = 890;

struct ggml_backend_cuda_device_context      { int device; };
struct ggml_backend_cuda_buffer_type_context { int device; };

struct ggml_cuda_device_info {
    struct { int cc; size_t smpb; } devices[1];
};

static const ggml_cuda_device_info & ggml_cuda_info() {
    static const ggml_cuda_device_info info = { { { 860, 48*1024 } } };

    return info;
}

// the device of a tensor is looked at before
static bool ggml_backend_buft_is_cuda(ggml_backend_buffer_type_t) { return false; }

static bool turing_mma_available(int) { return true;  }
static bool volta_mma_available (int) { return false; }
static bool amd_mfma_available  (int) { return false; }
static bool amd_wmma_available  (int) { return false; }

static bool ggml_cuda_flash_attn_ext_mma_f16_may_use_sparse  (int64_t, int64_t, int, int)           { return false; }
static bool ggml_cuda_flash_attn_ext_mma_f16_shall_use_sparse(int, const ggml_tensor *, int, int) { return false; }

// whether a vector kernel is compiled by default: for K and V of one type
static const void * ggml_cuda_get_fattn_vec_case(int64_t, ggml_type type_k, ggml_type type_v) {
    static const int some = 0;

    return type_k == type_v ? &some : nullptr;
}

#include "cuda.inc"

static ggml_backend_cuda_device_context      device_context;
static ggml_backend_cuda_buffer_type_context buft_context;

bool sgpu_cuda_accepts(const ggml_tensor * op) {
    static ggml_backend_device device = { {}, nullptr, &device_context };

    return ggml_backend_cuda_device_supports_op(&device, op);
}

size_t sgpu_cuda_alloc_size(const ggml_tensor * tensor) {
    static ggml_backend_buffer_type buft = { {}, nullptr, &buft_context };

    return ggml_backend_cuda_buffer_type_get_alloc_size(&buft, tensor);
}
