#pragma once

// The layer-wise prefill behind the C API of layerwise.h.

#include "layerwise.h"

#include "layerwise-graph.h"
#include "layerwise-hidden.h"
#include "layerwise-inputs.h"
#include "layerwise-mask.h"
#include "layerwise-memory.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

struct llama_context;

// turned into a status at the C API
struct llama_layerwise_exception : std::runtime_error {
    llama_layerwise_exception(llama_layerwise_status status, const std::string & what, bool unchanged = false) :
        std::runtime_error(what), status(status), unchanged(unchanged || status == LLAMA_LAYERWISE_STATUS_INVALID) {}

    llama_layerwise_status status;

    bool unchanged; // the context holds what it held
};

[[noreturn]] inline void llama_layerwise_invalid(const std::string & what) {
    throw llama_layerwise_exception(LLAMA_LAYERWISE_STATUS_INVALID, what);
}

[[noreturn]] inline void llama_layerwise_fail(llama_layerwise_status status, const std::string & what) {
    throw llama_layerwise_exception(status, what);
}

// whether these are n cells of layer il by their sizes
void llama_layerwise_check_rows(
        const llama_kv_cache & kv, int32_t il, int32_t n, const void * k, int64_t n_k, const void * v, int64_t n_v);

// the prefill of one context, step by step; the steps throw llama_layerwise_exception or std::bad_alloc
struct llama_layerwise {
    llama_layerwise(llama_context & ctx, llama_kv_cache_layered & mem) : ctx(ctx), mem(mem) {}

    llama_context          & ctx;
    llama_kv_cache_layered & mem;

    llama_layerwise_progress progress           = nullptr;
    void *                   progress_user_data = nullptr;

    // the prefill in progress

    bool active  = false;
    bool evicted = false; // the layers before some il_next no longer hold all tokens

    std::atomic<bool> running { false }; // inside of run(), whose callback may call back into this API
    std::atomic<bool> aborted { false }; // the callback, or another thread, asked the run in progress to stop

    std::vector<llama_token> tokens; // of the kept tokens
    std::vector<llama_pos>   pos;

    int32_t n_prompt   = 0;
    int32_t n_window   = 0;
    int32_t n_headroom = 0;
    int32_t il_next    = 0;

    // of the tokens: those of the document, as it holds them, if the others have just caught up with it, and the rest
    llama_layerwise_hidden hidden_before;
    llama_layerwise_hidden hidden;

    // hidden is kept on the host, and the rows of two ubatches are on the device whose layers run
    bool                   hidden_on_host = false;
    llama_layerwise_hidden hidden_staged;

    llama_layerwise_mask   mask;
    llama_layerwise_inputs inputs;

    // other tokens, run beside these from the first layer to the selection: they follow the first n_seen of the prompt.
    // Empty without them
    struct contrast_t {
        int32_t n_seen = 0;

        std::vector<llama_token>      tokens;
        llama_layerwise_hidden        hidden;
        llama_layerwise_contrast_mask mask;
    };

    contrast_t contrast;

    // a document that several prompts begin with

    struct held_t {
        std::vector<llama_token> tokens;
        llama_layerwise_hidden   hidden; // after layer il - 1, empty if that is the last one

        int32_t il       = 0;
        bool    in_cache = false; // its cells are those of the memory's first group

        // the cells of one that was set aside; il_end is 0 if the cells are in the cache, or on the host
        llama_layerwise_group group;
    };

    held_t held;

    // tokens of the document that the present ones follow, while these run through its layers
    int32_t n_before = 0;

    // the next of these layers with the document's cells, if they were not in the cache; il_end is 0 without it
    llama_layerwise_group filled;

    std::map<int32_t, held_t> parked;

    static llama_layerwise & get(llama_context * ctx);

    // let a context that is being created reserve room for one token's logits
    static void set_one_output(llama_context & ctx);

    void check();

    // see llama_layerwise_compute_bytes; the scores' out is not looked at
    void compute_bytes(
            int32_t il_begin, int32_t il_end, int32_t n_before, int32_t n_tokens, int32_t n_cells, int32_t n_window,
            const llama_layerwise_scores * scores, int32_t n_scores, uint64_t * sizes, int32_t n_sizes);

    void keep_hidden(bool on_host);
    void begin(const llama_token * tokens, int32_t n_tokens, int32_t n_window, int32_t n_headroom);
    void set_contrast(int32_t n_seen, const llama_token * tokens, int32_t n_tokens);
    void run(int32_t il_begin, int32_t il_end, const llama_layerwise_scores * scores, int32_t n_scores);
    void keep(const int32_t * positions, int32_t n);
    void compress(int32_t il, const int32_t * cells, int32_t n_head_kv, int32_t n_cells);
    void evict(const int32_t * positions, int32_t n, bool keep_held);
    void release(int32_t il);
    void refill(int32_t il, const int32_t * positions, int32_t n, const void * k, int64_t n_k, const void * v, int64_t n_v);
    void hold(int32_t n_held);
    void hold_more(const llama_token * tokens, int32_t n_tokens);
    void restore(const llama_token * tokens, int32_t n_held, int32_t il_held, const float * hidden, int64_t n_hidden);
    void resume(int32_t n_held, const llama_token * tokens, int32_t n_tokens, int32_t n_window, int32_t n_headroom);
    void deepen(int32_t n_headroom);
    void get_kv(int32_t il, int32_t first, int32_t n_tokens, void * k, int64_t n_k, void * v, int64_t n_v);
    void put_kv(int32_t il, int32_t first, const void * k, int64_t n_k, const void * v, int64_t n_v);
    void get_hidden(int32_t n_tokens, float * out, int64_t n_out);
    void park(int32_t id);
    void unpark(int32_t id);
    void drop(int32_t id);
    void set_aside();
    void make_room(int32_t n_tokens, int32_t n_headroom);
    void end();
    void reset(bool clear_memory);
    void reset_after(llama_layerwise_status status);

    // until the device has done what it was given
    void wait() const;

    // wait for what another thread does on the context, unless it runs layers (false), which may take minutes. The
    // running thread itself has the lock already
    bool take(std::unique_lock<llama_layerwise_mutex> & lock) const;

    // the cache is to be emptied from outside: ends the prefill, with the lock taken, or asks the run in progress to
    // stop, which then empties the cache itself (true)
    bool interrupt(std::unique_lock<llama_layerwise_mutex> & lock);

    // positions from p0 on are removed from outside
    void forget_from(llama_pos p0);

    llama_layerwise_info  info() const;
    llama_layerwise_layer layer(int32_t il) const;

    // the same while another thread runs layers: as it was before the ubatch that is running
    struct noted_t {
        llama_layerwise_info info = {};

        std::vector<llama_layerwise_layer> layers;
    };

    noted_t last_noted() const;

private:
    struct running_t;

    mutable std::mutex noted_mutex;
    noted_t            noted;

    void note();

    size_t held_bytes()   const;
    size_t parked_bytes() const;

    int32_t n_layer() const { return mem.n_layer(); }

    void require_idle() const;
    void require_active() const;

    // of these positions among the present tokens; they must increase, be among them and include the window
    std::vector<int32_t> indices_of(const int32_t * positions, int32_t n) const;

    void check_vocabulary(const llama_token * tokens, int32_t n_tokens, const char * of_what) const;

    // what begin and resume check, reserve and set alike
    void check_tokens(const llama_token * tokens, int32_t n_tokens, int32_t n_before, int32_t n_window, int32_t n_headroom) const;
    void reserve();
    void start(const llama_token * tokens, int32_t n_tokens, int32_t n_before, int32_t n_window, int32_t n_headroom);

    // bring the document's cells back into the cache, for its first n_held tokens and n_tokens others, if they are on the device
    void reopen_held(int32_t n_held, int32_t n_tokens, int32_t n_headroom);

    // layers without cells before those that have some: the KV of a document that went deeper is elsewhere
    bool has_gap() const;

    // move the document's cells out of the cache; false if they are not all there
    bool move_aside();

    // the tokens have caught up with the document, and go on together with its
    void join_held();

    // rows of hidden_before that are those of tokens
    int64_t n_hidden_before() const;

    // one tensor for all tokens
    void join_hidden();

    // where hidden states are kept that layer il reads and writes
    ggml_backend_buffer_type_t hidden_buft(int32_t il, bool on_host) const;

    // the hidden states of n tokens where the layers of a run read them, so that they cross to another device once, not with
    // every layer there; new ones if this is the first run. Not the document's own, which a run that does not end at the
    // last layer would overwrite
    void place_hidden(llama_layerwise_hidden & states, int32_t il_begin, int32_t il_end, int64_t n, bool on_host);

    // ubatches of n_rows tokens at most on the device of layer il, if hidden is on the host and the device has memory of its own
    llama_layerwise_staging stage_hidden(int32_t il, int64_t n_rows);

    llama_ubatch make_ubatch(const llama_token * tokens, const llama_pos * pos, size_t n, llama_seq_id seq_id, bool output) const;

    // of the prompt's tokens i0..i0+n-1
    llama_ubatch make_ubatch(size_t i0, size_t n, bool output) const;

    // of the tokens that a run takes: n_ubatch each. If ubatches may be long enough the last one is not short, so that it has
    // the window as a whole, and a row comes out the same wherever the tokens begin
    std::vector<int64_t> ubatch_sizes() const;

    bool has_long_ubatches() const;

    // the first cells of new layers that are written before they are read
    uint32_t n_written() const;

    // the backend that computes on the device of such buffers
    ggml_backend_t backend_of(ggml_backend_buffer_type_t buft) const;

    // tokens that the run in progress has taken through its layers, and whether it has begun to change anything
    int32_t n_done    = 0;
    bool    has_begun = false;

    // a run that ends at il_end was stopped: hold the tokens that it was done with, or, if it had not begun, all of them as
    // they are before it. Whatever stands against that costs them, and nothing else
    void hold_done(llama_layerwise_group && group, int32_t il_end) noexcept;

    // the same of tokens that were about to catch up with the document, which holds them too then
    void hold_done_behind() noexcept;

    void run_layers(int32_t il_begin, int32_t il_end, std::vector<llama_layerwise_wanted> scores, bool in_place);

    // the layers of a group on all tokens, ubatch after ubatch
    void run_ubatches(
            llama_layerwise_group & group, int32_t il_begin, int32_t il_end, std::vector<llama_layerwise_wanted> scores);

    // the layers of a group that keeps them quantized, one by one
    void run_exact(
            llama_layerwise_group & group, int32_t il_begin, int32_t il_end, const std::vector<llama_layerwise_wanted> & scores,
            bool in_place);

    // give the layers of a run the prompt's mask and its tokens' inputs, if the group's cells are such that they will do
    void place_inputs(const llama_layerwise_group & group, llama_layerwise_pass & pass);

    // the masks of a pass's layers, by the type of the buffers that their cells are in, for ubatches of n_rows tokens at most
    using mask_on_t = std::function<ggml_tensor *(ggml_backend_buffer_type_t)>;

    void place_masks(const llama_layerwise_group & group, llama_layerwise_pass & pass, int64_t n_rows, const mask_on_t & mask_on);

    // of the prompt's mask, which lies in a buffer of this type: how the graphs of ubatches of n_rows tokens take it
    llama_layerwise_pass::mask_t mask_of(ggml_tensor * t, ggml_backend_buffer_type_t buft, int64_t n_rows) const;

    [[noreturn]] void fail_cut(const llama_layerwise_pass & pass) const;

    // the graph of a pass that is not computed, until the next one is built
    ggml_cgraph * build_unused(
            llama_layerwise_pass & pass, const llama_ubatch & ubatch, const llama_memory_context_i * mctx, bool output);

    // throws UNSUPPORTED unless attention and scores are computed on the device of their layer, by the graph of a pass
    void check_placement(llama_layerwise_group & group, llama_layerwise_pass & pass, const llama_ubatch & ubatch);

    // the same of every layer, and of the gathering of tokens
    void check_devices();

    void require_on_device(int32_t il, ggml_tensor * node, ggml_type type_k, ggml_type type_v, const char * what) const;

    // by layer: which kinds of operations were found to be there
    std::map<int32_t, uint32_t> placed;

    // for compute_bytes: what the largest ubatch of a pass needs, by backend, if its layers have so many cells
    void measure(
            llama_layerwise_pass & pass, const llama_ubatch & ubatch, uint32_t n_cells, bool output, ggml_backend_sched_t sched,
            std::vector<size_t> & sizes);

    // make room for the largest graph of a run, so that the ubatches follow each other without waiting for the device
    void reserve_run(llama_layerwise_group & group, llama_layerwise_pass & pass, size_t n_ubatch, bool output);

    void run_ubatch(llama_layerwise_group & group, llama_layerwise_pass & pass, const llama_ubatch & ubatch, bool output);

    // the contrast's tokens through the layers of a run, behind the prompt's
    void run_contrast(llama_layerwise_group & group, llama_layerwise_pass & pass);

    void read_logits(const llm_graph_result & res);
};
