// Documents: the state of a prompt's beginning after some layers, from which other prompts start.

#include "layerwise-prefill.h"

#include "llama-context.h"
#include "llama-model.h"

#include <algorithm>

// what is shared may be larger than what is held by that part of it
static constexpr int32_t MIN_SHARED = 4;

void llama_layerwise::hold(int32_t n_held) {
    require_active();

    if (il_next == 0 || n_before > 0) {
        llama_layerwise_invalid("there are no hidden states between layers to hold");
    }
    if ((int32_t) pos.size() != n_prompt) {
        llama_layerwise_invalid("tokens were dropped already: hold before keep");
    }
    if (evicted) {
        llama_layerwise_invalid("cells were dropped already: hold before evict");
    }
    if (has_gap()) {
        llama_layerwise_invalid("the document's first layers have no cells here: copy the deeper ones to the host");
    }
    if (n_held < 1 || n_held > n_prompt) {
        llama_layerwise_invalid("between 1 and n_tokens tokens can be held");
    }
    for (int32_t il = 0; il < il_next; ++il) {
        if (!mem.is_whole(il)) {
            llama_layerwise_invalid("layer " + std::to_string(il) + " does not hold all tokens any more");
        }
    }

    ctx.synchronize();

    // the last group is joined with those before it when the next one comes, or at the end
    mem.join_last();

    held_t res;
    res.il       = il_next;
    res.in_cache = true;
    res.tokens.assign(tokens.begin(), tokens.begin() + n_held);

    if (il_next < n_layer()) {
        if (n_held <= n_hidden_before()) {
            res.hidden = hidden_before;
        } else {
            join_hidden();
            res.hidden = hidden;
        }

        // shared with the prefill, which gathers from it or makes a copy before it overwrites it; but not much for nothing
        if (res.hidden.t->ne[1] - n_held > n_held/MIN_SHARED) {
            llama_layerwise_hidden part;
            part.alloc(res.hidden.buft(), res.hidden.t->ne[0], n_held);

            res.hidden.copy_rows(0, part, 0, n_held);
            res.hidden = std::move(part);
        }
    }

    held = std::move(res);
}

void llama_layerwise::hold_done(llama_layerwise_group && group, int32_t il_end) noexcept {
    const int32_t n  = n_done > 0 ? n_done : n_prompt;
    const int32_t il = n_done > 0 ? il_end : il_next;

    // a run may stop in the middle of its first ubatch, or before the host has what the device has computed
    const bool is_known = n_done > 0 ? !hidden_staged.t : !has_begun;

    const bool is_whole = is_known && (int32_t) pos.size() == n_prompt && !evicted && !has_gap() && 0 < il && il < n_layer();

    // what was held before is deeper than nothing, and longer
    if (n < (int32_t) held.tokens.size()) {
        return;
    }
    if (!is_whole || !hidden.t || mem.is_quantized() || mem.has_rings() || !ctx.cparams.flash_attn) {
        return;
    }
    for (int32_t i = 0; i < il_next; ++i) {
        if (!mem.is_whole(i)) {
            return;
        }
    }

    try {
        ctx.synchronize();

        if (n_done > 0) {
            group.mem->seq_rm(0, n, -1);

            // the next tokens see these cells before they are written
            llama_layerwise_kv::clear_from(*group.kv_base, n);
            if (group.kv_swa) {
                llama_layerwise_kv::clear_from(*group.kv_swa, n);
            }

            mem.push(std::move(group));
        }

        for (const auto & other : mem.get_groups()) {
            other.mem->seq_rm(0, n, -1);
        }
        mem.join_last();

        held_t res;
        res.il       = il;
        res.in_cache = true;
        res.tokens.assign(tokens.begin(), tokens.begin() + n);

        join_hidden();

        res.hidden.alloc(hidden.buft(), hidden.t->ne[0], n);
        hidden.copy_rows(0, res.hidden, 0, n);

        held = std::move(res);
    } catch (const std::exception &) {
        held = held_t();
    }
}

void llama_layerwise::hold_done_behind() noexcept {
    if (n_done == 0 || hidden_staged.t || !hidden.t || !held.hidden.t || mem.is_quantized() || mem.has_rings()) {
        return;
    }

    try {
        ctx.synchronize();

        const int32_t n_first = held.tokens.size();

        llama_layerwise_hidden all;
        all.alloc(held.hidden.buft(), held.hidden.t->ne[0], n_first + n_done);

        held.hidden.copy_rows(0, all, 0, n_first);
        hidden.copy_rows(0, all, n_first, n_done);

        mem.first_group().mem->seq_rm(0, n_first + n_done, -1);

        held.tokens.insert(held.tokens.end(), tokens.begin(), tokens.begin() + n_done);
        held.hidden = std::move(all);
    } catch (const std::exception &) {
        // the document is what it was
    }
}

void llama_layerwise::hold_more(const llama_token * tokens_inp, int32_t n_tokens) {
    require_idle();

    if (held.tokens.empty() || !held.in_cache || held.il < n_layer()) {
        llama_layerwise_invalid("the context holds no document that has run through all layers");
    }
    if (tokens_inp == nullptr || n_tokens < 1) {
        llama_layerwise_invalid("there must be tokens to hold");
    }

    check_vocabulary(tokens_inp, n_tokens, "");

    const int64_t n_all = held.tokens.size() + (int64_t) n_tokens;

    bool is_there = true;

    for (int32_t il = 0; il < n_layer(); ++il) {
        is_there = is_there && mem.is_whole(il);
    }
    for (const auto & group : mem.get_groups()) {
        is_there = is_there && group.holds_first(n_all);
    }
    if (!is_there) {
        llama_layerwise_invalid("the context does not hold " + std::to_string(n_all) + " tokens in all layers");
    }

    held.tokens.insert(held.tokens.end(), tokens_inp, tokens_inp + n_tokens);
}

void llama_layerwise::restore(
        const llama_token * tokens_inp, int32_t n_held, int32_t il_held, const float * hidden_inp, int64_t n_hidden) {
    if (il_held < 1 || il_held > n_layer()) {
        llama_layerwise_invalid("a document has run through 1 to " + std::to_string(n_layer()) + " layers, not " + std::to_string(il_held));
    }

    check_tokens(tokens_inp, n_held, 0, 1, 0);

    if (!ctx.cparams.flash_attn) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED, "documents need flash attention: the V of a cell lies scattered without it");
    }

    const int64_t n_embd   = ctx.model.hparams.n_embd;
    const bool    has_more = il_held < n_layer();

    if (n_hidden != (has_more ? n_held*n_embd : 0) || (hidden_inp == nullptr) == has_more) {
        llama_layerwise_invalid("the hidden states must be " + std::to_string(has_more ? n_held*n_embd : 0) + " floats");
    }

    reset(true);

    held_t res;
    res.il = il_held;
    res.tokens.assign(tokens_inp, tokens_inp + n_held);

    if (has_more) {
        res.hidden.alloc(hidden_buft(il_held - 1, hidden_on_host), n_embd, n_held);

        ggml_backend_tensor_set(res.hidden.t, hidden_inp, 0, ggml_nbytes(res.hidden.t));
    }

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
    reopen_held(n_held, n_tokens, n_headroom_inp);

    start(tokens_inp, n_tokens, n_held, n_window_inp, n_headroom_inp);
}

void llama_layerwise::reopen_held(int32_t n_held, int32_t n_tokens, int32_t n_headroom_inp) {
    if (held.group.il_end > 0) {
        mem.put_first(std::move(held.group));

        held.group    = llama_layerwise_group();
        held.in_cache = true;
    }

    held.tokens.resize(n_held);

    if (held.in_cache && !mem.reopen(held.il, n_held, n_tokens, n_headroom_inp)) {
        held = held_t();

        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_FAILED, "cells of the held tokens are gone");
    }
}

void llama_layerwise::deepen(int32_t n_headroom_inp) {
    require_idle();

    if (held.tokens.empty() || !held.hidden.t) {
        llama_layerwise_invalid("the context holds no document that could go deeper");
    }

    const std::vector<llama_token> tokens_held = held.tokens;

    check_tokens(tokens_held.data(), tokens_held.size(), 0, 1, n_headroom_inp);

    reserve();
    reopen_held(tokens_held.size(), 0, n_headroom_inp);

    start(tokens_held.data(), tokens_held.size(), 0, 1, n_headroom_inp);

    il_next = held.il;
    hidden  = held.hidden; // a copy is made when they are overwritten, if ever
}

bool llama_layerwise::has_gap() const {
    return !mem.get_groups().empty() && mem.get_groups().front().il_begin > 0;
}

void llama_layerwise::join_held() {
    ggml_backend_sched_synchronize(ctx.sched.get());

    hidden_before = held.hidden;

    tokens.insert(tokens.begin(), held.tokens.begin(), held.tokens.end());

    pos.resize(n_prompt);
    for (int32_t i = 0; i < n_prompt; ++i) {
        pos[i] = i;
    }

    n_before = 0;

    if (!held.in_cache) {
        mem.join_last();

        held.in_cache = mem.first_group().il_end >= held.il;
        for (int32_t il = 0; il < held.il; ++il) {
            held.in_cache = held.in_cache && mem.is_whole(il);
        }
        if (!held.in_cache) {
            held = held_t();
        }
    }
}

void llama_layerwise::forget_from(llama_pos p0) {
    if (held.in_cache && p0 < (llama_pos) held.tokens.size()) {
        held = held_t();
    }
}

//
// to the host and back
//

// the layer's cells, of a layer that has some of its own for each position
static llama_kv_cache * cells_of(const llama_layerwise_group * group, int32_t il) {
    llama_kv_cache * kv = group ? const_cast<llama_kv_cache *>(group->kv_of(il)) : nullptr;

    if (!kv) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " has no cells");
    }

    return kv;
}

void llama_layerwise_check_rows(
        const llama_kv_cache & kv, int32_t il, int32_t n, const void * k, int64_t n_k, const void * v, int64_t n_v) {
    const int64_t k_bytes = n*llama_layerwise_kv::k_bytes(kv, il);
    const int64_t v_bytes = n*llama_layerwise_kv::v_bytes(kv, il);

    if (k == nullptr || v == nullptr || n_k != k_bytes || n_v != v_bytes) {
        llama_layerwise_invalid(std::to_string(n) + " cells of layer " + std::to_string(il) + " are " + std::to_string(k_bytes) +
            " bytes of K and " + std::to_string(v_bytes) + " of V");
    }
}

void llama_layerwise::get_kv(int32_t il, int32_t first, int32_t n_tokens, void * k, int64_t n_k, void * v, int64_t n_v) {
    if (running) {
        llama_layerwise_invalid("layers are running: wait until they are done");
    }
    if (il < 0 || il >= n_layer() || (mem.is_compressed(il) && !held.group.has(il))) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " is not there, or is compressed: each KV head holds cells of its own");
    }
    if (!ctx.cparams.flash_attn) {
        llama_layerwise_invalid("documents need flash attention: the V of a cell lies scattered without it");
    }

    const auto & kv = *cells_of(held.group.has(il) ? &held.group : mem.group_of(il), il);

    if (first < 0 || n_tokens < 0 || n_tokens > (int32_t) kv.get_size()) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " has no such cells");
    }
    llama_layerwise_check_rows(kv, il, n_tokens, k, n_k, v, n_v);

    ctx.synchronize();

    if (!llama_layerwise_kv::read_rows(kv, il, first, n_tokens, (uint8_t *) k, (uint8_t *) v)) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " does not hold all of these positions");
    }
}

void llama_layerwise::put_kv(int32_t il, int32_t first, const void * k, int64_t n_k, const void * v, int64_t n_v) {
    require_active();

    if (n_before == 0 || held.in_cache || il != il_next) {
        llama_layerwise_invalid("the KV of layer " + std::to_string(il) + " is not wanted now");
    }

    const bool is_ring = ctx.model.hparams.is_swa(il);

    if (first < 0 || first > n_before || (first > 0 && !is_ring) || first > std::max<int64_t>(0, (int64_t) n_before - ctx.model.hparams.n_swa)) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " needs cells from an earlier position on than " + std::to_string(first));
    }

    const std::vector<llama_token> tokens_held(held.tokens.begin() + first, held.tokens.end());

    // checked before anything is allocated
    const auto * like = mem.like(il);

    if (!like && (n_k != 0 || n_v != 0)) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " has no KV");
    }
    if (like) {
        if (tokens_held.size() > like->get_size()) {
            llama_layerwise_invalid("layer " + std::to_string(il) + " has room for " + std::to_string(like->get_size()) + " cells only");
        }
        llama_layerwise_check_rows(*like, il, tokens_held.size(), k, n_k, v, n_v);
    }

    llama_layerwise_group group = mem.make_filled(il, first, tokens_held, tokens.size(), n_headroom);

    if (like) {
        llama_layerwise_kv::write_rows(*cells_of(&group, il), il, tokens_held.size(), (const uint8_t *) k, (const uint8_t *) v);
    }

    filled = std::move(group);
}

void llama_layerwise::get_hidden(int32_t n_tokens, float * out, int64_t n_out) {
    if (running) {
        llama_layerwise_invalid("layers are running: wait until they are done");
    }
    if (active && (n_before > 0 || (int32_t) pos.size() != n_prompt)) {
        llama_layerwise_invalid("there are no hidden states of all tokens now");
    }

    const auto & from = active ? hidden : held.hidden;

    const int32_t n_there = active ? n_prompt : (int32_t) held.tokens.size();

    if (!from.t || n_tokens < 1 || n_tokens > n_there) {
        llama_layerwise_invalid("there are no hidden states of " + std::to_string(n_tokens) + " tokens");
    }
    if (out == nullptr || n_out != n_tokens*from.t->ne[0]) {
        llama_layerwise_invalid("the hidden states need room for " + std::to_string(n_tokens*from.t->ne[0]) + " floats");
    }

    ctx.synchronize();

    const int64_t n_first = active ? std::min<int64_t>(n_hidden_before(), n_tokens) : 0;

    if (n_first > 0) {
        ggml_backend_tensor_get(hidden_before.t, out, 0, n_first*from.t->nb[1]);
    }
    if (n_first < n_tokens) {
        ggml_backend_tensor_get(from.t, out + n_first*from.t->ne[0], 0, (n_tokens - n_first)*from.t->nb[1]);
    }
}

//
// several on the device
//

bool llama_layerwise::move_aside() {
    if (!held.in_cache || mem.get_groups().empty() || mem.first_group().il_end < held.il) {
        return false;
    }

    held.group    = mem.take_first();
    held.in_cache = false;

    return true;
}

void llama_layerwise::park(int32_t id) {
    if (running) {
        llama_layerwise_invalid("layers are running: wait until they are done");
    }
    if (id < 0 || parked.count(id) > 0) {
        llama_layerwise_invalid("the number " + std::to_string(id) + " is taken, or negative");
    }

    set_aside();

    parked.emplace(id, std::move(held));

    held = held_t();
}

void llama_layerwise::set_aside() {
    if (running) {
        llama_layerwise_invalid("layers are running: wait until they are done");
    }

    ctx.synchronize();

    if (held.group.il_end == 0 && !move_aside()) {
        llama_layerwise_invalid("the context holds no document that could be put away");
    }

    held_t kept = std::move(held);

    held = held_t();

    reset(true);

    held = std::move(kept);
}

void llama_layerwise::unpark(int32_t id) {
    require_idle();

    const auto it = parked.find(id);
    if (it == parked.end()) {
        llama_layerwise_invalid("no document was put away as number " + std::to_string(id));
    }

    reset(true);

    held = std::move(it->second);

    parked.erase(it);
}

void llama_layerwise::drop(int32_t id) {
    if (parked.erase(id) == 0) {
        llama_layerwise_invalid("no document was put away as number " + std::to_string(id));
    }
}

static size_t document_bytes(const llama_layerwise::held_t & held) {
    return held.hidden.bytes() + (held.group.il_end > 0 ? held.group.bytes() : 0);
}

size_t llama_layerwise::held_bytes() const {
    return document_bytes(held);
}

size_t llama_layerwise::parked_bytes() const {
    size_t res = 0;

    for (const auto & [_, doc] : parked) {
        res += document_bytes(doc);
    }

    return res;
}
