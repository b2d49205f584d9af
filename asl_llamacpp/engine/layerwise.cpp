#include "layerwise.h"

#include "layerwise-prefill.h"

#include "llama-context.h"
#include "llama-model.h"

#include <algorithm>
#include <new>
#include <string>

static thread_local std::string g_error;

// runs f, keeps the error for llama_layerwise_error and empties the context unless nothing was changed
template<typename F>
static int32_t guard(llama_context * ctx, F && f) {
    llama_layerwise * lw = nullptr;

    llama_layerwise_status status = LLAMA_LAYERWISE_STATUS_OK;
    std::string            error;

    try {
        lw = &llama_layerwise::get(ctx);
        f(*lw);
    } catch (const llama_layerwise_exception & e) {
        status = e.status;
        error  = e.what();
    } catch (const std::bad_alloc &) {
        status = LLAMA_LAYERWISE_STATUS_NO_MEMORY;
        error  = "an allocation failed";
    } catch (const std::exception & e) {
        status = LLAMA_LAYERWISE_STATUS_FAILED;
        error  = e.what();
    }

    if (lw && !lw->running && status != LLAMA_LAYERWISE_STATUS_OK && status != LLAMA_LAYERWISE_STATUS_INVALID) {
        lw->reset_after(status);
    }

    (lw ? lw->error : g_error) = error;

    return status;
}

int32_t llama_layerwise_check(llama_context * ctx) {
    return guard(ctx, [](llama_layerwise & lw) { lw.check(); });
}

int32_t llama_layerwise_begin(llama_context * ctx, const int32_t * tokens, int32_t n_tokens, int32_t n_window, int32_t n_headroom) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.begin(tokens, n_tokens, n_window, n_headroom); });
}

int32_t llama_layerwise_run(llama_context * ctx, int32_t il_begin, int32_t il_end, int32_t scoring) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.run(il_begin, il_end, scoring); });
}

int32_t llama_layerwise_scores(llama_context * ctx, int32_t il, float * out, int64_t n_out) {
    return guard(ctx, [&](llama_layerwise & lw) {
        const auto it = lw.scores.find(il);
        if (it == lw.scores.end()) {
            llama_layerwise_invalid("layer " + std::to_string(il) + " has no scores: it was not in the last run, or it is a sliding-window layer");
        }
        if (out == nullptr || n_out < (int64_t) it->second.data.size()) {
            llama_layerwise_invalid("the scores of layer " + std::to_string(il) + " need room for " + std::to_string(it->second.data.size()) + " floats");
        }
        std::copy(it->second.data.begin(), it->second.data.end(), out);
    });
}

int32_t llama_layerwise_keep(llama_context * ctx, const int32_t * positions, int32_t n_positions) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.keep(positions, n_positions); });
}

int32_t llama_layerwise_compress(llama_context * ctx, int32_t il, const int32_t * cells, int32_t n_head_kv, int32_t n_cells) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.compress(il, cells, n_head_kv, n_cells); });
}

int32_t llama_layerwise_hold(llama_context * ctx, int32_t n_held) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.hold(n_held); });
}

int32_t llama_layerwise_resume(
        llama_context * ctx, int32_t n_held, const int32_t * tokens, int32_t n_tokens, int32_t n_window, int32_t n_headroom) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.resume(n_held, tokens, n_tokens, n_window, n_headroom); });
}

int32_t llama_layerwise_restore(
        llama_context * ctx, const int32_t * tokens, int32_t n_held, int32_t il_held, const float * hidden, int64_t n_hidden) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.restore(tokens, n_held, il_held, hidden, n_hidden); });
}

int32_t llama_layerwise_get_kv(
        llama_context * ctx, int32_t il, int32_t first, int32_t n_tokens, void * k, int64_t n_k, void * v, int64_t n_v) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.get_kv(il, first, n_tokens, k, n_k, v, n_v); });
}

int32_t llama_layerwise_put_kv(
        llama_context * ctx, int32_t il, int32_t first, const void * k, int64_t n_k, const void * v, int64_t n_v) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.put_kv(il, first, k, n_k, v, n_v); });
}

int32_t llama_layerwise_get_hidden(llama_context * ctx, int32_t n_tokens, float * out, int64_t n_out) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.get_hidden(n_tokens, out, n_out); });
}

int32_t llama_layerwise_park(llama_context * ctx, int32_t id) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.park(id); });
}

int32_t llama_layerwise_unpark(llama_context * ctx, int32_t id) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.unpark(id); });
}

int32_t llama_layerwise_set_aside(llama_context * ctx) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.set_aside(); });
}

int32_t llama_layerwise_drop(llama_context * ctx, int32_t id) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.drop(id); });
}

int32_t llama_layerwise_end(llama_context * ctx) {
    return guard(ctx, [](llama_layerwise & lw) { lw.end(); });
}

void llama_layerwise_abort(llama_context * ctx) {
    guard(ctx, [](llama_layerwise & lw) {
        if (!lw.interrupt()) {
            lw.reset(true);
        }
    });
}

int32_t llama_layerwise_get_info(llama_context * ctx, llama_layerwise_info * info) {
    return guard(ctx, [&](llama_layerwise & lw) {
        if (info == nullptr) {
            llama_layerwise_invalid("info is NULL");
        }

        *info = {
            /*.n_layer       =*/ lw.mem.n_layer(),
            /*.n_head        =*/ (int32_t) lw.ctx.get_model().hparams.n_head(),
            /*.n_tokens      =*/ lw.n_prompt,
            /*.n_kept        =*/ (int32_t) lw.tokens.size() + lw.n_before,
            /*.il_next       =*/ lw.il_next,
            /*.n_groups      =*/ (int32_t) lw.mem.get_groups().size(),
            /*.kv_bytes      =*/ lw.mem.bytes(),
            /*.kv_bytes_peak =*/ lw.mem.bytes_peak(),
            /*.hidden_bytes  =*/ lw.hidden.bytes(),
            /*.n_grow        =*/ lw.mem.n_grow(),
            /*.n_held        =*/ (int32_t) lw.held.tokens.size(),
            /*.il_held       =*/ lw.held.il,
            /*.held_bytes    =*/ lw.held_bytes(),
            /*.held_in_cache =*/ (lw.held.in_cache || lw.held.group.il_end > 0) ? 1 : 0,
            /*.n_parked      =*/ (int32_t) lw.parked.size(),
            /*.parked_bytes  =*/ lw.parked_bytes(),
        };
    });
}

int32_t llama_layerwise_get_layer(llama_context * ctx, int32_t il, llama_layerwise_layer * layer) {
    return guard(ctx, [&](llama_layerwise & lw) {
        if (layer == nullptr || il < 0 || il >= lw.mem.n_layer()) {
            llama_layerwise_invalid("there is no layer " + std::to_string(il));
        }

        const auto & hparams = lw.ctx.get_model().hparams;

        *layer = {};
        layer->n_head    = hparams.n_head(il);
        layer->n_head_kv = hparams.n_head_kv(il);
        layer->is_swa    = hparams.is_swa(il);

        layer->is_compressed = lw.mem.is_compressed(il);

        const auto * group = lw.mem.group_of(il);
        const auto * kv    = group ? group->kv_of(il) : nullptr;

        if (kv) {
            layer->n_cells     = kv->get_cells(0).get_used();
            layer->n_cells_max = kv->get_size();
            layer->bytes       = llama_layerwise_kv::layer_bytes(*kv, il);
            layer->k_bytes     = llama_layerwise_kv::k_bytes(*kv, il);
            layer->v_bytes     = llama_layerwise_kv::v_bytes(*kv, il);
        }
    });
}

uint64_t llama_layerwise_kv_bytes(const llama_context * ctx) {
    const auto * mem = ctx ? ctx->get_memory() : nullptr;

    uint64_t res = 0;
    if (mem) {
        for (const auto & [_, size] : mem->memory_breakdown()) {
            res += size;
        }
    }

    return res;
}

int32_t llama_layerwise_get_positions(llama_context * ctx, int32_t il, int32_t * out, int32_t n_out) {
    int32_t n = 0;

    const int32_t status = guard(ctx, [&](llama_layerwise & lw) {
        if (il < 0 || il >= lw.mem.n_layer() || n_out < 0 || (out == nullptr && n_out > 0)) {
            llama_layerwise_invalid("there is no layer " + std::to_string(il) + " or no room for its positions");
        }

        if (lw.mem.is_compressed(il)) {
            llama_layerwise_invalid("layer " + std::to_string(il) + " is compressed: each KV head holds cells of its own");
        }

        const auto * group = lw.mem.group_of(il);
        const auto * kv    = group ? group->kv_of(il) : nullptr;
        if (!kv) {
            return;
        }

        const auto & cells = kv->get_cells(0);
        for (uint32_t i = 0; i < cells.size(); ++i) {
            if (cells.is_empty(i)) {
                continue;
            }
            if (n < n_out) {
                out[n] = cells.pos_get(i);
            }
            n++;
        }
    });

    return status == LLAMA_LAYERWISE_STATUS_OK ? n : -1;
}

void llama_layerwise_set_progress(llama_context * ctx, llama_layerwise_progress callback, void * user_data) {
    try {
        auto & lw = llama_layerwise::get(ctx);

        if (!lw.running) {
            lw.progress           = callback;
            lw.progress_user_data = user_data;
        }
    } catch (const std::exception &) {
        // a context without layer-wise prefill has no use for it
    }
}

const char * llama_layerwise_error(const llama_context * ctx) {
    try {
        return llama_layerwise::get(const_cast<llama_context *>(ctx)).error.c_str();
    } catch (const std::exception &) {
        return g_error.c_str();
    }
}
