#pragma once

#include "ggml-backend.h"

#include <cstddef>
#include <cstdint>
#include <vector>

// copy rows of n_bytes each, whatever they hold: on the device where it can copy them as integers, else through the host
void llama_layerwise_gather_rows(
        ggml_backend_t backend, ggml_tensor * src, ggml_tensor * dst, size_t n_bytes, const std::vector<int32_t> & rows);
