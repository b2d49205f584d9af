// What a context holds, for any thread: while one runs layers the others see what it noted before the present ubatch.

#include "layerwise-prefill.h"

#include "llama-context.h"
#include "llama-model.h"

llama_layerwise_info llama_layerwise::info() const {
    return {
        /*.n_layer       =*/ n_layer(),
        /*.n_head        =*/ (int32_t) ctx.model.hparams.n_head(),
        /*.n_tokens      =*/ n_prompt,
        /*.n_kept        =*/ (int32_t) tokens.size() + n_before,
        /*.n_window      =*/ active ? n_window : 0,
        /*.n_seen        =*/ contrast.n_seen,
        /*.il_next       =*/ il_next,
        /*.n_groups      =*/ (int32_t) mem.get_groups().size(),
        /*.kv_bytes      =*/ mem.bytes(),
        /*.kv_bytes_peak =*/ mem.bytes_peak(),
        /*.hidden_bytes  =*/ hidden.shares(held.hidden) ? 0 : hidden.bytes(),
        /*.n_grow        =*/ mem.n_grow(),
        /*.n_held        =*/ (int32_t) held.tokens.size(),
        /*.il_held       =*/ held.il,
        /*.held_bytes    =*/ held_bytes(),
        /*.held_in_cache =*/ (held.in_cache || held.group.il_end > 0) ? 1 : 0,
        /*.n_parked      =*/ (int32_t) parked.size(),
        /*.parked_bytes  =*/ parked_bytes(),
        /*.mask_bytes    =*/ mask.bytes() + contrast.mask.bytes(),
    };
}

llama_layerwise_layer llama_layerwise::layer(int32_t il) const {
    const auto & hparams = ctx.model.hparams;

    llama_layerwise_layer res = {};

    res.n_head    = hparams.n_head(il);
    res.n_head_kv = hparams.n_head_kv(il);
    res.is_swa    = hparams.is_swa(il);

    res.is_compressed = mem.is_compressed(il);

    const auto * group = mem.group_of(il);
    const auto * kv    = group ? group->kv_of(il) : nullptr;

    if (kv) {
        res.n_cells     = kv->get_cells(0).get_used();
        res.n_cells_max = kv->get_size();
        res.bytes       = llama_layerwise_kv::layer_bytes(*kv, il);
        res.k_bytes     = llama_layerwise_kv::k_bytes(*kv, il);
        res.v_bytes     = llama_layerwise_kv::v_bytes(*kv, il);
    }

    return res;
}

void llama_layerwise::note() {
    noted_t now;

    now.info = info();
    for (int32_t il = 0; il < n_layer(); ++il) {
        now.layers.push_back(layer(il));
    }

    const std::lock_guard<std::mutex> lock(noted_mutex);

    noted = std::move(now);
}

llama_layerwise::noted_t llama_layerwise::last_noted() const {
    const std::lock_guard<std::mutex> lock(noted_mutex);

    return noted;
}
