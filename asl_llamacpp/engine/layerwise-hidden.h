#pragma once

#include "ggml-backend.h"
#include "ggml-cpp.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

// hidden states between the layers; copies of this share them
struct llama_layerwise_hidden {
    ggml_tensor * t = nullptr; // F32 [n_embd, n_tokens]

    // throws std::bad_alloc
    void alloc(ggml_backend_buffer_type_t buft, int64_t n_embd, int64_t n_tokens);

    size_t bytes() const;

    ggml_backend_buffer_type_t buft() const;

    bool shares(const llama_layerwise_hidden & other) const { return t && t == other.t; }

    llama_layerwise_hidden copy_to(ggml_backend_buffer_type_t buft) const;

    // n rows from i_src on into dst from i_dst on
    void copy_rows(int64_t i_src, llama_layerwise_hidden & dst, int64_t i_dst, int64_t n) const;

    // the rows at these indices into dst from i_dst on, copied by the backend of their device
    void gather(ggml_backend_t backend, const std::vector<int32_t> & idxs, llama_layerwise_hidden & dst, int64_t i_dst) const;

private:
    struct data_t {
        ggml_context_ptr        ctx;
        ggml_backend_buffer_ptr buf;
    };

    std::shared_ptr<data_t> data;
};
