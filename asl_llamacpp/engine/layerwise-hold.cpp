// Documents: the state of a prompt's beginning after some layers, from which other prompts start.

#include "layerwise-prefill.h"

#include "llama-context.h"
#include "llama-model.h"

void llama_layerwise::hold(int32_t n_held) {
    require_active();

    if (il_next == 0 || il_next == n_layer() || n_before > 0) {
        llama_layerwise_invalid("there are no hidden states between layers to hold");
    }
    if ((int32_t) pos.size() != n_prompt) {
        llama_layerwise_invalid("tokens were dropped already: hold before keep");
    }
    if (n_held < 1 || n_held >= n_prompt) {
        llama_layerwise_invalid("between 1 and n_tokens - 1 tokens can be held");
    }
    for (int32_t il = 0; il < il_next; ++il) {
        if (mem.is_compressed(il)) {
            llama_layerwise_invalid("layer " + std::to_string(il) + " is compressed");
        }
    }

    ctx.synchronize();

    held = held_t();

    held_t res;
    res.il = il_next;
    res.tokens.assign(tokens.begin(), tokens.begin() + n_held);
    res.hidden.alloc(ggml_backend_buffer_get_type(hidden.buf.get()), hidden.t->ne[0], n_held);

    hidden.copy_rows(0, res.hidden, 0, n_held);

    held = std::move(res);
}

void llama_layerwise::resume(
        int32_t n_held, const llama_token * tokens_inp, int32_t n_tokens, int32_t n_window_inp, int32_t n_headroom_inp) {
    if (n_held < 1 || n_held > (int32_t) held.tokens.size()) {
        llama_layerwise_invalid(
            "the context holds " + std::to_string(held.tokens.size()) + " tokens to start from, not " + std::to_string(n_held));
    }

    check_tokens(tokens_inp, n_tokens, n_held, n_window_inp, n_headroom_inp);

    reserve();

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

    held.hidden.copy_rows(0, res, 0, n_before);
    hidden.copy_rows(0, res, n_before, tokens.size());

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
