#include "layerwise-kv.h"

#include "layerwise-rows.h"

#include <algorithm>
#include <new>
#include <stdexcept>

ggml_context_ptr llama_layerwise_make_ctx(size_t n_tensors) {
    ggml_init_params params = {
        /*.mem_size   =*/ n_tensors*ggml_tensor_overhead(),
        /*.mem_buffer =*/ nullptr,
        /*.no_alloc   =*/ true,
    };

    ggml_context_ptr ctx { ggml_init(params) };
    if (!ctx) {
        throw std::bad_alloc();
    }

    return ctx;
}

// copy the leading rows, device to device where the backend can
static void copy_rows(ggml_tensor * src, ggml_tensor * dst, int64_t n_rows) {
    if (n_rows == 0) {
        return;
    }

    ggml_context_ptr ctx = llama_layerwise_make_ctx(2);

    ggml_tensor * src_view = ggml_view_2d(ctx.get(), src, src->ne[0], n_rows, src->nb[1], 0);
    ggml_tensor * dst_view = ggml_view_2d(ctx.get(), dst, dst->ne[0], n_rows, dst->nb[1], 0);

    if (ggml_backend_view_init(src_view) != GGML_STATUS_SUCCESS || ggml_backend_view_init(dst_view) != GGML_STATUS_SUCCESS) {
        throw std::bad_alloc();
    }

    ggml_backend_tensor_copy(src_view, dst_view);
}

// of a matrix, from row n on; not every device's buffers can be set to a value in part
static void clear_rows(ggml_tensor * t, uint32_t n) {
    const size_t offs = n*t->nb[1];

    const std::vector<uint8_t> zeros(ggml_nbytes(t) - offs);

    if (!zeros.empty()) {
        ggml_backend_tensor_set(t, zeros.data(), offs, zeros.size());
    }
}

void llama_layerwise_kv::inherit(llama_kv_cache & kv, const llama_kv_cache & like) {
    kv.n_embd_head_k_all = like.n_embd_head_k_all;
    kv.n_embd_head_v_all = like.n_embd_head_v_all;

    kv.attn_rot_k = like.attn_rot_k;
    kv.attn_rot_v = like.attn_rot_v;

    kv.attn_rot_hadamard = like.attn_rot_hadamard;
}

void llama_layerwise_kv::set_size(llama_kv_cache & kv, uint32_t kv_size) {
    GGML_ASSERT(kv.layers.empty());

    kv.v_cells[0].resize(kv_size);
}

std::pair<llama_layerwise_kv::kv_layer, llama_layerwise_kv::ctx_buf> llama_layerwise_kv::make_layer(
        const kv_layer & like, uint32_t kv_size, ggml_backend_buffer_type_t buft, uint32_t n_written) {
    ggml_context_ptr ctx = llama_layerwise_make_ctx(4);

    ggml_tensor * k = ggml_new_tensor_3d(ctx.get(), like.k->type, like.k->ne[0], kv_size, 1);
    ggml_tensor * v = ggml_new_tensor_3d(ctx.get(), like.v->type, like.v->ne[0], kv_size, 1);

    ggml_set_name(k, like.k->name);
    ggml_set_name(v, like.v->name);

    ggml_tensor * k_stream = ggml_view_2d(ctx.get(), k, k->ne[0], kv_size, k->nb[1], 0);
    ggml_tensor * v_stream = ggml_view_2d(ctx.get(), v, v->ne[0], kv_size, v->nb[1], 0);

    const bool is_unallocated = n_written == UNALLOCATED;

    ggml_backend_buffer_ptr buf {
        is_unallocated ? ggml_backend_buft_alloc_buffer(buft, 0) : ggml_backend_alloc_ctx_tensors_from_buft(ctx.get(), buft) };
    if (!buf) {
        throw std::bad_alloc();
    }

    n_written = std::min(n_written, kv_size);

    if (is_unallocated) {
        for (ggml_tensor * t : { k, v, k_stream, v_stream }) {
            t->buffer = buf.get();
        }
    } else if (kv_size - n_written > n_written/8) {
        // as in the constructor of llama_kv_cache: no NaNs in cells that were never written
        ggml_backend_buffer_clear(buf.get(), 0);
    } else {
        clear_rows(k, n_written);
        clear_rows(v, n_written);
    }

    return { kv_layer { like.il, k, v, { k_stream }, { v_stream } }, ctx_buf { std::move(ctx), std::move(buf) } };
}

void llama_layerwise_kv::clear_from(llama_kv_cache & kv, uint32_t n) {
    for (auto & layer : kv.layers) {
        clear_rows(layer.k, n);
        clear_rows(layer.v, n);
    }
}

void llama_layerwise_kv::add_layer(
        llama_kv_cache & kv, const llama_kv_cache & like, int32_t il, ggml_backend_buffer_type_t buft, uint32_t n_written) {
    auto [layer, ctx_buf] = make_layer(like.layers[like.map_layer_ids.at(il)], kv.get_size(), buft, n_written);

    kv.map_layer_ids[il] = kv.layers.size();
    kv.layers.push_back(std::move(layer));
    kv.ctxs_bufs.push_back(std::move(ctx_buf));
}

bool llama_layerwise_kv::joinable(const llama_kv_cache & a, const llama_kv_cache & b) {
    if (a.layers.empty() || b.layers.empty()) {
        return true;
    }

    const auto & cells_a = a.v_cells[0];
    const auto & cells_b = b.v_cells[0];

    if (cells_a.size() != cells_b.size() || cells_a.get_used() != cells_b.get_used()) {
        return false;
    }
    for (uint32_t i = 0; i < cells_a.size(); ++i) {
        if (cells_a.is_empty(i) != cells_b.is_empty(i) || (!cells_a.is_empty(i) && cells_a.pos_get(i) != cells_b.pos_get(i))) {
            return false;
        }
    }

    return true;
}

void llama_layerwise_kv::join(llama_kv_cache & dst, llama_kv_cache & src) {
    if (dst.layers.empty() && !src.layers.empty()) {
        dst.v_cells = std::move(src.v_cells);
        dst.v_heads = std::move(src.v_heads);
    }

    for (size_t i = 0; i < src.layers.size(); ++i) {
        dst.map_layer_ids[src.layers[i].il] = dst.layers.size();
        dst.layers.push_back(std::move(src.layers[i]));
        dst.ctxs_bufs.push_back(std::move(src.ctxs_bufs[i]));
    }

    src.layers.clear();
    src.ctxs_bufs.clear();
    src.map_layer_ids.clear();
}

void llama_layerwise_kv::truncate(llama_kv_cache & kv, int32_t il_end) {
    for (size_t i = kv.layers.size(); i > 0 && (int32_t) kv.layers[i - 1].il >= il_end; --i) {
        kv.map_layer_ids.erase(kv.layers[i - 1].il);
        kv.layers.pop_back();
        kv.ctxs_bufs.pop_back();
    }
}

static void set_cell(llama_kv_cells & cells, uint32_t i, llama_pos pos, llama_token token) {
    llama_kv_cell_ext ext;
    ext.x   = pos;
    ext.y   = pos;
    ext.tok = token;

    cells.pos_set(i, pos);
    cells.ext_set(i, ext);
    cells.seq_add(i, 0);
}

void llama_layerwise_kv::fill(llama_kv_cache & kv, llama_pos first, const std::vector<llama_token> & tokens) {
    auto & cells = kv.v_cells[0];

    const uint32_t n = std::min<uint32_t>(tokens.size(), cells.size());

    for (uint32_t i = 0; i < n; ++i) {
        set_cell(cells, i, first + (llama_pos) i, tokens[i]);
    }

    kv.v_heads[0] = n;
}

void llama_layerwise_kv::fill(
        llama_kv_cache & kv, uint32_t kv_size, const std::vector<llama_pos> & positions, const std::vector<llama_token> & tokens) {
    auto & cells = kv.v_cells[0];

    cells.resize(kv_size);

    for (uint32_t i = 0; i < positions.size(); ++i) {
        set_cell(cells, i, positions[i], tokens[i]);
    }

    kv.v_heads[0] = positions.size();
}

void llama_layerwise_kv::copy_cells(llama_kv_cache & kv, const llama_kv_cache & from) {
    kv.v_cells = from.v_cells;
    kv.v_heads = from.v_heads;
}

std::vector<int32_t> llama_layerwise_kv::cells_from(const llama_kv_cache & kv, llama_pos first) {
    const auto & cells = kv.v_cells[0];

    std::vector<int32_t> res;
    for (uint32_t i = 0; i < cells.used_max_p1(); ++i) {
        if (!cells.is_empty(i) && cells.pos_get(i) >= first) {
            res.push_back(i);
        }
    }

    return res;
}

bool llama_layerwise_kv::read_rows(
        const llama_kv_cache & kv, int32_t il, llama_pos first, uint32_t n, uint8_t * k, uint8_t * v) {
    const auto & layer = kv.layers[kv.map_layer_ids.at(il)];
    const auto & cells = kv.v_cells[0];

    std::vector<int64_t> cell_of(n, -1);
    for (uint32_t i = 0; i < cells.used_max_p1(); ++i) {
        if (!cells.is_empty(i) && cells.pos_get(i) >= first && cells.pos_get(i) - first < (llama_pos) n) {
            cell_of[cells.pos_get(i) - first] = i;
        }
    }

    for (const int64_t i : cell_of) {
        if (i < 0) {
            return false;
        }
    }

    // neighbours are copied at once
    for (uint32_t i = 0; i < n; ) {
        uint32_t n_run = 1;
        while (i + n_run < n && cell_of[i + n_run] == cell_of[i] + n_run) {
            n_run++;
        }

        ggml_backend_tensor_get(layer.k, k + i*layer.k->nb[1], cell_of[i]*layer.k->nb[1], n_run*layer.k->nb[1]);
        ggml_backend_tensor_get(layer.v, v + i*layer.v->nb[1], cell_of[i]*layer.v->nb[1], n_run*layer.v->nb[1]);

        i += n_run;
    }

    return true;
}

void llama_layerwise_kv::write_rows(llama_kv_cache & kv, int32_t il, uint32_t n, const uint8_t * k, const uint8_t * v) {
    const auto & layer = kv.layers[kv.map_layer_ids.at(il)];

    if (n > 0) {
        ggml_backend_tensor_set(layer.k, k, 0, n*layer.k->nb[1]);
        ggml_backend_tensor_set(layer.v, v, 0, n*layer.v->nb[1]);
    }
}

void llama_layerwise_kv::compress(
        llama_kv_cache & kv, uint32_t kv_size, const std::vector<int32_t> & cells, uint32_t n_head_kv,
        uint32_t n_window, ggml_backend_t backend, const std::function<void(size_t)> & on_alloc) {
    auto & layer = kv.layers.at(0);

    const auto & cells_old = kv.v_cells[0];

    const uint32_t n_old  = cells_old.get_used();
    const uint32_t n_kept = cells.size()/n_head_kv;

    auto [layer_new, ctx_buf] = make_layer(layer, kv_size, ggml_backend_buffer_get_type(layer.k->buffer), n_kept);

    on_alloc(ggml_backend_buffer_get_size(ctx_buf.second.get()));

    // the heads of a cell lie side by side
    std::vector<int32_t> rows(cells.size());
    for (uint32_t h = 0; h < n_head_kv; ++h) {
        for (uint32_t i = 0; i < n_kept; ++i) {
            rows[i*n_head_kv + h] = cells[h*n_kept + i]*n_head_kv + h;
        }
    }

    llama_layerwise_gather_rows(backend, layer.k, layer_new.k, layer.k->nb[1]/n_head_kv, rows);
    llama_layerwise_gather_rows(backend, layer.v, layer_new.v, layer.v->nb[1]/n_head_kv, rows);

    // before the window the heads hold different tokens: these cells get the positions right before it, which later
    // tokens see just the same
    const llama_pos p0 = cells_old.pos_get(n_old - n_window);

    llama_kv_cells cells_new;
    cells_new.resize(kv_size);
    for (uint32_t i = 0; i < n_kept; ++i) {
        const bool in_window = i + n_window >= n_kept;

        cells_new.pos_set(i, in_window ? cells_old.pos_get(n_old - n_kept + i) : p0 + (llama_pos) (i + n_window) - (llama_pos) n_kept);
        cells_new.seq_add(i, 0);
    }

    layer           = std::move(layer_new);
    kv.ctxs_bufs[0] = std::move(ctx_buf);
    kv.v_cells[0]   = std::move(cells_new);
    kv.v_heads[0]   = n_kept;
}

void llama_layerwise_kv::grow(llama_kv_cache & kv, uint32_t kv_size, const std::function<void(size_t)> & on_alloc) {
    // the transposed V cannot have layers of different sizes, see n_cells_for
    GGML_ASSERT(!kv.v_trans);

    const auto & cells = kv.v_cells[0];

    const uint32_t n_used = cells.used_max_p1();

    for (size_t i = 0; i < kv.layers.size(); ++i) {
        auto & layer = kv.layers[i];

        auto [layer_new, ctx_buf] = make_layer(layer, kv_size, ggml_backend_buffer_get_type(layer.k->buffer), n_used);

        on_alloc(ggml_backend_buffer_get_size(ctx_buf.second.get()));

        copy_rows(layer.k, layer_new.k, n_used);
        copy_rows(layer.v, layer_new.v, n_used);

        layer           = std::move(layer_new);
        kv.ctxs_bufs[i] = std::move(ctx_buf);
    }

    llama_kv_cells cells_new;
    cells_new.resize(kv_size);
    cells_new.set(0, cells.cp(0, n_used));

    kv.v_cells[0] = std::move(cells_new);
}

uint32_t llama_layerwise_kv::head(const llama_kv_cache & kv) {
    return kv.v_heads[0];
}

void llama_layerwise_kv::set_head(llama_kv_cache & kv, uint32_t head) {
    kv.v_heads[0] = head;
}

size_t llama_layerwise_kv::n_layers(const llama_kv_cache & kv) {
    return kv.layers.size();
}

bool llama_layerwise_kv::has_layer(const llama_kv_cache & kv, int32_t il) {
    return kv.map_layer_ids.count(il) > 0;
}

size_t llama_layerwise_kv::layer_bytes(const llama_kv_cache & kv, int32_t il) {
    return ggml_backend_buffer_get_size(kv.ctxs_bufs[kv.map_layer_ids.at(il)].second.get());
}

size_t llama_layerwise_kv::k_bytes(const llama_kv_cache & kv, int32_t il) {
    return kv.layers[kv.map_layer_ids.at(il)].k->nb[1];
}

size_t llama_layerwise_kv::v_bytes(const llama_kv_cache & kv, int32_t il) {
    return kv.layers[kv.map_layer_ids.at(il)].v->nb[1];
}

size_t llama_layerwise_kv::bytes(const llama_kv_cache & kv) {
    return kv.total_size();
}
