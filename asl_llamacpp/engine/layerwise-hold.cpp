// Documents: the state of a prompt's beginning after some layers, from which other prompts start.

#include "layerwise-prefill.h"

#include "llama-context.h"
#include "llama-model.h"

#include <new>

static void copy_columns(const llama_layerwise_hidden & src, llama_layerwise_hidden & dst, int64_t i_dst, int64_t n) {
    ggml_context_ptr ctx = llama_layerwise_make_ctx(2);

    ggml_tensor * from = ggml_view_2d(ctx.get(), src.t, src.t->ne[0], n, src.t->nb[1], 0);
    ggml_tensor * to   = ggml_view_2d(ctx.get(), dst.t, dst.t->ne[0], n, dst.t->nb[1], i_dst*dst.t->nb[1]);

    ggml_backend_view_init(from);
    ggml_backend_view_init(to);

    ggml_backend_tensor_copy(from, to);
}

void llama_layerwise::hold(int32_t n_held) {
    require_active();

    if (il_next == 0 || il_next == n_layer() || n_before > 0) {
        throw llama_layerwise_exception(LLAMA_LAYERWISE_STATUS_INVALID, "there are no hidden states between layers to hold");
    }
    if ((int32_t) pos.size() != n_prompt) {
        throw llama_layerwise_exception(LLAMA_LAYERWISE_STATUS_INVALID, "tokens were dropped already: hold before keep");
    }
    if (n_held < 1 || n_held >= n_prompt) {
        throw llama_layerwise_exception(LLAMA_LAYERWISE_STATUS_INVALID, "between 1 and n_tokens - 1 tokens can be held");
    }
    for (int32_t il = 0; il < il_next; ++il) {
        if (mem.is_compressed(il)) {
            throw llama_layerwise_exception(LLAMA_LAYERWISE_STATUS_INVALID, "layer " + std::to_string(il) + " is compressed");
        }
    }

    ctx.synchronize();

    held = held_t();

    held_t res;
    res.il = il_next;
    res.tokens.assign(tokens.begin(), tokens.begin() + n_held);
    res.hidden.alloc(ggml_backend_buffer_get_type(hidden.buf.get()), hidden.t->ne[0], n_held);

    copy_columns(hidden, res.hidden, 0, n_held);

    held = std::move(res);
}

void llama_layerwise::resume(
        int32_t n_held, const llama_token * tokens_inp, int32_t n_tokens, int32_t n_window_inp, int32_t n_headroom_inp) {
    if (n_held < 1 || n_held > (int32_t) held.tokens.size()) {
        throw llama_layerwise_exception(LLAMA_LAYERWISE_STATUS_INVALID,
            "the context holds " + std::to_string(held.tokens.size()) + " tokens to start from, not " + std::to_string(n_held));
    }

    check_tokens(tokens_inp, n_tokens, n_held, n_window_inp, n_headroom_inp);

    ctx.synchronize();
    ctx.sched_reserve();

    if (ctx.output_reserve(1) < 1) {
        throw std::bad_alloc();
    }

    if (!mem.reopen(held.il, n_held, n_tokens, n_headroom_inp)) {
        throw llama_layerwise_exception(LLAMA_LAYERWISE_STATUS_FAILED, "cells of the held tokens are gone");
    }

    held.tokens.resize(n_held);

    start(tokens_inp, n_tokens, n_held, n_window_inp, n_headroom_inp);
}

void llama_layerwise::join_held() {
    ggml_backend_sched_synchronize(ctx.sched.get());

    llama_layerwise_hidden res;
    res.alloc(ggml_backend_buffer_get_type(held.hidden.buf.get()), held.hidden.t->ne[0], n_prompt);

    copy_columns(held.hidden, res, 0,        n_before);
    copy_columns(hidden,      res, n_before, tokens.size());

    hidden = std::move(res);

    tokens.insert(tokens.begin(), held.tokens.begin(), held.tokens.end());

    pos.resize(n_prompt);
    for (int32_t i = 0; i < n_prompt; ++i) {
        pos[i] = i;
    }

    n_before = 0;
}

void llama_layerwise::forget_from(llama_pos p0) {
    if (p0 < (llama_pos) held.tokens.size()) {
        held = held_t();
    }
}
