#pragma once

// The attention that the observation window pays to the tokens: what of it a run was asked for, how the graph combines
// it, and how it comes to the host.

#include "layerwise.h"

#include "ggml.h"

#include <cstdint>
#include <vector>

struct llama_hparams;
struct llm_graph_context;

// [n_cols, n_rows, n] -> [n_cols, 1, n], by adding the halves: transposing for ggml_sum_rows costs more than the rest
ggml_tensor * llama_layerwise_add_rows(ggml_context * ctx, ggml_tensor * cur);

// the scores of one layer
struct llama_layerwise_wanted {
    llama_layerwise_scores what = {};

    std::vector<int32_t> heads; // empty: all
    int64_t              n_heads = 0;

    int64_t n_cells = 0; // tokens that the layer runs on
    int64_t n_past  = 0; // those before the window

    // the window's tokens lie in several ubatches, and what these tell must be added up on the host
    bool in_parts = false;

    // in the graph of the ubatch that is computed, with its nodes
    ggml_tensor * t = nullptr;

    int i_node_begin = 0;
    int i_node_end   = 0;

    // those of each head of layer il, for a graph that is not computed
    static llama_layerwise_wanted each(const llama_hparams & hparams, int32_t il, int64_t n_cells);
    // what takes the most tensors, for a graph that is not computed
    static llama_layerwise_wanted largest(const llama_hparams & hparams, int32_t il);

    bool is_products() const { return what.scoring == LLAMA_LAYERWISE_SCORING_PRODUCTS; }

    // what of the heads' sums over the window [n_kv, n_head] is wanted; nullptr if that is nothing
    ggml_tensor * combine(const llm_graph_context & g, ggml_tensor * sums) const;

    // take over what one of the window's ubatches has computed
    void read(bool is_first, bool is_last);

    // the same of the contrast's tokens, which follow n_seen of the prompt's
    llama_layerwise_wanted of_contrast(int64_t n_seen) const;

private:
    bool is_max_in_parts() const;

    int64_t n_out_cols() const; // of a row that comes to the host

    void add_part(float * dst) const;

    std::vector<float> rows; // [n_heads, n_cells], of a maximum in parts
};

// a layer with full attention does
bool llama_layerwise_gives_scores(const llama_hparams & hparams, int32_t il);

// checked; throws llama_layerwise_exception
std::vector<llama_layerwise_wanted> llama_layerwise_check_scores(
        const llama_hparams & hparams, const llama_layerwise_scores * scores, int32_t n_scores, int32_t il_begin,
        int32_t il_end, int64_t n_cells, int64_t n_window, int64_t n_seen, bool in_parts);
