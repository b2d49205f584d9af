#pragma once

// Layer-wise graphs: what the hooks in llama-graph.cpp and llama-context.cpp call while a layer-wise prefill builds
// the graph of one ubatch for a range of layers.

#include "layerwise-scores.h"

#include "llama-graph.h"

#include <cstdint>
#include <string>
#include <vector>

struct llama_model;

struct llama_layerwise_inputs;

struct llama_layerwise_pass {
    int32_t il_begin = 0;
    int32_t il_end   = 0;
    int32_t n_layer  = 0;

    // hidden states between the layers [n_embd, n_tokens]; the rows of this ubatch begin at i_hidden
    ggml_tensor * hidden   = nullptr;
    int64_t       i_hidden = 0;

    // the first token of this ubatch among those of the run
    int64_t i_token = 0;

    // what the device knows of the tokens already, nullptr to let the scheduler copy it from the host
    const llama_layerwise_inputs * inputs = nullptr;

    // the first row of the ubatch that belongs to the observation window, -1 to compute no scores
    int64_t i_window = -1;

    // attention on a CPU takes the kernel for many rows, however few there are
    bool few_rows = false;

    // the scores to compute
    std::vector<llama_layerwise_wanted> wanted;

    // nullptr if none of layer il are
    llama_layerwise_wanted * wanted_of(int il);

    // of each layer of the range: the prompt's causal mask on its device, see layerwise-mask.h, nullptr where the graph's own
    // is filled; this ubatch's part of each row begins at byte mask_offs
    struct mask_t {
        ggml_tensor * t       = nullptr;
        bool          strided = false; // flash attention takes it as it lies there
    };

    std::vector<mask_t> masks;
    size_t              mask_offs = 0;

    // set by build() when the graph of this model cannot be cut at the range's borders
    std::string error;

    // llm_graph_context::cb: cut the graph behind layer il_begin - 1 and stop building behind layer il_end - 1
    void on_tensor(const llm_graph_context & g, ggml_tensor * cur, const char * name, int il);

    // llm_graph_context::build_attn_mha: replaces the mask, and computes the window's attention beside the ordinary one
    void on_attn(
            const llm_graph_context & g,
                  ggml_tensor * q, // [n_embd_head, n_tokens, n_head]
                  ggml_tensor * k, // [n_embd_head, n_kv, n_head_kv]
                  ggml_tensor * kq_b,
                  ggml_tensor * & kq_mask,
                  ggml_tensor * sinks,
                        float   kq_scale,
                          int   il);

    // tensors that the scores of one layer, of so many rows and heads, add to the graph at most
    static int64_t n_score_tensors(int64_t n_rows, int64_t n_head);

    // llama_model::build_graph for the range; nullptr if the model's graph cannot be cut
    ggml_cgraph * build(const llama_model & model, const llm_graph_params & params);

private:
    bool seen_begin = false;
    bool seen_end   = false;

    ggml_tensor * hidden_view(ggml_context * ctx, int64_t n_tokens) const;

    // this ubatch's masks in the graph, one for each device
    struct mask_used_t {
        mask_t        from;
        ggml_tensor * t; // [n_kv, n_tokens]
    };

    std::vector<mask_used_t> masks_used;

    const mask_t * mask_of(int il) const;

    ggml_tensor * use_mask(ggml_context * ctx, const mask_t & mask, int64_t n_kv, int64_t n_tokens);

    ggml_tensor * mask_rows(ggml_context * ctx, const mask_t & mask, int64_t n_kv, int64_t row, int64_t n_rows) const;

    void build_scores(
                  llama_layerwise_wanted & scores,
            const llm_graph_context & g,
                  ggml_tensor * q,
                  ggml_tensor * k,
                  ggml_tensor * kq_mask,
                  ggml_tensor * sinks,
                        float   kq_scale,
                          int   il);

    // let the graph read from the device what need not come from the host
    void use_inputs(llm_graph_result & res) const;

    // a node of a layer before il_begin means that later layers use more than the hidden states
    bool verify(ggml_cgraph * gf);
};
