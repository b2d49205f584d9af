#include "layerwise-prefill.h"

#include "llama-arch.h"
#include "llama-batch.h"
#include "llama-context.h"
#include "llama-impl.h"
#include "llama-model.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <new>

llama_layerwise & llama_layerwise::get(llama_context * ctx) {
    if (ctx == nullptr) {
        llama_layerwise_invalid("the context is NULL");
    }

    auto * mem = dynamic_cast<llama_kv_cache_layered *>(ctx->get_memory());
    if (mem == nullptr) {
        llama_layerwise_invalid("this context was created without llama_layerwise_defer_kv(true)");
    }

    return *mem->driver;
}

void llama_layerwise::set_one_output(llama_context & ctx) {
    ctx.cparams.n_outputs_max = 1;
}

void llama_layerwise::require_idle() const {
    if (active) {
        llama_layerwise_invalid("a prefill is in progress: end or abort it first");
    }
}

void llama_layerwise::require_active() const {
    if (running) {
        llama_layerwise_invalid("layers are running: wait until they are done");
    }
    if (!active) {
        llama_layerwise_invalid("no prefill is in progress");
    }
}

void llama_layerwise::check() {
    require_idle();

    for (const auto & backend : ctx.backends) {
        const ggml_backend_dev_t dev = ggml_backend_get_device(backend.get());
        const std::string        reg = dev ? ggml_backend_reg_name(ggml_backend_dev_backend_reg(dev)) : "";

        // with Mesa's software driver the run that computes window scores corrupted the heap; the cause is not known
        if (reg == "Vulkan" && getenv("ASL_ALLOW_VULKAN") == nullptr) {
            llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED,
                "layer-wise prefill is not safe on Vulkan yet (ASL_ALLOW_VULKAN=1 in the environment tries it)");
        }
    }

    ctx.sched_reserve();

    const int64_t n_tokens = std::min(ctx.cparams.n_ctx_seq, ctx.cparams.n_ubatch);

    llama_batch_allocr balloc(ctx.model.hparams.n_pos_per_embd());
    llama_ubatch ubatch = balloc.ubatch_reserve(n_tokens, 1);

    const auto mctx = mem.init_full();

    ggml_context_ptr ctx_outside = llama_layerwise_make_ctx(2);

    ggml_tensor * hidden_any = ggml_new_tensor_2d(ctx_outside.get(), GGML_TYPE_F32, ctx.model.hparams.n_embd, n_tokens);
    ggml_tensor * mask_any   = ggml_new_tensor_2d(ctx_outside.get(), GGML_TYPE_F16, 2*GGML_PAD(ctx.cparams.n_ctx, 256), n_tokens);

    // of the metadata of a graph: what the model takes at most, and what the scores of a layer add
    size_t n_bytes_graph  = 0;
    size_t n_bytes_scores = 0;

    for (int32_t il = 0; il < n_layer(); ++il) {
        llama_layerwise_pass pass;

        pass.il_begin = il;
        pass.il_end   = il + 1;
        pass.n_layer  = n_layer();
        pass.hidden   = hidden_any;

        if (ctx.cparams.flash_attn) {
            pass.masks = { { mask_any, false } };
        }
        if (llama_layerwise_gives_scores(ctx.model.hparams, il)) {
            pass.wanted = { llama_layerwise_wanted::largest(ctx.model.hparams, il) };
        }

        const auto build = [&](int64_t i_window) {
            pass.i_window = i_window;

            build_unused(pass, ubatch, mctx.get(), false);

            return ggml_used_mem(ctx.get_gf_res_reserve()->get_ctx());
        };

        const size_t n_bytes = build(-1);

        n_bytes_graph  = std::max(n_bytes_graph,  n_bytes);
        n_bytes_scores = std::max(n_bytes_scores, build(0) - n_bytes);
    }

    if (n_bytes_graph + LLAMA_LAYERWISE_MAX_SCORED*n_bytes_scores > ctx.get_gf_res_reserve()->buf_compute_meta.size()) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED, std::string("architecture '") + llm_arch_name(ctx.model.arch)
            + "' makes graphs too large for the scores of " + std::to_string(LLAMA_LAYERWISE_MAX_SCORED) + " layers");
    }

    check_devices();
}

void llama_layerwise::check_vocabulary(const llama_token * tokens_inp, int32_t n_tokens, const char * of_what) const {
    const int32_t n_vocab = ctx.model.vocab.n_tokens();

    for (int32_t i = 0; i < n_tokens; ++i) {
        if (tokens_inp[i] < 0 || tokens_inp[i] >= n_vocab) {
            llama_layerwise_invalid("token " + std::to_string(i) + of_what + " is " + std::to_string(tokens_inp[i]) + ", outside of the vocabulary");
        }
    }
}

void llama_layerwise::check_tokens(
        const llama_token * tokens_inp, int32_t n_tokens, int32_t n_before_inp, int32_t n_window_inp, int32_t n_headroom_inp) const {
    const auto & cparams = ctx.cparams;

    require_idle();

    if (tokens_inp == nullptr || n_tokens < 1) {
        llama_layerwise_invalid("there are no tokens");
    }
    if ((int64_t) n_before_inp + n_tokens > (int64_t) cparams.n_ctx_seq) {
        llama_layerwise_invalid("the prompt has " + std::to_string((int64_t) n_before_inp + n_tokens) + " tokens, more than n_ctx = "
            + std::to_string(cparams.n_ctx_seq));
    }
    if (n_window_inp < 1 || n_window_inp > n_tokens) {
        llama_layerwise_invalid("the observation window must have between 1 and n_tokens tokens");
    }
    if (n_headroom_inp < 0) {
        llama_layerwise_invalid("the headroom must not be negative");
    }

    check_vocabulary(tokens_inp, n_tokens, "");

    if (cparams.embeddings || !cparams.causal_attn) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED, "embeddings and non-causal attention need every token's output");
    }
    if (!ctx.sampling.samplers.empty()) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED, "backend samplers are not supported");
    }
}

void llama_layerwise::reserve() {
    ctx.synchronize();
    ctx.sched_reserve();

    if (ctx.output_reserve(1) < 1) {
        throw std::bad_alloc();
    }
}

void llama_layerwise::start(
        const llama_token * tokens_inp, int32_t n_tokens, int32_t n_before_inp, int32_t n_window_inp, int32_t n_headroom_inp) {
    tokens.assign(tokens_inp, tokens_inp + n_tokens);
    pos.resize(n_tokens);
    for (int32_t i = 0; i < n_tokens; ++i) {
        pos[i] = n_before_inp + i;
    }

    n_before   = n_before_inp;
    n_prompt   = n_before_inp + n_tokens;
    n_window   = n_window_inp;
    n_headroom = n_headroom_inp;
    active     = true;
    evicted    = false;

    mem.reset_peak();

    ctx.t_compute_start_us = ggml_time_us();
}

void llama_layerwise::begin(const llama_token * tokens_inp, int32_t n_tokens, int32_t n_window_inp, int32_t n_headroom_inp) {
    check_tokens(tokens_inp, n_tokens, 0, n_window_inp, n_headroom_inp);

    reserve();

    reset(true);

    start(tokens_inp, n_tokens, 0, n_window_inp, n_headroom_inp);
}

void llama_layerwise::make_room(int32_t n_tokens, int32_t n_headroom_inp) {
    require_idle();

    const auto & groups = mem.get_groups();

    const int64_t n_used = groups.empty() ? 0 : groups.front().n_used();

    if (n_tokens < 0 || n_headroom_inp < 0 || n_used + n_tokens > (int64_t) ctx.cparams.n_ctx_seq) {
        llama_layerwise_invalid("the context holds " + std::to_string(n_used) + " tokens, and " + std::to_string(n_tokens)
            + " more do not fit n_ctx = " + std::to_string(ctx.cparams.n_ctx_seq));
    }

    try {
        mem.make_room(n_tokens, n_headroom_inp);
    } catch (const std::bad_alloc &) {
        throw llama_layerwise_exception(LLAMA_LAYERWISE_STATUS_NO_MEMORY,
            "there is no memory for the KV of " + std::to_string(n_used + n_tokens) + " tokens", /*unchanged =*/ true);
    }
}

void llama_layerwise::end() {
    require_active();

    if (il_next != n_layer()) {
        llama_layerwise_invalid("layers " + std::to_string(il_next) + " to " + std::to_string(n_layer() - 1) + " have not run");
    }
    for (int32_t il = 0; il < n_layer(); ++il) {
        if (mem.is_released(il)) {
            llama_layerwise_invalid("layer " + std::to_string(il) + " was released, and not refilled");
        }
    }

    if (has_gap()) {
        llama_layerwise_invalid("the document's first layers have no cells here, so nothing could be decoded: abort");
    }

    mem.join_last();

    ctx.n_queued_tokens += n_prompt;
    ctx.synchronize();

    ctx.n_outputs = 1;

    reset(false);
}

void llama_layerwise::reset_after(llama_layerwise_status status) {
    if (status == LLAMA_LAYERWISE_STATUS_NO_MEMORY) {
        // the scheduler may be left with buffers that it could not enlarge
        ctx.sched_need_reserve = true;
    }

    // nothing is left that could be aborted
    aborted = false;

    // the document outlives a question that failed
    ctx.synchronize();

    held_t kept;
    if (held.group.il_end > 0 || move_aside()) {
        kept = std::move(held);
    }

    reset(true);

    held = std::move(kept);
}

void llama_layerwise::reset(bool clear_memory) {
    if (active || clear_memory) {
        ctx.synchronize();
    }

    active   = false;
    il_next  = 0;
    n_prompt = 0;
    n_before = 0;

    tokens.clear();
    pos.clear();

    contrast      = contrast_t();
    hidden_before = llama_layerwise_hidden();

    hidden = llama_layerwise_hidden();
    mask   = llama_layerwise_mask();

    hidden_staged = llama_layerwise_hidden();

    inputs = llama_layerwise_inputs();
    filled = llama_layerwise_group();

    if (clear_memory) {
        held = held_t();

        mem.drop_groups();
    }
}

void llama_layerwise::wait() const {
    if (ctx.sched) {
        ggml_backend_sched_synchronize(ctx.sched.get());
    }
}

bool llama_layerwise::take(std::unique_lock<llama_layerwise_mutex> & lock) const {
    while (!lock.try_lock_for(std::chrono::milliseconds(1))) {
        if (running) {
            return false;
        }
    }

    return true;
}

bool llama_layerwise::interrupt(std::unique_lock<llama_layerwise_mutex> & lock) {
    // first, so that a run in another thread that is about to end either sees it, or lets the lock be taken. Only who
    // empties the context afterwards takes it back
    aborted = true;

    if (!take(lock) || running) {
        return true;
    }

    aborted = false;

    if (active) {
        reset(false);
    }

    held = held_t();

    return false;
}
