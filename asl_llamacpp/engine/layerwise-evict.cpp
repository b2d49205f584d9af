// What the layers that have run keep once the selection is made: the cells of the selected tokens, the same for all heads.

#include "layerwise-prefill.h"

#include "layerwise-rows.h"

#include "llama-context.h"
#include "llama-model.h"

#include <algorithm>
#include <map>
#include <numeric>

//
// the cells of one cache
//

std::vector<int32_t> llama_layerwise_kv::cells_at(const llama_kv_cache & kv, const std::vector<llama_pos> & positions) {
    const auto & cells = kv.v_cells[0];

    std::map<llama_pos, int32_t> cell_of;
    for (uint32_t i = 0; i < cells.used_max_p1(); ++i) {
        if (!cells.is_empty(i)) {
            cell_of[cells.pos_get(i)] = i;
        }
    }

    std::vector<int32_t> res;
    for (const llama_pos pos : positions) {
        const auto it = cell_of.find(pos);
        if (it == cell_of.end()) {
            return {};
        }
        res.push_back(it->second);
    }

    return res;
}

llama_kv_cells llama_layerwise_kv::subset(const llama_kv_cells & cells, uint32_t kv_size, const std::vector<int32_t> & idxs) {
    llama_kv_cells res;
    res.resize(kv_size);

    res.set(0, cells.cp(std::vector<uint32_t>(idxs.begin(), idxs.end())));

    return res;
}

void llama_layerwise_kv::gather(
        llama_kv_cache & kv, uint32_t kv_size, const std::vector<int32_t> & cells,
        const std::function<ggml_backend_t(ggml_backend_buffer_type_t)> & backend_of,
        const std::function<void(size_t)> & on_alloc) {
    for (size_t i = 0; i < kv.layers.size(); ++i) {
        auto & layer = kv.layers[i];

        const auto buft = ggml_backend_buffer_get_type(layer.k->buffer);

        auto [layer_new, ctx_buf] = make_layer(layer, kv_size, buft, cells.size());

        on_alloc(ggml_backend_buffer_get_size(ctx_buf.second.get()));

        llama_layerwise_gather_rows(backend_of(buft), layer.k, layer_new.k, layer.k->nb[1], cells);
        llama_layerwise_gather_rows(backend_of(buft), layer.v, layer_new.v, layer.v->nb[1], cells);

        layer           = std::move(layer_new);
        kv.ctxs_bufs[i] = std::move(ctx_buf);
    }

    kv.v_cells[0] = subset(kv.v_cells[0], kv_size, cells);
    kv.v_heads[0] = cells.size();
}

void llama_layerwise_kv::gather_into(
        llama_kv_cache & dst, const llama_kv_cache & src, const std::vector<int32_t> & cells,
        const std::function<ggml_backend_t(ggml_backend_buffer_type_t)> & backend_of) {
    for (const auto & from : src.layers) {
        const auto & to = dst.layers[dst.map_layer_ids.at(from.il)];

        const auto backend = backend_of(ggml_backend_buffer_get_type(from.k->buffer));

        llama_layerwise_gather_rows(backend, from.k, to.k, from.k->nb[1], cells);
        llama_layerwise_gather_rows(backend, from.v, to.v, from.v->nb[1], cells);
    }

    dst.v_cells[0] = subset(src.v_cells[0], dst.get_size(), cells);
    dst.v_heads[0] = cells.size();
}

//
// all groups
//

bool llama_kv_cache_layered::evict(
        const std::vector<llama_pos> & positions, uint32_t n_headroom, const backend_of_t & backend_of) {
    std::vector<std::vector<int32_t>> cells;
    for (const auto & group : groups) {
        cells.push_back(llama_layerwise_kv::cells_at(*group.kv_base, positions));
        if (cells.back().empty() && llama_layerwise_kv::n_layers(*group.kv_base) > 0) {
            return false;
        }
    }

    const uint32_t n_cells = n_cells_for(positions.size(), n_headroom);

    for (size_t i = 0; i < groups.size(); ++i) {
        auto & kv = *groups[i].kv_base;

        if (kv.get_size() != n_cells || kv.get_cells(0).get_used() != positions.size()) {
            llama_layerwise_kv::gather(kv, n_cells, cells[i], backend_of, [this](size_t n_bytes) { note_peak(n_bytes); });
        }
    }

    new_layout();

    return true;
}

llama_layerwise_group llama_kv_cache_layered::evicted_copy(
        const std::vector<llama_pos> & positions, uint32_t n_headroom, const backend_of_t & backend_of) {
    const auto & from = groups.front();

    std::vector<int32_t> all_swa(from.kv_swa ? from.kv_swa->get_cells(0).used_max_p1() : 0);
    std::iota(all_swa.begin(), all_swa.end(), 0);

    llama_layerwise_group res = make_group(
            from.il_begin, from.il_end, n_cells_for(positions.size(), n_headroom), from.kv_swa ? from.kv_swa->get_size() : 0,
            positions.size(), all_swa.size());

    llama_layerwise_kv::gather_into(*res.kv_base, *from.kv_base, llama_layerwise_kv::cells_at(*from.kv_base, positions), backend_of);

    if (from.kv_swa) {
        llama_layerwise_kv::gather_into(*res.kv_swa, *from.kv_swa, all_swa, backend_of);
    }

    return res;
}

void llama_kv_cache_layered::release(int32_t il) {
    llama_layerwise_kv::truncate(*groups.back().kv_base, il);

    new_layout();
}

bool llama_kv_cache_layered::is_released(int32_t il) const {
    const auto * group = group_of(il);

    return group && like(il) && !group->kv_of(il);
}

llama_kv_cache * llama_kv_cache_layered::refill(
        int32_t il, const std::vector<llama_pos> & positions, const std::vector<llama_token> & tokens, uint32_t n_headroom) {
    join_last();

    const auto group = std::find_if(groups.begin(), groups.end(), [il](const auto & g) { return g.has(il); });

    auto & kv = *group->kv_base;

    for (int32_t i = il; i < group->il_end; ++i) {
        if (llama_layerwise_kv::has_layer(kv, i)) {
            return nullptr;
        }
    }

    if (llama_layerwise_kv::n_layers(kv) == 0) {
        llama_layerwise_kv::fill(kv, n_cells_for(positions.size(), n_headroom), positions, tokens);
    } else if (kv.get_cells(0).get_used() != positions.size() || llama_layerwise_kv::cells_at(kv, positions).empty()) {
        return nullptr;
    }

    llama_layerwise_kv::add_layer(kv, *reserve.kv_base, il, buft_of(il), positions.size());

    note_peak(0);

    new_layout();

    return &kv;
}

//
// the prefill
//

void llama_layerwise::evict(const int32_t * positions, int32_t n, bool keep_held) {
    require_active();

    if (il_next == 0 || n_before > 0) {
        llama_layerwise_invalid("the layers that the held tokens have run through come first");
    }
    if (!ctx.cparams.flash_attn) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED, "eviction needs flash attention: the V of a cell lies scattered without it");
    }
    if (evicted) {
        llama_layerwise_invalid("cells were evicted already");
    }
    for (int32_t il = 0; il < il_next; ++il) {
        if (!mem.is_whole(il)) {
            llama_layerwise_invalid("layer " + std::to_string(il) + " was compressed or released");
        }
    }

    indices_of(positions, n);

    const std::vector<llama_pos> kept(positions, positions + n);

    const auto backend_of_buft = [this](ggml_backend_buffer_type_t buft) { return backend_of(buft); };

    ctx.synchronize();

    mem.join_last();

    if (held.in_cache && keep_held) {
        auto group = mem.evicted_copy(kept, n_headroom, backend_of_buft);

        held.group    = mem.take_first();
        held.in_cache = false;

        mem.put_first(std::move(group));
    }

    if (held.in_cache) {
        held = held_t();
    }

    if (!mem.evict(kept, n_headroom, backend_of_buft)) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_FAILED, "cells of the kept tokens are gone");
    }

    evicted = true;
}

void llama_layerwise::release(int32_t il) {
    require_active();

    const auto & groups = mem.get_groups();

    if (groups.empty() || !groups.back().has(il) || il_next != groups.back().il_end) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " was not in the last run");
    }

    const auto & kv = *groups.back().kv_base;

    if (!llama_layerwise_kv::has_layer(kv, il) || llama_layerwise_kv::n_layers(kv) != 1 || mem.is_compressed(il)) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " is not the only one of its run that has cells of all tokens");
    }

    ctx.synchronize();

    if (held.in_cache && il < held.il) {
        held = held_t();
    }

    mem.release(il);
}

void llama_layerwise::refill(
        int32_t il, const int32_t * positions, int32_t n, const void * k, int64_t n_k, const void * v, int64_t n_v) {
    require_active();

    if (il < 0 || il >= il_next || !mem.is_released(il)) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " was not released");
    }

    const std::vector<int32_t> idxs = indices_of(positions, n);

    llama_layerwise_check_rows(*mem.like(il), il, n, k, n_k, v, n_v);

    std::vector<llama_token> tokens_kept;
    for (const int32_t i : idxs) {
        tokens_kept.push_back(tokens[i]);
    }

    auto * kv = mem.refill(il, std::vector<llama_pos>(positions, positions + n), tokens_kept, n_headroom);
    if (!kv) {
        llama_layerwise_invalid("layers are refilled from the first on, and with the same positions");
    }

    llama_layerwise_kv::write_rows(*kv, il, n, (const uint8_t *) k, (const uint8_t *) v);
}
