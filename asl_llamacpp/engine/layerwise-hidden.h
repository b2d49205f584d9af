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

// hidden states on the host, whose rows are on a device while their ubatch is computed: two ubatches at a time. Copies are
// queued between the graphs, and rows of the host are written only when it is known that the device has read them
struct llama_layerwise_staging {
    ggml_backend_t backend = nullptr; // of the device, nullptr: nothing is staged

    ggml_tensor * host   = nullptr; // [n_embd, n_tokens]
    ggml_tensor * device = nullptr; // [n_embd, 2*n_rows]

    bool reads  = false; // the run needs the rows that there are
    bool writes = false; // the run leaves new ones

    // where the rows of ubatch i are on the device
    int64_t row(size_t i) const { return i % 2*n_rows(); }

    // ubatch i, of the tokens i0..i0+n-1, comes next; the last but one is done
    void before(size_t i, int64_t i0, int64_t n);

    // all ubatches are done
    void finish();

    int64_t n_rows() const { return device->ne[1]/2; }

private:
    // the ubatch whose rows are in each half
    struct ubatch_t {
        int64_t i0 = 0;
        int64_t n  = 0;
    };

    ubatch_t there[2];

    void fetch(size_t half);
};
