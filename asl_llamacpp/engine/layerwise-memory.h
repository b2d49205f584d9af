#pragma once

// The KV cache of a context that prefills layer by layer.
//
// The layers are divided into groups; each group is an ordinary llama_kv_cache (or llama_kv_cache_iswa) that holds a
// range of layers and has its own cells. A prompt in which nothing was pruned has one group. The buffers of each layer
// are allocated on their own, when the layer is about to run, and grow while decoding.

#include "layerwise-group.h"
#include "layerwise-memory-context.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

struct llama_context;
struct llama_layerwise;

// what model.create_memory returns, or the layered cache where the thread asked for it (llama_layerwise_defer_kv)
llama_memory_i * llama_layerwise_create_memory(llama_context & ctx, const llama_memory_params & params);

// the reason why a model cannot be prefilled layer by layer, empty if it can
std::string llama_layerwise_refusal(const llama_model & model);

class llama_kv_cache_layered : public llama_memory_i {
public:
    llama_kv_cache_layered(llama_context & ctx, const llama_memory_params & params);

    //
    // llama_memory_i
    //

    llama_memory_context_ptr init_batch(llama_batch_allocr & balloc, uint32_t n_ubatch, bool embd_all) override;
    llama_memory_context_ptr init_full() override;
    llama_memory_context_ptr init_update(llama_context * lctx, bool optimize) override;

    bool get_can_shift() const override;

    void clear(bool data) override;

    bool seq_rm  (llama_seq_id seq_id,                              llama_pos p0, llama_pos p1) override;
    void seq_cp  (llama_seq_id seq_id_src, llama_seq_id seq_id_dst, llama_pos p0, llama_pos p1) override;
    void seq_keep(llama_seq_id seq_id)                                                          override;
    void seq_add (llama_seq_id seq_id,                              llama_pos p0, llama_pos p1, llama_pos shift) override;
    void seq_div (llama_seq_id seq_id,                              llama_pos p0, llama_pos p1, int d) override;

    llama_pos seq_pos_min(llama_seq_id seq_id) const override;
    llama_pos seq_pos_max(llama_seq_id seq_id) const override;

    std::map<ggml_backend_buffer_type_t, size_t> memory_breakdown() const override;

    void state_write(llama_io_write_i & io, llama_seq_id seq_id = -1, llama_state_seq_flags flags = 0) const override;
    void state_read (llama_io_read_i  & io, llama_seq_id seq_id = -1, llama_state_seq_flags flags = 0) override;

    uint32_t n_graph_nodes(uint32_t n_tokens) const override;

    //
    // layer-wise prefill
    //

    // cells to allocate for n_tokens and n_headroom more, never more than the context has
    uint32_t n_cells_for(uint32_t n_tokens, uint32_t n_headroom) const;

    // the same for layers behind the last ones that ran: as many as these have, if they hold the same tokens, so that the two
    // groups can be joined
    uint32_t n_cells_behind(uint32_t n_tokens, uint32_t n_headroom) const;

    // of the first n_tokens cells: those that the ubatches of a prefill write before they read them, all or none
    uint32_t n_written_for(uint32_t n_tokens) const;

    // cells that nothing was written to are zero, but for the first n_written, which are written before a graph sees them.
    // Throws std::bad_alloc
    //   n_cells_swa  : cells of the sliding-window layers, 0 for what n_cells asks for
    //   n_written_swa: of these
    llama_layerwise_group make_group(
            int32_t il_begin, int32_t il_end, uint32_t n_cells, uint32_t n_cells_swa = 0, uint32_t n_written = 0,
            uint32_t n_written_swa = 0);

    // whether layers are quantized after they have run: attention in a prefill is computed with K and V in f16. Without
    // flash attention products with quantized K are as fast, and V is never quantized
    bool is_quantized() const { return !v_trans && (ggml_is_quantized(type_k) || ggml_is_quantized(type_v)); }

    // layers without buffers, of the types that they are computed with: for graphs that are not
    llama_layerwise_group make_unallocated(int32_t il_begin, int32_t il_end, uint32_t n_cells);

    // layers to compute with, of those that are kept quantized; or none, for the cells of a group. Throws std::bad_alloc
    //   n_written: cells that are written before a graph sees them, as in make_group
    llama_layerwise_group make_exact(int32_t il_begin, int32_t il_end, const llama_layerwise_group & cells, uint32_t n_written);

    // the cells of all layers
    void drop_groups();

    // room for n_tokens more in all layers, and for the headroom after them if there is memory for it. Throws
    // std::bad_alloc, and the cache holds what it held
    void make_room(uint32_t n_tokens, uint32_t n_headroom);

    // append a group; the one before it is joined with its predecessor if they hold the same cells
    void push(llama_layerwise_group && group);

    // no more groups will follow
    void join_last();

    // drop all but the first n_tokens of the layers before il_end, and make room for n_more tokens and the headroom after
    // them; false if some of those are gone. Throws std::bad_alloc
    bool reopen(int32_t il_end, uint32_t n_tokens, uint32_t n_more, uint32_t n_headroom);

    llama_layerwise_group & first_group() { return groups.front(); }

    // whether some of the group's layers hold only the cells of a sliding window
    bool has_ring(const llama_layerwise_group & group) const;

    // a group of layer il alone, with cells for the positions first..first+tokens.size()-1 and room for n_more tokens and
    // the headroom; K and V are still to be written. Throws std::bad_alloc
    llama_layerwise_group make_filled(
            int32_t il, int32_t first, const std::vector<llama_token> & tokens, uint32_t n_more, uint32_t n_headroom);

    // a cache for the whole context, without buffers, that has this layer; nullptr if the layer has no attention
    const llama_kv_cache * like(int32_t il) const;

    // take the first group out of an empty or finished cache, and put it back as the only one
    llama_layerwise_group take_first();
    void                  put_first(llama_layerwise_group && group);

    // see llama_layerwise_kv::compress; layer il must be the only one of the last group's base cache. Throws
    // std::bad_alloc, std::runtime_error
    void compress(
            int32_t il, const std::vector<int32_t> & cells, uint32_t n_head_kv, uint32_t n_window, uint32_t n_headroom,
            ggml_backend_t backend);

    bool is_compressed(int32_t il) const { return compressed[il]; }

    // whether sliding-window layers hold their window and a ubatch, and no more
    bool has_rings() const { return reserve.kv_swa && !swa_full; }

    using backend_of_t = std::function<ggml_backend_t(ggml_backend_buffer_type_t)>;

    // let all layers without a sliding window keep the cells of these positions alone, in buffers with room for the
    // headroom; false, and nothing was changed, if some are not there. Throws std::bad_alloc, std::runtime_error
    bool evict(const std::vector<llama_pos> & positions, uint32_t n_headroom, const backend_of_t & backend_of);

    // the first group as evict would leave it, beside the group itself; positions that are there
    llama_layerwise_group evicted_copy(
            const std::vector<llama_pos> & positions, uint32_t n_headroom, const backend_of_t & backend_of);

    // free the cells of layer il, the only one of the last group's base cache
    void release(int32_t il);

    // whether a layer that has run has no cells although it should, and whether it has those of all its tokens
    bool is_released(int32_t il) const;
    bool is_whole(int32_t il) const { return !compressed[il] && !is_released(il); }

    // give a released layer cells of these tokens, which are written with llama_layerwise_kv::write_rows; nullptr if the
    // layers of its group have others, or a deeper one came before. Throws std::bad_alloc
    llama_kv_cache * refill(
            int32_t il, const std::vector<llama_pos> & positions, const std::vector<llama_token> & tokens, uint32_t n_headroom);

    // the context of one ubatch of a prefill that runs the layers of this group only; nullptr if it does not fit
    llama_memory_context_ptr init_pass(llama_layerwise_group & group, const llama_ubatch & ubatch);

    // the same for the largest graph of that prefill, which is not computed
    llama_memory_context_ptr init_reserve(llama_layerwise_group & group);

    // the prefill driver of this context; while it prefills, llama_decode is refused
    const std::shared_ptr<llama_layerwise> driver;

    // held by whoever changes the groups, their cells or the driver, see llama_layerwise::lock
    mutable llama_layerwise_mutex mutex;

    void reset_peak();

    // beside the groups of the cache so many bytes of cells are in use
    void note_peak(size_t n_bytes_extra);

    const std::vector<llama_layerwise_group> & get_groups() const { return groups; }

    const llama_layerwise_group * group_of(int32_t il) const;

    int32_t n_layer() const { return n_layer_; }

    // of the cells of layer il
    ggml_backend_buffer_type_t buft_of(int32_t il) const;

    size_t   bytes()      const;
    size_t   bytes_peak() const { return n_bytes_peak; }
    uint64_t n_grow()     const { return n_grow_; }

private:
    static constexpr uint32_t CELLS_PAD  = 256;  // as llama_context pads n_ctx
    static constexpr uint32_t MAX_GROWTH = 2048; // cells beyond those that are needed: a copy of all others is cheap by then

    const llama_model   & model;
    const llama_cparams & cparams;

    const ggml_type type_k;
    const ggml_type type_v;

    const bool v_trans;
    const bool swa_full;

    const int32_t  n_layer_;
    const uint32_t n_ctx;

    // all layers at full size and without buffers: what the worst-case graph is reserved on
    llama_hparams         hparams_no_alloc;
    llama_layerwise_group reserve;

    // the same with the types that layers are computed with, if K or V is quantized
    llama_layerwise_group reserve_exact;

    std::vector<llama_layerwise_group> groups;

    // layers whose KV heads hold cells of their own, and the first position that can be removed from them
    std::vector<bool> compressed;
    llama_pos         pos_removable = 0;

    uint64_t layout = 0;

    size_t   n_bytes_peak = 0;
    uint64_t n_grow_      = 0;

    llama_layerwise_group make_empty(
            const llama_hparams & hparams, ggml_type type_k, ggml_type type_v, uint32_t n_cells, bool swa_full,
            const llama_memory_i::layer_filter_cb & filter) const;

    // see make_group; the layers are shaped like those of a group without buffers
    llama_layerwise_group make_like(
            const llama_layerwise_group & shape, int32_t il_begin, int32_t il_end, uint32_t n_cells, uint32_t n_cells_swa,
            uint32_t n_written, uint32_t n_written_swa);

    // throw std::bad_alloc and leave the group usable at its old size; false: it has room for so many tokens more
    bool grow(llama_layerwise_group & group, uint32_t n_tokens, uint32_t n_headroom);
    void enlarge(llama_layerwise_group & group, uint32_t n_cells, uint32_t n_cells_swa);

    // cells of the sliding-window layers where the others have n_cells
    uint32_t n_cells_swa_for(uint32_t n_cells) const;

    // the builder visits all layers before the group too; what it builds there is dropped
    llama_memory_context_ptr with_others(const llama_layerwise_group & group, llama_memory_context_ptr ctx);

    // calls alloc with the number of cells, and once more with the smallest headroom if it throws std::bad_alloc
    void with_headroom(uint32_t n_tokens, uint32_t n_headroom, const std::function<void(uint32_t)> & alloc) const;

    bool is_empty() const;

    void read_groups(llama_io_read_i & io, llama_seq_id seq_id, llama_state_seq_flags flags);

    void new_layout();
};
