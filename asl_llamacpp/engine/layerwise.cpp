#include "layerwise.h"

#include "layerwise-prefill.h"

#include "llama-context.h"

#include <mutex>
#include <new>
#include <string>

// of the thread's last call
static thread_local std::string g_error;

// runs f, keeps the error for llama_layerwise_error and empties the context unless nothing was changed
//   noted: what to do instead while another thread runs layers; without it the call is refused then
template<typename F, typename G>
static int32_t guard(llama_context * ctx, F && f, G && noted) {
    llama_layerwise * lw = nullptr;

    std::unique_lock<llama_layerwise_mutex> lock;

    llama_layerwise_status status = LLAMA_LAYERWISE_STATUS_OK;

    bool unchanged = false;

    g_error.clear();

    try {
        lw   = &llama_layerwise::get(ctx);
        lock = std::unique_lock<llama_layerwise_mutex>(lw->mem.mutex, std::defer_lock);

        if (lw->take(lock)) {
            f(*lw);
        } else {
            noted(*lw);
        }
    } catch (const llama_layerwise_exception & e) {
        status    = e.status;
        unchanged = e.unchanged;
        g_error   = e.what();
    } catch (const std::bad_alloc &) {
        status  = LLAMA_LAYERWISE_STATUS_NO_MEMORY;
        g_error = "an allocation failed";
    } catch (const std::exception & e) {
        status  = LLAMA_LAYERWISE_STATUS_FAILED;
        g_error = e.what();
    }

    if (lock && !lw->running && status != LLAMA_LAYERWISE_STATUS_OK && !unchanged) {
        try {
            lw->reset_after(status);
        } catch (const std::exception & e) {
            g_error += std::string("; and then: ") + e.what();
        }
    }

    return status;
}

template<typename F>
static int32_t guard(llama_context * ctx, F && f) {
    return guard(ctx, f, [](llama_layerwise &) { llama_layerwise_invalid("layers are running in another thread: wait until they are done"); });
}

int32_t llama_layerwise_check(llama_context * ctx) {
    return guard(ctx, [](llama_layerwise & lw) { lw.check(); });
}

int32_t llama_layerwise_compute_bytes(
        llama_context * ctx, int32_t il_begin, int32_t il_end, int32_t n_before, int32_t n_tokens, int32_t n_cells, int32_t n_window,
        const llama_layerwise_scores * scores, int32_t n_scores, uint64_t * sizes, int32_t n_sizes) {
    return guard(ctx, [&](llama_layerwise & lw) {
        lw.compute_bytes(il_begin, il_end, n_before, n_tokens, n_cells, n_window, scores, n_scores, sizes, n_sizes);
    });
}

int32_t llama_layerwise_begin(llama_context * ctx, const int32_t * tokens, int32_t n_tokens, int32_t n_window, int32_t n_headroom) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.begin(tokens, n_tokens, n_window, n_headroom); });
}

int32_t llama_layerwise_keep_hidden(llama_context * ctx, bool on_host) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.keep_hidden(on_host); });
}

int32_t llama_layerwise_run(
        llama_context * ctx, int32_t il_begin, int32_t il_end, const llama_layerwise_scores * scores, int32_t n_scores) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.run(il_begin, il_end, scores, n_scores); });
}

int32_t llama_layerwise_contrast(llama_context * ctx, int32_t n_seen, const int32_t * tokens, int32_t n_tokens) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.set_contrast(n_seen, tokens, n_tokens); });
}

int32_t llama_layerwise_keep(llama_context * ctx, const int32_t * positions, int32_t n_positions) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.keep(positions, n_positions); });
}

int32_t llama_layerwise_compress(llama_context * ctx, int32_t il, const int32_t * cells, int32_t n_head_kv, int32_t n_cells) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.compress(il, cells, n_head_kv, n_cells); });
}

int32_t llama_layerwise_evict(llama_context * ctx, const int32_t * positions, int32_t n_positions, bool keep_held) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.evict(positions, n_positions, keep_held); });
}

int32_t llama_layerwise_release(llama_context * ctx, int32_t il) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.release(il); });
}

int32_t llama_layerwise_refill(
        llama_context * ctx, int32_t il, const int32_t * positions, int32_t n_positions, const void * k, int64_t n_k, const void * v, int64_t n_v) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.refill(il, positions, n_positions, k, n_k, v, n_v); });
}

int32_t llama_layerwise_hold(llama_context * ctx, int32_t n_held) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.hold(n_held); });
}

int32_t llama_layerwise_hold_more(llama_context * ctx, const int32_t * tokens, int32_t n_tokens) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.hold_more(tokens, n_tokens); });
}

int32_t llama_layerwise_resume(
        llama_context * ctx, int32_t n_held, const int32_t * tokens, int32_t n_tokens, int32_t n_window, int32_t n_headroom) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.resume(n_held, tokens, n_tokens, n_window, n_headroom); });
}

int32_t llama_layerwise_deepen(llama_context * ctx, int32_t n_headroom) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.deepen(n_headroom); });
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

int32_t llama_layerwise_make_room(llama_context * ctx, int32_t n_tokens, int32_t n_headroom) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.make_room(n_tokens, n_headroom); });
}

int32_t llama_layerwise_end(llama_context * ctx) {
    return guard(ctx, [](llama_layerwise & lw) { lw.end(); });
}

void llama_layerwise_abort(llama_context * ctx) {
    try {
        auto & lw = llama_layerwise::get(ctx);

        std::unique_lock<llama_layerwise_mutex> lock(lw.mem.mutex, std::defer_lock);

        if (!lw.interrupt(lock)) {
            lw.reset(true);
        }
    } catch (const std::exception &) {
        // a context without layer-wise prefill has none to abort
    }
}

int32_t llama_layerwise_get_info(llama_context * ctx, llama_layerwise_info * info) {
    const auto check = [&] {
        if (info == nullptr) {
            llama_layerwise_invalid("info is NULL");
        }
    };

    return guard(ctx,
        [&](llama_layerwise & lw) { check(); *info = lw.info(); },
        [&](llama_layerwise & lw) { check(); *info = lw.last_noted().info; });
}

int32_t llama_layerwise_get_layer(llama_context * ctx, int32_t il, llama_layerwise_layer * layer) {
    const auto check = [&](llama_layerwise & lw) {
        if (layer == nullptr || il < 0 || il >= lw.mem.n_layer()) {
            llama_layerwise_invalid("there is no layer " + std::to_string(il));
        }
    };

    return guard(ctx,
        [&](llama_layerwise & lw) { check(lw); *layer = lw.layer(il); },
        [&](llama_layerwise & lw) { check(lw); *layer = lw.last_noted().layers[il]; });
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

        std::unique_lock<llama_layerwise_mutex> lock(lw.mem.mutex, std::defer_lock);

        if (lw.take(lock) && !lw.running) {
            lw.progress           = callback;
            lw.progress_user_data = user_data;
        }
    } catch (const std::exception &) {
        // a context without layer-wise prefill has no use for it
    }
}

const char * llama_layerwise_error(const llama_context * ctx) {
    GGML_UNUSED(ctx);

    return g_error.c_str();
}
