#pragma once

// What the graphs of a run need to know of its tokens, put on their device before it.
//
// ggml's scheduler copies the inputs of a graph when it starts it, and first waits until the device is done with the graph
// before. So the device would idle between two ubatches, for as long as the host needs to start the next.

#include "ggml-backend.h"
#include "ggml-cpp.h"

#include "llama.h"

#include <cstddef>
#include <cstdint>
#include <vector>

struct llama_layerwise_inputs {
    llama_layerwise_inputs() = default;

    // of tokens at these positions, in ubatches of these sizes, whose cells are those from n_past on. Throws std::bad_alloc
    //   n_pos: numbers that make up a position
    llama_layerwise_inputs(
            ggml_backend_buffer_type_t buft, const std::vector<llama_pos> & pos, int64_t n_past, const std::vector<int64_t> & sizes,
            int64_t n_pos);

    // whether they are those of these tokens, on that device
    bool are(ggml_backend_buffer_type_t buft, const std::vector<llama_pos> & pos, int64_t n_past) const;

    ggml_tensor * pos  = nullptr; // I32 [n_pos*n_tokens], ubatch after ubatch
    ggml_tensor * idxs = nullptr; // I64 [n_tokens]

    int64_t n_pos = 0;

private:
    ggml_context_ptr        ctx;
    ggml_backend_buffer_ptr buf;

    std::vector<llama_pos> pos_host;
    int64_t                n_past = 0;
};
