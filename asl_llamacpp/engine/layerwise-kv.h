#pragma once

// Access to the insides of llama_kv_cache: ordinary KV caches that are built layer by layer, enlarged, joined and compressed.

#include "llama-kv-cache.h"
#include "llama-kv-cache-iswa.h"

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

// a context for the metadata of n_tensors tensors whose data lie elsewhere; throws std::bad_alloc
ggml_context_ptr llama_layerwise_make_ctx(size_t n_tensors);

struct llama_layerwise_kv {
    // take over what the constructor derives from the layers, which an empty cache has not seen
    static void inherit(llama_kv_cache & kv, const llama_kv_cache & like);

    // number of cells of a cache that has no layers yet
    static void set_size(llama_kv_cache & kv, uint32_t kv_size);

    // for n_written: the layer gets no memory, only a place
    static constexpr uint32_t UNALLOCATED = UINT32_MAX;

    // the first n_written cells are written before any graph sees them; the others are zero. Throws std::bad_alloc
    static void add_layer(
            llama_kv_cache & kv, const llama_kv_cache & like, int32_t il, ggml_backend_buffer_type_t buft, uint32_t n_written);

    // let the cells from the n-th on be as if nothing had been written to them
    static void clear_from(llama_kv_cache & kv, uint32_t n);

    // whether the two hold the same positions in the same cells, as far as they have layers
    static bool joinable(const llama_kv_cache & a, const llama_kv_cache & b);

    // move the layers of src, with which dst is joinable, to dst
    static void join(llama_kv_cache & dst, llama_kv_cache & src);

    // cells of the first positions that fit, from position first on, in a cache that has none in use
    static void fill(llama_kv_cache & kv, llama_pos first, const std::vector<llama_token> & tokens);

    // the same with any increasing positions in a cache without layers, which gets kv_size cells
    static void fill(
            llama_kv_cache & kv, uint32_t kv_size, const std::vector<llama_pos> & positions, const std::vector<llama_token> & tokens);

    // hold the same positions in the same cells as a cache of the same size
    static void copy_cells(llama_kv_cache & kv, const llama_kv_cache & from);

    // the cells at position first and after it
    static std::vector<int32_t> cells_from(const llama_kv_cache & kv, llama_pos first);

    // K and V of layer il from one type to another, in these cells, rotated where llama.cpp rotates what it quantizes.
    // Throws std::bad_alloc, std::runtime_error
    static void convert(
            const llama_kv_cache & src, const llama_kv_cache & dst, int32_t il, const std::vector<int32_t> & cells,
            ggml_backend_t backend);

    // K and V of layer il, cell after cell in the order of the positions first..first+n-1; false if some are not there
    static bool read_rows(const llama_kv_cache & kv, int32_t il, llama_pos first, uint32_t n, uint8_t * k, uint8_t * v);

    // the same into the first n cells
    static void write_rows(llama_kv_cache & kv, int32_t il, uint32_t n, const uint8_t * k, const uint8_t * v);

    // free the layers from il_end on
    static void truncate(llama_kv_cache & kv, int32_t il_end);

    // replace the only layer by one of kv_size cells that holds, for each KV head, the cells of its row; the last
    // n_window are the same for all. on_alloc as in grow. Throws std::bad_alloc and leaves kv as it was
    //   cells: [n_head_kv, n_kept]
    static void compress(
            llama_kv_cache & kv, uint32_t kv_size, const std::vector<int32_t> & cells, uint32_t n_head_kv,
            uint32_t n_window, ggml_backend_t backend, const std::function<void(size_t)> & on_alloc);

    // indices of the cells that hold these positions, which increase; empty if some are not there
    static std::vector<int32_t> cells_at(const llama_kv_cache & kv, const std::vector<llama_pos> & positions);

    // replace all layers, one after another, by ones of kv_size cells that hold these cells. on_alloc as in grow. Throws
    // std::bad_alloc, std::runtime_error, and then kv is of no use any more
    static void gather(
            llama_kv_cache & kv, uint32_t kv_size, const std::vector<int32_t> & cells,
            const std::function<ggml_backend_t(ggml_backend_buffer_type_t)> & backend_of,
            const std::function<void(size_t)> & on_alloc);

    // fill the first cells of dst, whose layers are those of src and which has none in use, with these cells of src.
    // Throws std::bad_alloc, std::runtime_error
    static void gather_into(
            llama_kv_cache & dst, const llama_kv_cache & src, const std::vector<int32_t> & cells,
            const std::function<ggml_backend_t(ggml_backend_buffer_type_t)> & backend_of);

    // enlarge layer by layer, so that one layer is held twice at most; throws std::bad_alloc and leaves kv usable at its
    // old size. on_alloc gets the bytes of each new layer before the old one is freed
    static void grow(llama_kv_cache & kv, uint32_t kv_size, const std::function<void(size_t)> & on_alloc);

    // whether the cells lie in the order of their positions with no gap, the next ones will follow them, and attention
    // is causal and nothing else
    static bool in_order(const llama_kv_cache & kv);

    // llama_kv_cache::set_input_kq_mask for cells in the order of their positions, as every prefill leaves them: two
    // fills a row instead of a test for each cell. false if the cells or the attention are not of that kind
    static bool set_input_kq_mask(const llama_kv_cache & kv, ggml_tensor * dst, const llama_ubatch & ubatch);

    // where the search for free cells begins
    static uint32_t head    (const llama_kv_cache & kv);
    static void     set_head(llama_kv_cache & kv, uint32_t head);

    static size_t n_layers   (const llama_kv_cache & kv);
    static bool   has_layer  (const llama_kv_cache & kv, int32_t il);
    static size_t layer_bytes(const llama_kv_cache & kv, int32_t il);
    static size_t k_bytes    (const llama_kv_cache & kv, int32_t il); // of one cell
    static size_t v_bytes    (const llama_kv_cache & kv, int32_t il);
    static size_t bytes      (const llama_kv_cache & kv);

private:
    using kv_layer = llama_kv_cache::kv_layer;
    using ctx_buf  = std::pair<ggml_context_ptr, ggml_backend_buffer_ptr>;

    // a layer of kv_size cells shaped like another one, see add_layer; throws std::bad_alloc
    static std::pair<kv_layer, ctx_buf> make_layer(
            const kv_layer & like, uint32_t kv_size, ggml_backend_buffer_type_t buft, uint32_t n_written);

    // the metadata of these cells, in a cache of kv_size
    static llama_kv_cells subset(const llama_kv_cells & cells, uint32_t kv_size, const std::vector<int32_t> & idxs);
};
