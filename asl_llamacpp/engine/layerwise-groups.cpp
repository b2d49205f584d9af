// How the layered KV cache makes, enlarges and joins its groups of layers.

#include "layerwise-memory.h"

#include "layerwise-prefill.h"

#include "llama-model.h"

#include <algorithm>

llama_layerwise_group llama_kv_cache_layered::make_empty(
        const llama_hparams & hparams, ggml_type type_k, ggml_type type_v, uint32_t n_cells, bool swa_full,
        const llama_memory_i::layer_filter_cb & filter) const {
    llama_layerwise_group res;

    if (hparams.swa_type == LLAMA_SWA_TYPE_NONE) {
        auto kv = std::make_unique<llama_kv_cache>(
                model, hparams, type_k, type_v, v_trans, cparams.offload_kqv, cparams.kv_unified, n_cells,
                cparams.n_seq_max, 1, hparams.n_swa, hparams.swa_type, nullptr, filter, nullptr, nullptr);

        res.kv_base = kv.get();
        res.mem     = std::move(kv);
    } else {
        auto kv = std::make_unique<llama_kv_cache_iswa>(
                model, hparams, type_k, type_v, v_trans, cparams.offload_kqv, swa_full, cparams.kv_unified, n_cells,
                cparams.n_seq_max, cparams.n_ubatch, 1, nullptr, filter, nullptr, nullptr);

        res.kv_base = kv->get_base();
        res.kv_swa  = kv->get_swa();
        res.mem     = std::move(kv);
    }

    return res;
}

llama_layerwise_group llama_kv_cache_layered::make_group(
        int32_t il_begin, int32_t il_end, uint32_t n_cells, uint32_t n_cells_swa, uint32_t n_written, uint32_t n_written_swa) {
    return make_like(reserve, il_begin, il_end, n_cells, n_cells_swa, n_written, n_written_swa);
}

llama_layerwise_group llama_kv_cache_layered::make_unallocated(int32_t il_begin, int32_t il_end, uint32_t n_cells) {
    constexpr auto NONE = llama_layerwise_kv::UNALLOCATED;

    return make_like(is_quantized() ? reserve_exact : reserve, il_begin, il_end, n_cells, 0, NONE, NONE);
}

llama_layerwise_group llama_kv_cache_layered::make_exact(
        int32_t il_begin, int32_t il_end, const llama_layerwise_group & cells, uint32_t n_written) {
    llama_layerwise_group res = make_like(
        reserve_exact, il_begin, il_end, cells.n_cells(), cells.kv_swa ? cells.kv_swa->get_size() : 0, n_written, 0);

    res.copy_cells(cells);

    return res;
}

llama_layerwise_group llama_kv_cache_layered::make_like(
        const llama_layerwise_group & shape, int32_t il_begin, int32_t il_end, uint32_t n_cells, uint32_t n_cells_swa,
        uint32_t n_written, uint32_t n_written_swa) {
    // the constructor warns about a full-size SWA cache each time, so it is made full afterwards
    llama_layerwise_group res = make_empty(model.hparams, type_k, type_v, n_cells, false, [](int32_t) { return false; });
    if (res.kv_swa && (swa_full || n_cells_swa > 0)) {
        llama_layerwise_kv::set_size(*res.kv_swa, n_cells_swa > 0 ? n_cells_swa : n_cells);
    }

    res.il_begin = il_begin;
    res.il_end   = il_end;

    llama_layerwise_kv::inherit(*res.kv_base, *shape.kv_base);
    if (res.kv_swa) {
        llama_layerwise_kv::inherit(*res.kv_swa, *shape.kv_swa);
    }

    for (int32_t il = il_begin; il < il_end; ++il) {
        const bool is_swa = shape.kv_swa && model.hparams.is_swa(il);

        const auto & like = is_swa ? *shape.kv_swa : *shape.kv_base;

        // a layer without attention has no KV
        if (!llama_layerwise_kv::has_layer(like, il) || model.hparams.n_embd_k_gqa(il) == 0) {
            continue;
        }

        llama_layerwise_kv::add_layer(
            is_swa ? *res.kv_swa : *res.kv_base, like, il, buft_of(il), is_swa ? n_written_swa : n_written);

        note_peak(res.bytes());
    }

    return res;
}

ggml_backend_buffer_type_t llama_kv_cache_layered::buft_of(int32_t il) const {
    return cparams.offload_kqv ? ggml_backend_dev_buffer_type(model.dev_layer(il)) : ggml_backend_cpu_buffer_type();
}

uint32_t llama_kv_cache_layered::n_cells_for(uint32_t n_tokens, uint32_t n_headroom) const {
    // the transposed V (no flash attention) is strided by the number of cells, so it cannot grow layer by layer
    return v_trans ? n_ctx : std::min<uint32_t>(n_ctx, GGML_PAD(n_tokens + n_headroom, CELLS_PAD));
}

uint32_t llama_kv_cache_layered::n_cells_behind(uint32_t n_tokens, uint32_t n_headroom) const {
    const uint32_t n_cells = n_cells_for(n_tokens, n_headroom);

    return !groups.empty() && groups.back().n_used() == n_tokens ? std::max(n_cells, groups.back().n_cells()) : n_cells;
}

uint32_t llama_kv_cache_layered::n_written_for(uint32_t n_tokens) const {
    // a ubatch reads up to the next multiple of CELLS_PAD, and the transposed V has no rows of cells
    const bool is_aligned = cparams.n_ubatch % CELLS_PAD == 0 || n_tokens <= cparams.n_ubatch;

    return is_aligned && !v_trans ? n_tokens : 0;
}

void llama_kv_cache_layered::push(llama_layerwise_group && group) {
    join_last();

    groups.push_back(std::move(group));

    new_layout();
}

void llama_kv_cache_layered::join_last() {
    if (groups.size() < 2) {
        return;
    }

    // layers that were released get cells of their own
    const auto & a = groups[groups.size() - 2];
    const auto & b = groups.back();

    const bool is_mixed = (llama_layerwise_kv::n_layers(*a.kv_base) > 0) != (llama_layerwise_kv::n_layers(*b.kv_base) > 0);

    for (int32_t il = a.il_begin; is_mixed && il < b.il_end; ++il) {
        if (is_released(il)) {
            return;
        }
    }

    if (groups[groups.size() - 2].join(groups.back())) {
        groups.pop_back();

        new_layout();
    }
}

bool llama_kv_cache_layered::reopen(int32_t il_end, uint32_t n_tokens, uint32_t n_more, uint32_t n_headroom) {
    if (groups.empty() || groups.front().il_end < il_end) {
        return false;
    }

    groups.erase(groups.begin() + 1, groups.end());

    compressed.assign(n_layer_, false);
    pos_removable = 0;

    auto & group = groups.front();

    group.il_end = il_end;

    llama_layerwise_kv::truncate(*group.kv_base, il_end);
    if (group.kv_swa) {
        llama_layerwise_kv::truncate(*group.kv_swa, il_end);
    }

    new_layout();

    group.mem->seq_rm(0, n_tokens, -1);

    if (group.n_used() != n_tokens) {
        return false;
    }

    // a ring of cells may have overwritten what the next tokens' windows reach back to
    if (group.kv_swa && llama_layerwise_kv::n_layers(*group.kv_swa) > 0) {
        const llama_pos p0 = std::max<llama_pos>(0, (llama_pos) n_tokens - (llama_pos) model.hparams.n_swa);

        if (group.kv_swa->seq_pos_min(0) > p0 || group.kv_swa->seq_pos_max(0) != (llama_pos) n_tokens - 1) {
            return false;
        }
    }

    grow(group, n_more, n_headroom);

    return true;
}

bool llama_kv_cache_layered::has_ring(const llama_layerwise_group & group) const {
    return !swa_full && group.kv_swa && llama_layerwise_kv::n_layers(*group.kv_swa) > 0;
}

llama_layerwise_group llama_kv_cache_layered::make_filled(
        int32_t il, int32_t first, const std::vector<llama_token> & tokens, uint32_t n_more, uint32_t n_headroom) {
    const uint32_t n_held = first + tokens.size();

    llama_layerwise_group res = make_group(il, il + 1, n_cells_for(n_held + n_more, n_headroom), 0, tokens.size(), tokens.size());

    // the cache without the layer gets cells too: what is found there is looked up in the cells
    for (auto * kv : { res.kv_base, res.kv_swa }) {
        if (kv) {
            llama_layerwise_kv::fill(*kv, first, tokens);
        }
    }

    return res;
}

const llama_kv_cache * llama_kv_cache_layered::like(int32_t il) const {
    return model.hparams.n_embd_k_gqa(il) == 0 ? nullptr : reserve.kv_of(il);
}

llama_layerwise_group llama_kv_cache_layered::take_first() {
    llama_layerwise_group res = std::move(groups.front());

    groups.erase(groups.begin());

    new_layout();

    return res;
}

void llama_kv_cache_layered::put_first(llama_layerwise_group && group) {
    groups.insert(groups.begin(), std::move(group));

    new_layout();
}

void llama_kv_cache_layered::compress(
        int32_t il, const std::vector<int32_t> & cells, uint32_t n_head_kv, uint32_t n_window, uint32_t n_headroom,
        ggml_backend_t backend) {
    auto & kv = *groups.back().kv_base;

    const uint32_t n_old  = kv.get_cells(0).get_used();
    const uint32_t n_kept = cells.size()/n_head_kv;

    pos_removable = kv.get_cells(0).pos_get(n_old - n_window);

    llama_layerwise_kv::compress(kv, n_cells_for(n_kept, n_headroom), cells, n_head_kv, n_window, backend,
            [this](size_t n_bytes) { note_peak(n_bytes); });

    compressed[il] = true;

    new_layout();
}

void llama_kv_cache_layered::make_room(uint32_t n_tokens, uint32_t n_headroom) {
    if (!is_empty()) {
        for (auto & group : groups) {
            grow(group, n_tokens, n_headroom);
        }
        return;
    }

    // there is nothing to copy
    if (groups.size() != 1 || groups.front().n_cells() < n_cells_for(n_tokens, n_headroom)) {
        drop_groups();

        with_headroom(n_tokens, n_headroom, [&](uint32_t n_cells) { push(make_group(0, n_layer_, n_cells)); });
    }
}

void llama_kv_cache_layered::with_headroom(
        uint32_t n_tokens, uint32_t n_headroom, const std::function<void(uint32_t)> & alloc) const {
    const uint32_t n_cells = n_cells_for(n_tokens, n_headroom);
    const uint32_t n_least = n_cells_for(n_tokens, CELLS_PAD);

    try {
        alloc(n_cells);
    } catch (const std::bad_alloc &) {
        if (n_least >= n_cells) {
            throw;
        }

        alloc(n_least);
    }
}

bool llama_kv_cache_layered::grow(llama_layerwise_group & group, uint32_t n_tokens, uint32_t n_headroom) {
    // the layers with a sliding window keep cells that the others may have dropped
    const uint32_t n_used     = group.n_used();
    const uint32_t n_used_swa = group.kv_swa ? group.kv_swa->get_cells(0).get_used() : 0;

    const auto has_room = [&](uint32_t n_more) {
        return n_cells_for(n_used + n_more, n_headroom) <= group.n_cells() &&
            (!group.kv_swa || n_cells_swa_for(n_cells_for(n_used_swa + n_more, n_headroom)) <= group.kv_swa->get_size());
    };

    if (has_room(n_tokens)) {
        return false;
    }

    with_headroom(n_used + n_tokens, n_headroom, [&](uint32_t n_cells) {
        const uint32_t n_spare = n_cells - std::min(n_cells, n_used + n_tokens);

        enlarge(group, n_cells, n_cells_swa_for(n_cells_for(n_used_swa + n_tokens, n_spare)));
    });

    return true;
}

uint32_t llama_kv_cache_layered::n_cells_swa_for(uint32_t n_cells) const {
    if (swa_full) {
        return n_cells;
    }

    // as the constructor of llama_kv_cache_iswa sizes it
    const uint32_t n_seq = cparams.kv_unified ? cparams.n_seq_max : 1;

    return GGML_PAD(std::min(n_cells, model.hparams.n_swa*n_seq + cparams.n_ubatch), CELLS_PAD);
}

void llama_kv_cache_layered::enlarge(llama_layerwise_group & group, uint32_t n_cells, uint32_t n_cells_swa) {
    const auto on_alloc = [this](size_t n_bytes) { note_peak(n_bytes); };

    // the device may still be reading and writing what is copied, and freed, here
    driver->wait();

    // graphs hold views of the old buffers
    new_layout();

    if (group.kv_swa && n_cells_swa > group.kv_swa->get_size()) {
        llama_layerwise_kv::grow(*group.kv_swa, n_cells_swa, on_alloc);
    }
    if (n_cells > group.kv_base->get_size()) {
        llama_layerwise_kv::grow(*group.kv_base, n_cells, on_alloc);
    }

    n_grow_++;
}

void llama_kv_cache_layered::reset_peak() {
    n_bytes_peak = bytes();
}

const llama_layerwise_group * llama_kv_cache_layered::group_of(int32_t il) const {
    for (const auto & group : groups) {
        if (group.has(il)) {
            return &group;
        }
    }

    return nullptr;
}

size_t llama_kv_cache_layered::bytes() const {
    size_t res = 0;

    for (const auto & group : groups) {
        res += group.bytes();
    }

    return res;
}

void llama_kv_cache_layered::note_peak(size_t n_bytes_extra) {
    n_bytes_peak = std::max(n_bytes_peak, bytes() + n_bytes_extra);
}
