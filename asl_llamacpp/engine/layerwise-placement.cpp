// Attention and window scores are computed where the KV of their layer lies. If the device there cannot do it, the
// scheduler moves all KV over the bus for every ubatch, and says nothing: such a run is refused.

#include "layerwise-prefill.h"
#include "layerwise-rows.h"

#include "llama-batch.h"
#include "llama-context.h"
#include "llama-model.h"

#include <algorithm>
#include <map>
#include <utility>

static const char * advice(ggml_type type_k, ggml_type type_v) {
    if (type_k != type_v) {
        return "give K and V the same type (type_k, type_v), f16 for instance";
    }
    if (type_k != GGML_TYPE_F16) {
        return "take f16 for K and V (type_k, type_v)";
    }

    return "keep the KV off the device (offload_kqv=False)";
}

// of the mask's rows, which the scheduler copies
static bool is_view(const ggml_tensor * node) {
    return node->op == GGML_OP_VIEW || node->op == GGML_OP_RESHAPE || node->op == GGML_OP_PERMUTE || node->op == GGML_OP_TRANSPOSE;
}

void llama_layerwise::require_on_device(int32_t il, ggml_tensor * node, ggml_type type_k, ggml_type type_v, const char * what) const {
    const auto dev     = ctx.model.dev_layer(il);
    const auto backend = ggml_backend_sched_get_tensor_backend(ctx.sched.get(), node);

    if (backend == nullptr || ggml_backend_get_device(backend) == dev || is_view(node)) {
        return;
    }

    llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED,
        std::string(what) + " of layer " + std::to_string(il) + " (" + ggml_op_name(node->op) + ", heads of "
        + std::to_string(ctx.model.hparams.n_embd_head_k(il)) + ", K " + ggml_type_name(type_k) + ", V " + ggml_type_name(type_v)
        + ") cannot be computed by " + ggml_backend_dev_name(dev) + ", where the layer lies: " + advice(type_k, type_v)
        + ", or leave its layers on the CPU (n_gpu_layers=0)");
}

static bool is_on_gpu(const llama_context & ctx, int32_t il) {
    const auto dev = ctx.get_model().dev_layer(il);

    return ctx.get_cparams().offload_kqv && ggml_backend_dev_type(dev) != GGML_BACKEND_DEVICE_TYPE_CPU;
}

// what a layer's graph computes, for placed
static uint32_t operations_of(const llama_layerwise_wanted * scores) {
    enum { LAYER = 1, SCORES = 2, MAXIMUM = 4, SOME_HEADS = 8 };

    if (!scores) {
        return LAYER;
    }

    const bool is_max = scores->what.combining == LLAMA_LAYERWISE_COMBINING_MAX && !scores->in_parts;

    return LAYER | SCORES | (is_max ? MAXIMUM : 0) | (scores->heads.empty() ? 0 : SOME_HEADS);
}

void llama_layerwise::check_placement(llama_layerwise_group & group, llama_layerwise_pass & pass, const llama_ubatch & ubatch) {
    std::map<int32_t, uint32_t> some;

    bool is_known = true;

    for (int32_t il = pass.il_begin; il < pass.il_end; ++il) {
        if (is_on_gpu(ctx, il)) {
            some[il] = operations_of(pass.wanted_of(il));
            is_known = is_known && (some[il] & ~placed[il]) == 0;
        }
    }

    if (is_known) {
        return;
    }

    const auto mctx = mem.init_reserve(group);

    // graphs that were allocated before can no longer be reused
    ctx.gf_res_prev_active = nullptr;

    ggml_backend_sched_reset(ctx.sched.get());

    ggml_cgraph * gf = build_unused(pass, ubatch, mctx.get(), false);

    ggml_backend_sched_split_graph(ctx.sched.get(), gf);

    std::map<int32_t, std::pair<ggml_type, ggml_type>> types; // of K and V

    for (const auto & [op, node, il] : ctx.get_gf_res_reserve()->get_fused_nodes()) {
        if (op == LLM_FUSED_OP_FLASH_ATTN && il >= pass.il_begin && il < pass.il_end && is_on_gpu(ctx, il)) {
            types[il] = { node->src[1]->type, node->src[2]->type };
            require_on_device(il, node, types[il].first, types[il].second, "flash attention");
        }
    }

    for (const auto & scores : pass.wanted) {
        const int32_t il = scores.what.il;

        if (!types.count(il)) {
            types[il] = { GGML_TYPE_F16, GGML_TYPE_F16 };
        }

        for (int i = scores.i_node_begin; i < scores.i_node_end && is_on_gpu(ctx, il); ++i) {
            require_on_device(il, ggml_graph_node(gf, i), types[il].first, types[il].second, "the window's attention");
        }
    }

    ggml_backend_sched_reset(ctx.sched.get());

    for (const auto & [il, operations] : some) {
        placed[il] |= operations;
    }
}

void llama_layerwise::check_devices() {
    const uint32_t n_tokens = std::min(ctx.cparams.n_ctx_seq, ctx.cparams.n_ubatch);

    llama_batch_allocr balloc(ctx.model.hparams.n_pos_per_embd());
    const llama_ubatch ubatch = balloc.ubatch_reserve(n_tokens, 1);

    for (int32_t il = 0; il < n_layer(); ++il) {
        if (!is_on_gpu(ctx, il)) {
            continue;
        }

        const auto buft = ggml_backend_dev_buffer_type(ctx.model.dev_layer(il));

        llama_layerwise_group  group = mem.make_group(il, il + 1, n_tokens);
        llama_layerwise_hidden states;
        states.alloc(buft, ctx.model.hparams.n_embd, n_tokens);

        if (!llama_layerwise_gathers_rows(backend_of(buft), states.t->nb[1])) {
            llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED,
                std::string("tokens cannot be gathered (GET_ROWS of i32) by ") + ggml_backend_buft_name(buft)
                + ", where layer " + std::to_string(il) + " lies: leave the layers on the CPU (n_gpu_layers=0)");
        }

        llama_layerwise_pass pass;

        pass.il_begin = il;
        pass.il_end   = il + 1;
        pass.n_layer  = n_layer();
        pass.hidden   = states.t;
        pass.i_window = n_tokens - std::min<uint32_t>(n_tokens, 32);

        // later tokens read quantized cells, the prefill does not
        if (mem.is_quantized()) {
            check_placement(group, pass, ubatch);

            group = mem.make_exact(il, il + 1, group, 0);
        }

        if (llama_layerwise_gives_scores(ctx.model.hparams, il)) {
            pass.wanted = { llama_layerwise_wanted::each(ctx.model.hparams, il, n_tokens) };
        }

        check_placement(group, pass, ubatch);
    }
}
