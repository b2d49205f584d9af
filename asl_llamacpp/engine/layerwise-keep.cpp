// What is dropped between two runs: tokens, which then go no deeper, and cells of the layer that has run.

#include "layerwise-prefill.h"
#include "layerwise-rows.h"

#include "llama-context.h"
#include "llama-model.h"

#include <algorithm>

std::vector<int32_t> llama_layerwise::indices_of(const int32_t * positions, int32_t n) const {
    if (positions == nullptr || n < n_window) {
        llama_layerwise_invalid("fewer positions than the observation window has");
    }
    if (n > (int32_t) pos.size()) {
        llama_layerwise_invalid("more positions than tokens are left");
    }

    std::vector<int32_t> idxs(n);

    size_t i_cur = 0;
    for (int32_t i = 0; i < n; ++i) {
        if (i > 0 && positions[i] <= positions[i - 1]) {
            llama_layerwise_invalid("the positions must be strictly increasing");
        }
        while (i_cur < pos.size() && pos[i_cur] < positions[i]) {
            i_cur++;
        }
        if (i_cur == pos.size() || pos[i_cur] != positions[i]) {
            llama_layerwise_invalid("position " + std::to_string(positions[i]) + " is not among the tokens kept so far");
        }
        idxs[i] = i_cur;
    }
    if (idxs[n - n_window] != (int32_t) pos.size() - n_window) {
        llama_layerwise_invalid("the tokens of the observation window must be kept");
    }

    return idxs;
}

void llama_layerwise::keep(const int32_t * positions, int32_t n) {
    require_active();

    if (il_next == n_layer()) {
        llama_layerwise_invalid("all layers have run");
    }
    if (n_before > 0) {
        llama_layerwise_invalid("the layers that the held tokens have run through come first");
    }

    const std::vector<int32_t> idxs = indices_of(positions, n);

    if (n == (int32_t) pos.size()) {
        return;
    }

    if (hidden.t) {
        ggml_backend_sched_synchronize(ctx.sched.get());

        // the document's may lie on another device: where they lie depends on how the layers were divided into runs
        if (hidden_before.t && hidden_before.buft() != hidden.buft()) {
            join_hidden();
        }

        const int32_t n_first = n_hidden_before();
        const auto    middle  = std::lower_bound(idxs.begin(), idxs.end(), n_first);
        const auto    backend = backend_of(hidden.buft());

        std::vector<int32_t> rest(middle, idxs.end());
        for (auto & i : rest) {
            i -= n_first;
        }

        llama_layerwise_hidden res;
        res.alloc(hidden.buft(), hidden.t->ne[0], n);

        hidden_before.gather(backend, std::vector<int32_t>(idxs.begin(), middle), res, 0);
        hidden.gather(backend, rest, res, n - rest.size());

        hidden        = std::move(res);
        hidden_before = llama_layerwise_hidden();
    }

    for (int32_t i = 0; i < n; ++i) {
        tokens[i] = tokens[idxs[i]];
        pos[i]    = pos[idxs[i]];
    }
    tokens.resize(n);
    pos.resize(n);

    contrast = contrast_t(); // it has no question to go deeper for
}

ggml_backend_t llama_layerwise::backend_of(ggml_backend_buffer_type_t buft) const {
    for (const auto & backend : ctx.backends) {
        if (ggml_backend_supports_buft(backend.get(), buft)) {
            return backend.get();
        }
    }

    return ctx.backend_cpu;
}

void llama_layerwise::compress(int32_t il, const int32_t * cells, int32_t n_head_kv, int32_t n_cells) {
    require_active();

    const auto & groups = mem.get_groups();

    if (groups.empty() || !groups.back().has(il) || il_next != groups.back().il_end) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " was not in the last run");
    }

    const auto & kv = *groups.back().kv_base;

    if (!llama_layerwise_kv::has_layer(kv, il)) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " has a sliding window, or no attention: there is nothing to compress");
    }
    if (llama_layerwise_kv::n_layers(kv) != 1 || mem.is_compressed(il)) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " must be run on its own, and compressed once");
    }
    if (n_head_kv != (int32_t) ctx.model.hparams.n_head_kv(il)) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " has " + std::to_string(ctx.model.hparams.n_head_kv(il)) + " KV heads");
    }
    if (!ctx.cparams.flash_attn) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED, "compression needs flash attention: the V of a cell lies scattered without it");
    }

    const int32_t n_tokens = kv.get_cells(0).get_used();

    if (cells == nullptr || n_cells < n_window || n_cells > n_tokens) {
        llama_layerwise_invalid("a compressed layer holds between n_window and " + std::to_string(n_tokens) + " cells");
    }

    for (int32_t h = 0; h < n_head_kv; ++h) {
        const int32_t * row = cells + (size_t) h*n_cells;

        for (int32_t i = 0; i < n_cells; ++i) {
            if (row[i] < 0 || row[i] >= n_tokens || (i > 0 && row[i] <= row[i - 1])) {
                llama_layerwise_invalid("the cells of a KV head must be strictly increasing, from 0 to " + std::to_string(n_tokens - 1));
            }
        }
        if (row[n_cells - n_window] != n_tokens - n_window) {
            llama_layerwise_invalid("the cells of the observation window must be kept");
        }
    }

    if (n_cells == n_tokens) {
        return;
    }

    const auto buft    = ggml_backend_buffer_get_type(kv.get_k_storage(il)->buffer);
    const auto backend = backend_of(buft);

    for (const size_t n_bytes : { llama_layerwise_kv::k_bytes(kv, il)/n_head_kv, llama_layerwise_kv::v_bytes(kv, il)/n_head_kv }) {
        if (!ggml_backend_buft_is_host(buft) && !llama_layerwise_gathers_rows(backend, n_bytes)) {
            llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED,
                "the cells of layer " + std::to_string(il) + ", " + std::to_string(n_bytes) + " bytes a head, cannot be gathered by "
                + ggml_backend_name(backend) + ": take f16 for K and V (type_k, type_v)");
        }
    }

    ctx.synchronize();

    // a document whose layers are compressed serves no other prompt
    if (held.in_cache && il < held.il) {
        held = held_t();
    }

    mem.compress(il, std::vector<int32_t>(cells, cells + (size_t) n_head_kv*n_cells), n_head_kv, n_window, n_headroom, backend);
}
