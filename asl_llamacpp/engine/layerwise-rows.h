#pragma once

#include "ggml-backend.h"

#include <cstddef>
#include <cstdint>
#include <vector>

// whether the backend copies rows of n_bytes each, whatever they hold: as integers
bool llama_layerwise_gathers_rows(ggml_backend_t backend, size_t n_bytes);

// copy them on the device; in host memory also where its backend does not. Throws std::runtime_error
void llama_layerwise_gather_rows(
        ggml_backend_t backend, ggml_tensor * src, ggml_tensor * dst, size_t n_bytes, const std::vector<int32_t> & rows);
