#pragma once

// The causal mask of a prompt, on the devices of its layers.
//
// Where the cells lie in the order of their positions, the mask of every ubatch is a window on one tensor: row i keeps
// the columns up to n_past_max + i, and the ubatch behind n_past cells begins at column n_past_max - n_past. So a mask
// is filled once a prompt, instead of once for each ubatch of each pass over the layers.

#include "ggml-backend.h"
#include "ggml-cpp.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

// a mask that is alike on several devices
struct llama_layerwise_mask_copies {
    // F16 [n_cols, n_rows] in a buffer of this type, made when it is first asked for. Throws std::bad_alloc
    //   fill: writes row i
    ggml_tensor * on(
            ggml_backend_buffer_type_t buft, const char * name, int64_t n_cols, int64_t n_rows,
            const std::function<void(int64_t i, ggml_fp16_t * row)> & fill);

    size_t bytes() const;

private:
    struct copy {
        ggml_context_ptr        ctx;
        ggml_backend_buffer_ptr buf;

        ggml_tensor * t = nullptr;
    };

    std::map<ggml_backend_buffer_type_t, copy> bufts;
};

struct llama_layerwise_mask {
    // flash attention on CUDA copies 16 bytes of a row at a time
    static constexpr int64_t COLS_STEP = 8;

    llama_layerwise_mask() = default;

    // for ubatches of at most n_rows tokens behind n_past cells and more, up to n_cells
    llama_layerwise_mask(int64_t n_past, int64_t n_cells, int64_t n_rows);

    // whether this one will do as well as one that is made for these
    bool covers(int64_t n_past, int64_t n_cells, int64_t n_rows) const;

    // F16 [columns, rows] in a buffer of this type, filled when it is first asked for. Throws std::bad_alloc
    ggml_tensor * on(ggml_backend_buffer_type_t buft);

    // the byte of each row where the mask of a ubatch behind n_past cells begins
    size_t offset(int64_t n_past) const;

    size_t bytes() const { return copies.bytes(); }

private:
    llama_layerwise_mask_copies copies;

    int64_t n_past_max = 0;
    int64_t n_rows_max = 0;
};

// that of a contrast, which is the same in every layer
struct llama_layerwise_contrast_mask {
    llama_layerwise_contrast_mask() = default;

    // of n tokens in the cells behind n_past, which see the first n_seen of these and each other
    llama_layerwise_contrast_mask(int64_t n_past, int64_t n_seen, int64_t n) : n_past(n_past), n_seen(n_seen), n(n) {}

    bool is_for(int64_t n_past_inp) const { return n > 0 && n_past == n_past_inp; }

    // F16 [cells, n]. Throws std::bad_alloc
    ggml_tensor * on(ggml_backend_buffer_type_t buft);

    size_t bytes() const { return copies.bytes(); }

private:
    llama_layerwise_mask_copies copies;

    int64_t n_past = 0;
    int64_t n_seen = 0;
    int64_t n      = 0;
};

// whether flash attention on buffers of this type goes from row to row of a mask by its stride; it was looked up in the
// kernels of the backends that are named there, others may take rows that follow each other
bool llama_layerwise_mask_may_stride(ggml_backend_buffer_type_t buft);
