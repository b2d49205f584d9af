// What the graphs of a run take between their nodes, before any of it is allocated: the scheduler lays them out as it
// would, on tensors that have a place but no memory.

#include "layerwise-prefill.h"
#include "layerwise-sizes.h"

#include "llama-batch.h"
#include "llama-context.h"
#include "llama-model.h"

#include <algorithm>
#include <map>
#include <string>

// tensors that lie in buffers of some type, which have no memory
class llama_layerwise_unallocated {
public:
    explicit llama_layerwise_unallocated(size_t n_tensors) : ctx(llama_layerwise_make_ctx(n_tensors)) {}

    ggml_tensor * make(ggml_backend_buffer_type_t buft, ggml_type type, int64_t n_cols, int64_t n_rows) {
        ggml_tensor * res = ggml_new_tensor_2d(ctx.get(), type, n_cols, n_rows);

        auto & buf = bufs[buft];
        if (!buf) {
            buf.reset(ggml_backend_buft_alloc_buffer(buft, 0));
        }

        res->buffer = buf.get();

        return res;
    }

private:
    ggml_context_ptr ctx;

    std::map<ggml_backend_buffer_type_t, ggml_backend_buffer_ptr> bufs;
};

void llama_layerwise::measure(
        llama_layerwise_pass & pass, const llama_ubatch & ubatch, uint32_t n_cells, bool output, ggml_backend_sched_t sched,
        std::vector<size_t> & sizes) {
    llama_layerwise_group group = mem.make_unallocated(pass.il_begin, pass.il_end, n_cells);

    const size_t n_layers = pass.il_end - pass.il_begin;

    llama_layerwise_unallocated outside(1 + n_layers);

    const int32_t il_hidden = pass.il_begin > 0 ? pass.il_begin : pass.il_end - 1; // see place_hidden

    pass.hidden = outside.make(
        ggml_backend_dev_buffer_type(ctx.model.dev_layer(il_hidden)), GGML_TYPE_F32, ctx.model.hparams.n_embd, ubatch.n_tokens);

    pass.masks.clear();

    if (ctx.cparams.flash_attn && !ctx.model.hparams.use_alibi) {
        pass.masks.resize(n_layers);

        std::map<ggml_backend_buffer_type_t, ggml_tensor *> masks;

        for (size_t i = 0; i < n_layers; ++i) {
            const int32_t il = pass.il_begin + i;

            if (!llama_layerwise_gives_scores(ctx.model.hparams, il)) {
                continue;
            }

            const auto buft = mem.buft_of(il);

            auto & mask = masks[buft];
            if (!mask) {
                mask = outside.make(buft, GGML_TYPE_F16, 2*n_cells + ubatch.n_tokens, ubatch.n_tokens);
            }

            pass.masks[i] = mask_of(mask, buft, ubatch.n_tokens);
        }
    }

    const auto mctx = mem.init_reserve(group);

    ggml_cgraph * gf = build_unused(pass, ubatch, mctx.get(), output);

    std::vector<size_t> now(sizes.size());

    ggml_backend_sched_reserve_size(sched, gf, now.data());

    for (size_t i = 0; i < sizes.size(); ++i) {
        sizes[i] = std::max(sizes[i], now[i]);
    }
}

void llama_layerwise::compute_bytes(
        int32_t il_begin, int32_t il_end, int32_t n_before_inp, int32_t n_tokens, int32_t n_cells, int32_t n_window_inp,
        const llama_layerwise_scores * scores, int32_t n_scores, uint64_t * sizes, int32_t n_sizes) {
    require_idle();

    const int64_t n_ctx    = ctx.cparams.n_ctx_seq;
    const int64_t n_ubatch = ctx.cparams.n_ubatch;
    const int64_t n_all    = (int64_t) n_before_inp + n_tokens;

    llama_layerwise_clear_sizes(&ctx.model, sizes, n_sizes);

    if (il_begin < 0 || il_end <= il_begin || il_end > n_layer()) {
        llama_layerwise_invalid("the range of layers must lie between 0 and " + std::to_string(n_layer()));
    }
    if (n_before_inp < 0 || n_tokens < 1 || n_all > n_cells || n_cells > n_ctx || n_window_inp < 1 || n_window_inp > n_tokens) {
        llama_layerwise_invalid("there must be tokens, with cells for all of them, no more than n_ctx = " + std::to_string(n_ctx)
            + ", and a window of these tokens");
    }
    if (n_scores > LLAMA_LAYERWISE_MAX_SCORED) {
        llama_layerwise_invalid("one run scores at most " + std::to_string(LLAMA_LAYERWISE_MAX_SCORED) + " layers");
    }

    const bool in_parts = (n_tokens - n_window_inp)/n_ubatch != (n_tokens - 1)/n_ubatch;

    const auto wanted = llama_layerwise_check_scores(
        ctx.model.hparams, scores, n_scores, il_begin, il_end, n_all, n_window_inp, 0, in_parts);

    // of its own: what the context's has laid out stays
    ctx.sched_reserve();

    const size_t n_nodes = ctx.graph_max_nodes(n_ubatch) + mem.n_graph_nodes(n_ubatch);

    const ggml_backend_sched_ptr sched { ggml_backend_sched_new(
        ctx.backend_ptrs.data(), ctx.backend_buft.data(), ctx.backend_ptrs.size(), n_nodes, ctx.cparams.pipeline_parallel,
        ctx.cparams.op_offload) };

    const auto n_outputs = ctx.n_outputs;

    std::vector<size_t> measured(ctx.backend_ptrs.size());

    llama_layerwise_pass pass;

    pass.il_begin = il_begin;
    pass.il_end   = il_end;
    pass.n_layer  = n_layer();

    const bool is_last = il_end == n_layer();

    const auto ubatch_of = [&](int64_t n) {
        const std::vector<llama_token> tokens_any(n, 0);
        const std::vector<llama_pos>   pos_any(n, 0);

        return make_ubatch(tokens_any.data(), pos_any.data(), n, 0, is_last);
    };

    // see reserve_run
    if (n_tokens > n_ubatch) {
        measure(pass, ubatch_of(n_ubatch), n_cells, is_last, sched.get(), measured);
    }

    // the last one has its cells alone before it, and scores
    const int64_t n_last = n_tokens - (n_tokens - 1)/n_ubatch*n_ubatch;

    pass.wanted   = wanted;
    pass.i_window = wanted.empty() ? -1 : std::max<int64_t>(n_last - n_window_inp, 0);

    measure(pass, ubatch_of(n_last), std::min(n_ctx, GGML_PAD(n_all, 256)), is_last, sched.get(), measured);

    ctx.n_outputs = n_outputs;

    std::map<ggml_backend_buffer_type_t, size_t> by_type;

    for (const auto & [buft, data] : ctx.memory_breakdown()) {
        by_type[buft] = data.compute;
    }
    for (size_t i = 0; i < measured.size(); ++i) {
        auto & size = by_type[ctx.backend_buft[i]];

        size = std::max(size, measured[i]);
    }
    for (const auto & [buft, size] : by_type) {
        llama_layerwise_size_at(ctx.model, sizes, buft) += size;
    }
}
