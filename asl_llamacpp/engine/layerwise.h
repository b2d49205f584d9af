#pragma once

// Layer-wise prefill: the C API that asl_llamacpp adds to libllama.
//
// A prompt is evaluated layer after layer over all of its ubatches. Between two layers the caller may read the
// attention of the last tokens (the observation window) and choose which tokens go deeper:
//
//     llama_layerwise_defer_kv(true, false);
//     ctx = llama_init_from_model(model, params);
//     llama_layerwise_defer_kv(false, false);
//
//     llama_layerwise_begin (ctx, tokens, n_tokens, n_window, n_headroom);
//     llama_layerwise_run   (ctx, 0, 11, scores, n_scores);
//     llama_layerwise_keep  (ctx, positions, n_positions);
//     llama_layerwise_run   (ctx, 11, n_layer, NULL, 0);
//     llama_layerwise_end   (ctx);
//
// After llama_layerwise_end the context decodes as usual from position n_tokens, and llama_get_logits_ith(ctx, -1)
// is the last prompt token's row. Each layer then attends to the cells it has: all tokens for the layers that ran
// before the selection, the selected ones for those after it.
//
// Every function checks its arguments. A status other than OK leaves the context empty and usable, except for
// INVALID, which changes nothing, and for a held document, which stays; llama_layerwise_error tells the reason. During a
// prefill llama_decode is refused, llama_memory_seq_* do nothing, and llama_memory_clear ends it. From the progress
// callback only abort and the get functions have an effect.
//
// Where K or V is quantized and flash attention is on, a layer runs with both in f16 and is quantized once, when it has
// run: attention in a prefill is exact. Cells of held tokens are read back into f16 once a layer, and stay as they are.
// llama_decode reads quantized cells, as it does without this.
//
// Any thread may call, though only get_info and get_layer while another one is in llama_decode. While another one runs
// layers, abort stops it, get_info and get_layer tell how it was before the ubatch that is running, and everything else
// is refused as INVALID.

#include "llama.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// cdef-begin: what follows up to cdef-end is read by the Python binding as it stands

enum llama_layerwise_status {
    LLAMA_LAYERWISE_STATUS_OK          = 0,
    LLAMA_LAYERWISE_STATUS_ABORTED     = 1, // the progress or abort callback asked to stop
    LLAMA_LAYERWISE_STATUS_INVALID     = 2, // wrong argument or call order; nothing was changed
    LLAMA_LAYERWISE_STATUS_UNSUPPORTED = 3, // this model or layer cannot do it
    LLAMA_LAYERWISE_STATUS_NO_MEMORY   = 4, // an allocation failed
    LLAMA_LAYERWISE_STATUS_FAILED      = 5, // the backend failed to compute
};

// what a head's score of a token is, summed over the window's queries
enum llama_layerwise_scoring {
    LLAMA_LAYERWISE_SCORING_ATTENTION = 1, // softmax attention, as the architecture computes it
    LLAMA_LAYERWISE_SCORING_PRODUCTS  = 2, // inner products of queries and keys, nothing else
};

// how the heads' scores are combined on the device, before they come to the host; n_cells: the tokens that the layer ran
// on, in their order
enum llama_layerwise_combining {
    LLAMA_LAYERWISE_COMBINING_EACH = 0, // they are not: [n_heads, n_cells]
    LLAMA_LAYERWISE_COMBINING_SUM  = 1, // [n_cells]
    LLAMA_LAYERWISE_COMBINING_MAX  = 2, // each head's averaged over kernel neighbours, zeros at the borders; of the heads'
                                        // averages the largest. Without the window's columns: [n_cells - n_window]
};

// scores of one layer that llama_layerwise_run computes beside it
struct llama_layerwise_scores {
    int32_t         il;        // a layer of the run, without a sliding window
    int32_t         scoring;   // an llama_layerwise_scoring
    int32_t         combining; // an llama_layerwise_combining
    int32_t         kernel;    // of COMBINING_MAX: odd
    const int32_t * heads;     // query heads to look at, strictly increasing
    int32_t         n_heads;   // 0: all of them
    float *         out;       // where the scores go; undefined unless the run succeeds
    int64_t         n_out;     // floats there, exactly as many as combining says
    float *         contrast;  // where those of the contrast's tokens go, over the n_seen that they follow; NULL: nowhere
    int64_t         n_contrast; // floats there: [n_heads, n_seen], or [n_seen] if they are combined
};

enum llama_layerwise_limit {
    LLAMA_LAYERWISE_MAX_SCORED = 8, // layers that one run computes scores of: a graph has room for so many
};

// the state of a context's layered KV cache
struct llama_layerwise_info {
    int32_t  n_layer;       // layers of the model
    int32_t  n_head;        // query heads of the first layer
    int32_t  n_tokens;      // tokens of the prefill in progress, 0 when none is
    int32_t  n_kept;        // tokens that still go deeper, n_tokens before the first keep
    int32_t  n_window;      // tokens of the observation window
    int32_t  n_seen;        // tokens that the contrast follows, 0: there is none
    int32_t  il_next;       // the next layer to run
    int32_t  n_groups;      // groups of layers that share their cells
    uint64_t kv_bytes;      // bytes of all KV buffers, from the buffers themselves
    uint64_t kv_bytes_peak; // the largest kv_bytes since the last begin, with f16 cells that were quantized then
    uint64_t hidden_bytes;  // bytes of the hidden states between layers
    uint64_t n_grow;        // how often cells in use were moved to larger buffers
    int32_t  n_held;        // tokens that llama_layerwise_resume can start from, 0: none
    int32_t  il_held;       // layers that these have run through
    uint64_t held_bytes;    // bytes of their hidden states, and of their KV where that is not part of kv_bytes
    int32_t  held_in_cache; // 1: their KV is on the device, 0: llama_layerwise_put_kv must bring it
    int32_t  n_parked;      // documents that were put away with llama_layerwise_park
    uint64_t parked_bytes;  // bytes of their KV and hidden states, not part of kv_bytes
    uint64_t mask_bytes;    // bytes of the prompt's causal mask and that of the contrast, on all devices together
};

// one layer's KV
struct llama_layerwise_layer {
    int32_t  n_cells;       // cells in use
    int32_t  n_cells_max;   // cells allocated
    uint64_t bytes;         // bytes of K and V allocated
    uint64_t k_bytes;       // bytes of one cell of K
    uint64_t v_bytes;       // the same of V
    int32_t  n_head;        // query heads
    int32_t  n_head_kv;     // KV heads
    bool     is_swa;        // sliding-window layer: keeps a ring of cells, gives no scores
    bool     is_compressed; // each KV head keeps cells of its own
};

// called before each ubatch of a run; return false to stop the prefill
//   il_begin, il_end: the layers of the run, or the one that runs now where K or V is quantized
//   tokens_done     : tokens of these that are finished, of n_tokens
typedef bool (*llama_layerwise_progress)(
        int32_t il_begin, int32_t il_end, int32_t tokens_done, int32_t n_tokens, void * user_data);

// one layer of a model, loaded with or without its weights
struct llama_layerwise_shape {
    int32_t n_head;         // query heads
    int32_t n_head_kv;      // KV heads
    int32_t n_embd_k;       // values per cell of K, over all KV heads; 0: the layer has no attention
    int32_t n_embd_v;       // the same of V
    int32_t n_swa;          // size of the sliding window, 0: full attention
    int32_t device;         // that the layer lies on, 0 to llama_layerwise_n_devices - 1; -1: the CPU
};

// NULL if the model can be prefilled layer by layer, otherwise the reason (valid until the thread's next call)
LLAMA_API const char * llama_layerwise_model_error(const struct llama_model * model);

// the shape of layer il; INVALID if there is no such layer
LLAMA_API int32_t llama_layerwise_model_layer(const struct llama_model * model, int32_t il, struct llama_layerwise_shape * shape);

// devices that the model was loaded for, the CPU not counted
LLAMA_API int32_t llama_layerwise_n_devices(const struct llama_model * model);

// bytes of the model's weights by place: those of the devices, then the host
//   n_sizes: llama_layerwise_n_devices + 1
LLAMA_API int32_t llama_layerwise_weight_bytes(const struct llama_model * model, uint64_t * sizes, int32_t n_sizes);

// contexts created by this thread while defer is true get a KV cache that allocates cells as they are needed, which
// layer-wise prefill requires. Models that cannot do it make llama_init_from_model fail.
//   all_outputs: reserve memory for the logits of every token of a ubatch, instead of one token's. Without it a batch that
//                wants more takes that memory when it comes
LLAMA_API void llama_layerwise_defer_kv(bool defer, bool all_outputs);

// build the graph of every layer on its own without running it, to see that the model's graph can be cut there
LLAMA_API int32_t llama_layerwise_check(struct llama_context * ctx);

// bytes of the compute buffers of a context of any kind, by place: those of the devices, then the host
LLAMA_API int32_t llama_layerwise_reserved_bytes(const struct llama_context * ctx, uint64_t * sizes, int32_t n_sizes);

// the same as they would be after a run of the layers il_begin <= il < il_end; nothing is allocated or changed. While no
// prefill is in progress, and in contexts of models without memory (no_alloc) too
//   n_before: tokens whose cells are there already, of a resumed prefill
//   n_cells : cells of these layers, the headroom included
//   n_window: 1 to n_tokens
//   scores  : as for llama_layerwise_run, but nothing is written to them
LLAMA_API int32_t llama_layerwise_compute_bytes(
        struct llama_context * ctx, int32_t il_begin, int32_t il_end, int32_t n_before, int32_t n_tokens, int32_t n_cells,
        int32_t n_window, const struct llama_layerwise_scores * scores, int32_t n_scores, uint64_t * sizes, int32_t n_sizes);

// where hidden states between layers are kept from the next prefill on: on the devices, as at first, or on the host, in
// memory that devices copy to and from. A device then has the rows of two ubatches at a time; the numbers stay the same, and on
// a CPU so does everything. UNSUPPORTED, and nothing was changed, where a device uses the host's memory anyway, or is another
// machine
LLAMA_API int32_t llama_layerwise_keep_hidden(struct llama_context * ctx, bool on_host);

// start a prefill of n_tokens tokens at positions 0..n_tokens-1; whatever the context held is dropped
//   n_window  : the last n_window tokens are the observation window, 1 <= n_window <= n_tokens
//   n_headroom: cells per layer to reserve for decoding; they grow when they run out
LLAMA_API int32_t llama_layerwise_begin(
        struct llama_context * ctx, const int32_t * tokens, int32_t n_tokens, int32_t n_window, int32_t n_headroom);

// run other tokens, which ask nothing, beside those of the prefill that has just begun: they follow its first n_seen tokens
// in the place of the rest, up to the selection. What they look at is what any question would. They leave no cells, and
// change nothing else
//   n_seen  : at least the tokens that a resumed prefill starts from
//   n_tokens: at most a ubatch, and with sliding-window layers no more than a ubatch less the prompt's tokens after n_seen
LLAMA_API int32_t llama_layerwise_contrast(struct llama_context * ctx, int32_t n_seen, const int32_t * tokens, int32_t n_tokens);

// run the layers il_begin <= il < il_end on the tokens that were kept; il_begin must be il_next
//   scores: those to compute, in the order of the layers, at most once a layer, of LLAMA_LAYERWISE_MAX_SCORED layers at most
LLAMA_API int32_t llama_layerwise_run(
        struct llama_context * ctx, int32_t il_begin, int32_t il_end, const struct llama_layerwise_scores * scores, int32_t n_scores);

// let only the tokens at these prompt positions go deeper. Before the first layer: nothing is computed of the others, and no
// layer has cells for them. Those that are kept stay at their positions
//   positions: strictly increasing, among the tokens kept so far, the window's tokens included
LLAMA_API int32_t llama_layerwise_keep(struct llama_context * ctx, const int32_t * positions, int32_t n_positions);

// let layer il, the only layer of the last run that has no sliding window, keep only some of its cells: each KV head
// keeps its own. From then on positions before the window cannot be removed from the context
//   cells: [n_head_kv, n_cells], strictly increasing in each row, indices among the tokens that the layer ran on; each
//          row ends with the window's
LLAMA_API int32_t llama_layerwise_compress(
        struct llama_context * ctx, int32_t il, const int32_t * cells, int32_t n_head_kv, int32_t n_cells);

// let the layers that have run keep only the cells of the tokens at these positions, all heads the same; layers with a
// sliding window keep theirs. Each layer is gathered on its device, and its large buffer freed
//   positions: as for llama_layerwise_keep, which may come before or after
//   keep_held: a document that is held in the cache keeps cells of its own, so that it serves other prompts; otherwise it
//              is held no longer
LLAMA_API int32_t llama_layerwise_evict(
        struct llama_context * ctx, const int32_t * positions, int32_t n_positions, bool keep_held);

// the same by way of the host, so that one layer at a time is on the device as a whole: after llama_layerwise_get_kv free
// the cells of layer il, the only layer of the last run that has no sliding window. All such layers are to be refilled
// before llama_layerwise_end
LLAMA_API int32_t llama_layerwise_release(struct llama_context * ctx, int32_t il);

// give a released layer the cells of the tokens at these positions. Layers that were run are refilled from the first on,
// all with the same positions
//   k, v: [n_positions, bytes of a cell]; n_k, n_v: bytes, exactly those of the cells
LLAMA_API int32_t llama_layerwise_refill(
        struct llama_context * ctx, int32_t il, const int32_t * positions, int32_t n_positions,
        const void * k, int64_t n_k, const void * v, int64_t n_v);

// finish: the last layer must have run
LLAMA_API int32_t llama_layerwise_end(struct llama_context * ctx);

// without a prefill in progress: make room for n_tokens more tokens than the context holds, so that llama_decode of them
// does not enlarge the KV cache again and again; and for the headroom after them, if there is memory for that too
//   NO_MEMORY leaves the context as it is
LLAMA_API int32_t llama_layerwise_make_room(struct llama_context * ctx, int32_t n_tokens, int32_t n_headroom);

// A document is what several prompts begin with: its tokens' KV up to some layer and their hidden states after it do
// not depend on what follows. A context holds one at a time; others are parked on the device or copied to the host.

// hold the first n_held tokens as they are after the layers that have run: between two runs of a prefill, or after the
// last one, before tokens are dropped or these layers compressed
//   A run that is stopped by the progress callback leaves such a document too, where it can: of all tokens as they were
//   before the run, if none had passed, else of those that had. Not with quantized KV or rings of cells
LLAMA_API int32_t llama_layerwise_hold(struct llama_context * ctx, int32_t n_held);

// hold n_held tokens that have run through il_held layers elsewhere; whatever the context held is dropped. Their KV comes
// layer by layer, see llama_layerwise_put_kv
//   hidden: [n_held, n_embd] after layer il_held - 1, NULL if all layers have run
LLAMA_API int32_t llama_layerwise_restore(
        struct llama_context * ctx, const int32_t * tokens, int32_t n_held, int32_t il_held, const float * hidden, int64_t n_hidden);

// start a prefill of the first n_held of the held tokens followed by others, in the place of what followed them before;
// the rest is held no longer. The layers that the held tokens have run through come first, on the new tokens alone: in
// runs that end there at the latest if their KV is in the cache (one run, if some hold a sliding window's cells only), else
// each by itself, after llama_layerwise_put_kv. The deeper ones run on all
//   tokens: those after the held ones, at positions n_held..n_held+n_tokens-1
LLAMA_API int32_t llama_layerwise_resume(
        struct llama_context * ctx, int32_t n_held, const int32_t * tokens, int32_t n_tokens, int32_t n_window, int32_t n_headroom);

// let the held document, which has run through all layers and is in the cache, go on with tokens that llama_decode has
// evaluated behind it, such as a question that was resumed from it and its answer. What is removed from the context later
// is held no longer
LLAMA_API int32_t llama_layerwise_hold_more(struct llama_context * ctx, const int32_t * tokens, int32_t n_tokens);

// start a prefill of the held tokens alone, at the layer that they have reached: hold them again after the next ones. If their KV
// is not in the cache, the deeper layers' is copied to the host layer by layer, and the prefill ends with abort
LLAMA_API int32_t llama_layerwise_deepen(struct llama_context * ctx, int32_t n_headroom);

// copy to the host: K and V of layer il at the positions first..first+n_tokens-1, [n_tokens, bytes of a cell]
//   n_k, n_v: bytes, exactly those of the cells
LLAMA_API int32_t llama_layerwise_get_kv(
        struct llama_context * ctx, int32_t il, int32_t first, int32_t n_tokens, void * k, int64_t n_k, void * v, int64_t n_v);

// the KV of layer il, the next one to run, at the positions first..n_held-1 of a document whose KV is not in the cache
//   first: 0, or, if the layer has a sliding window, any position whose later ones are all that the next tokens see
LLAMA_API int32_t llama_layerwise_put_kv(
        struct llama_context * ctx, int32_t il, int32_t first, const void * k, int64_t n_k, const void * v, int64_t n_v);

// hidden states of the first n_tokens tokens, [n_tokens, n_embd]: after the layers that have run if a prefill is in
// progress and no token was dropped, otherwise of the held tokens
LLAMA_API int32_t llama_layerwise_get_hidden(struct llama_context * ctx, int32_t n_tokens, float * out, int64_t n_out);

// put the held document away under a number that is free: it stays on its device, and the context is empty afterwards.
// What is parked when the context is freed is freed with it
LLAMA_API int32_t llama_layerwise_park(struct llama_context * ctx, int32_t id);

// hold a parked document again; whatever the context held is dropped
LLAMA_API int32_t llama_layerwise_unpark(struct llama_context * ctx, int32_t id);

// end the prefill in progress, if there is one, and keep the held document on its device; INVALID if there is none
LLAMA_API int32_t llama_layerwise_set_aside(struct llama_context * ctx);

// free a parked document
LLAMA_API int32_t llama_layerwise_drop(struct llama_context * ctx, int32_t id);

// drop a prefill in progress and everything the context holds, except for parked documents; harmless at any time
LLAMA_API void llama_layerwise_abort(struct llama_context * ctx);

LLAMA_API int32_t llama_layerwise_get_info (struct llama_context * ctx, struct llama_layerwise_info * info);
LLAMA_API int32_t llama_layerwise_get_layer(struct llama_context * ctx, int32_t il, struct llama_layerwise_layer * layer);

// bytes of the context's KV buffers, whatever its KV cache is
LLAMA_API uint64_t llama_layerwise_kv_bytes(const struct llama_context * ctx);

// positions of the cells that layer il holds, in cell order; returns their number, or -1 for a wrong argument or a
// compressed layer, whose heads hold different ones
//   n_out: number of integers in out, nothing is written beyond it
LLAMA_API int32_t llama_layerwise_get_positions(struct llama_context * ctx, int32_t il, int32_t * out, int32_t n_out);

LLAMA_API void llama_layerwise_set_progress(struct llama_context * ctx, llama_layerwise_progress callback, void * user_data);

// what went wrong in this thread's last call of a function that returns a status, empty if nothing did
LLAMA_API const char * llama_layerwise_error(const struct llama_context * ctx);

// cdef-end

#ifdef __cplusplus
}
#endif
