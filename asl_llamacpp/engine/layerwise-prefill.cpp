#include "layerwise-prefill.h"

#include "llama-arch.h"
#include "llama-batch.h"
#include "llama-context.h"
#include "llama-impl.h"
#include "llama-model.h"

#include <algorithm>
#include <cstdlib>
#include <new>

//
// llama_layerwise_hidden
//

void llama_layerwise_hidden::alloc(ggml_backend_buffer_type_t buft, int64_t n_embd, int64_t n_tokens) {
    ctx = llama_layerwise_make_ctx(1);

    t = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, n_embd, n_tokens);
    ggml_set_name(t, "layerwise_hidden");

    buf.reset(ggml_backend_alloc_ctx_tensors_from_buft(ctx.get(), buft));
    if (!buf) {
        throw std::bad_alloc();
    }
}

size_t llama_layerwise_hidden::bytes() const {
    return buf ? ggml_backend_buffer_get_size(buf.get()) : 0;
}

llama_layerwise_hidden llama_layerwise_hidden::copy_to(ggml_backend_buffer_type_t buft) const {
    llama_layerwise_hidden res;
    res.alloc(buft, t->ne[0], t->ne[1]);

    ggml_backend_tensor_copy(t, res.t);

    return res;
}

void llama_layerwise_hidden::copy_rows(int64_t i_src, llama_layerwise_hidden & dst, int64_t i_dst, int64_t n) const {
    ggml_context_ptr ctx_view = llama_layerwise_make_ctx(2);

    ggml_tensor * from = ggml_view_2d(ctx_view.get(), t,     t->ne[0], n, t->nb[1],     i_src*t->nb[1]);
    ggml_tensor * to   = ggml_view_2d(ctx_view.get(), dst.t, t->ne[0], n, dst.t->nb[1], i_dst*dst.t->nb[1]);

    ggml_backend_view_init(from);
    ggml_backend_view_init(to);

    ggml_backend_tensor_copy(from, to);
}

llama_layerwise_hidden llama_layerwise_hidden::gather(const std::vector<int32_t> & idxs) const {
    llama_layerwise_hidden res;
    res.alloc(ggml_backend_buffer_get_type(buf.get()), t->ne[0], idxs.size());

    // neighbours are copied at once
    for (size_t i = 0; i < idxs.size(); ) {
        size_t n = 1;
        while (i + n < idxs.size() && idxs[i + n] == idxs[i] + (int32_t) n) {
            n++;
        }

        copy_rows(idxs[i], res, i, n);

        i += n;
    }

    return res;
}

//
// llama_layerwise
//

llama_layerwise & llama_layerwise::get(llama_context * ctx) {
    if (ctx == nullptr) {
        llama_layerwise_invalid("the context is NULL");
    }

    auto * mem = dynamic_cast<llama_kv_cache_layered *>(ctx->get_memory());
    if (mem == nullptr) {
        llama_layerwise_invalid("this context was created without llama_layerwise_defer_kv(true)");
    }

    if (!mem->driver) {
        mem->driver = std::make_shared<llama_layerwise>(*ctx, *mem);
    }

    return *mem->driver;
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

    ggml_context_ptr ctx_hidden = llama_layerwise_make_ctx(1);

    llama_batch_allocr balloc(ctx.model.hparams.n_pos_per_embd());
    llama_ubatch ubatch = balloc.ubatch_reserve(1, 1);

    const auto mctx = mem.init_full();

    for (int32_t il = 0; il < n_layer(); ++il) {
        llama_layerwise_pass pass;

        pass.il_begin = il;
        pass.il_end   = il + 1;
        pass.n_layer  = n_layer();
        pass.hidden   = ggml_new_tensor_2d(ctx_hidden.get(), GGML_TYPE_F32, ctx.model.hparams.n_embd, 1);
        pass.i_window = 0;

        auto * res = ctx.get_gf_res_reserve();

        ctx.layerwise = &pass;
        const auto gparams = ctx.graph_params(res, ubatch, mctx.get(), LLM_GRAPH_TYPE_DEFAULT);
        ctx.layerwise = nullptr;

        res->reset();

        if (!pass.build(ctx.model, gparams)) {
            llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED,
                std::string("architecture '") + llm_arch_name(ctx.model.arch) + "' cannot be run layer by layer: " + pass.error);
        }

        ggml_reset(ctx_hidden.get());
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

    const int32_t n_vocab = ctx.model.vocab.n_tokens();
    for (int32_t i = 0; i < n_tokens; ++i) {
        if (tokens_inp[i] < 0 || tokens_inp[i] >= n_vocab) {
            llama_layerwise_invalid("token " + std::to_string(i) + " is " + std::to_string(tokens_inp[i]) + ", outside of the vocabulary");
        }
    }

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

    mem.reset_peak();

    ctx.t_compute_start_us = ggml_time_us();
}

void llama_layerwise::begin(const llama_token * tokens_inp, int32_t n_tokens, int32_t n_window_inp, int32_t n_headroom_inp) {
    check_tokens(tokens_inp, n_tokens, 0, n_window_inp, n_headroom_inp);

    reserve();

    reset(true);

    start(tokens_inp, n_tokens, 0, n_window_inp, n_headroom_inp);
}

llama_ubatch llama_layerwise::make_ubatch(size_t i0, size_t n, bool output) const {
    auto data = std::make_shared<llama_ubatch::data_t>();

    const uint32_t n_pos = ctx.model.hparams.n_pos_per_embd();

    data->token.assign(tokens.begin() + i0, tokens.begin() + i0 + n);
    for (uint32_t j = 0; j < n_pos; ++j) {
        data->pos.insert(data->pos.end(), pos.begin() + i0, pos.begin() + i0 + n);
    }

    data->n_seq_id   .assign(n, 1);
    data->seq_id_data.assign(n, 0);
    data->seq_id_unq .assign(1, 0);
    data->seq_idx    .assign(LLAMA_MAX_SEQ, -1);
    data->output     .assign(n, 0);

    data->seq_idx[0]    = 0;
    data->output[n - 1] = output;

    for (size_t i = 0; i < n; ++i) {
        data->seq_id    .push_back(&data->seq_id_data[i]);
        data->batch_idxs.push_back(i0 + i);
    }

    llama_ubatch res {
        /*.b_equal_seqs =*/ false,
        /*.n_tokens     =*/ (uint32_t) n,
        /*.n_seq_tokens =*/ 1,
        /*.n_seqs       =*/ (uint32_t) n,
        /*.n_seqs_unq   =*/ 1,
        /*.n_pos        =*/ n_pos,

        /*.token        =*/ data->token.data(),
        /*.embd         =*/ nullptr,
        /*.pos          =*/ data->pos.data(),
        /*.n_seq_id     =*/ data->n_seq_id.data(),
        /*.seq_id       =*/ data->seq_id.data(),
        /*.seq_id_unq   =*/ data->seq_id_unq.data(),
        /*.seq_idx      =*/ data->seq_idx.data(),
        /*.output       =*/ data->output.data(),
        /*.data         =*/ data,
    };

    return res;
}

void llama_layerwise::run(int32_t il_begin, int32_t il_end, int32_t scoring) {
    require_active();

    if (il_begin != il_next) {
        llama_layerwise_invalid("the next layer to run is " + std::to_string(il_next) + ", not " + std::to_string(il_begin));
    }
    if (il_end <= il_begin || il_end > n_layer()) {
        llama_layerwise_invalid("the range of layers must end between " + std::to_string(il_begin + 1) + " and " + std::to_string(n_layer()));
    }

    if (scoring < LLAMA_LAYERWISE_SCORING_NONE || scoring > LLAMA_LAYERWISE_SCORING_PRODUCTS) {
        llama_layerwise_invalid("there is no scoring " + std::to_string(scoring));
    }

    const size_t n_tokens = tokens.size();
    const size_t n_ubatch = ctx.cparams.n_ubatch;

    scores.clear();

    struct running_t {
        explicit running_t(llama_layerwise & lw) : lw(lw) { lw.running = true; lw.aborted = false; }
        ~running_t() { lw.running = false; }

        llama_layerwise & lw;
    } guard(*this);

    const bool in_place = n_before > 0 && held.in_cache;

    if (in_place && il_end != held.il) {
        llama_layerwise_invalid("the first " + std::to_string(held.il) + " layers, which the held tokens have run through, are run together");
    }
    if (n_before > 0 && !in_place && (il_end != il_begin + 1 || !filled.has(il_begin))) {
        llama_layerwise_invalid("layer " + std::to_string(il_begin) + " runs by itself, once the KV of the held tokens is put into it");
    }

    llama_layerwise_group group_new;
    if (n_before == 0) {
        group_new = mem.make_group(il_begin, il_end, mem.n_cells_for(n_tokens, n_headroom));
    } else if (!in_place) {
        group_new = std::move(filled);
        filled    = llama_layerwise_group();
    }

    llama_layerwise_group & group = in_place ? mem.first_group() : group_new;

    // the hidden states follow the layers, so that they cross to another device once, not with every layer there
    ggml_backend_buffer_type_t buft = ggml_backend_dev_buffer_type(ctx.model.dev_layer(hidden.t ? il_begin : il_end - 1));

    if (!hidden.t && il_end < n_layer()) {
        hidden.alloc(buft, ctx.model.hparams.n_embd, n_tokens);
    } else if (hidden.t && ggml_backend_buffer_get_type(hidden.buf.get()) != buft) {
        ggml_backend_sched_synchronize(ctx.sched.get());
        hidden = hidden.copy_to(buft);
    }

    llama_layerwise_pass pass;

    pass.il_begin = il_begin;
    pass.il_end   = il_end;
    pass.n_layer  = n_layer();
    pass.hidden   = hidden.t;
    pass.products = scoring == LLAMA_LAYERWISE_SCORING_PRODUCTS;

    const size_t i_window = n_tokens - n_window;

    for (size_t i0 = 0; i0 < n_tokens; i0 += n_ubatch) {
        const size_t n = std::min(n_ubatch, n_tokens - i0);

        const bool go_on = !progress || progress(il_begin, il_end, i0, n_tokens, progress_user_data);

        if (!go_on || aborted || (ctx.abort_callback && ctx.abort_callback(ctx.abort_callback_data))) {
            llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_ABORTED, "the prefill was aborted");
        }

        pass.i_token  = i0;
        pass.i_window = scoring && i0 + n > i_window ? (int64_t) (std::max(i0, i_window) - i0) : -1;

        run_ubatch(group, pass, i0, n, il_end == n_layer() && i0 + n == n_tokens);

        if (pass.i_window >= 0) {
            read_scores(pass);
        }
    }

    if (!in_place) {
        mem.push(std::move(group_new));
    }
    if (n_before > 0 && il_end == held.il) {
        join_held();
    }

    il_next = il_end;
}

void llama_layerwise::run_ubatch(llama_layerwise_group & group, llama_layerwise_pass & pass, size_t i0, size_t n, bool output) {
    const llama_ubatch ubatch = make_ubatch(i0, n, output);

    const auto mctx = mem.init_pass(group, ubatch);
    if (!mctx) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_FAILED, "found no cells for " + std::to_string(n) + " tokens");
    }

    ggml_status status = GGML_STATUS_SUCCESS;

    ctx.n_outputs = output ? 1 : 0;
    ctx.layerwise = &pass;

    llm_graph_result * res = nullptr;
    try {
        res = ctx.process_ubatch(ubatch, LLM_GRAPH_TYPE_DEFAULT, mctx.get(), status);
    } catch (...) {
        ctx.layerwise = nullptr;
        throw;
    }

    ctx.layerwise = nullptr;

    if (!res) {
        if (!pass.error.empty()) {
            llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED,
                std::string("architecture '") + llm_arch_name(ctx.model.arch) + "' cannot be run layer by layer: " + pass.error);
        }

        switch (status) {
            case GGML_STATUS_ABORTED:      llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_ABORTED, "the prefill was aborted");
            case GGML_STATUS_ALLOC_FAILED: throw std::bad_alloc();
            default:                       llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_FAILED,  "the backend failed to compute a graph");
        }
    }

    if (output) {
        read_logits(*res);
    }
}

void llama_layerwise::read_scores(const llama_layerwise_pass & pass) {
    ggml_backend_sched_synchronize(ctx.sched.get());

    const int64_t n_tokens = n_before + (int64_t) tokens.size();

    std::vector<float> row_data;

    for (const auto & [il, t] : pass.scores) {
        const int64_t n_kv   = t->ne[0];
        const int64_t n_head = t->ne[1];

        row_data.resize(n_kv*n_head);
        ggml_backend_tensor_get(t, row_data.data(), 0, row_data.size()*sizeof(float));

        auto & dst = scores[il];
        dst.n_cells = n_tokens;
        dst.data.resize(n_head*n_tokens);

        // the window may span several ubatches, each seeing the cells so far: the sums add up
        for (int64_t h = 0; h < n_head; ++h) {
            for (int64_t i = 0; i < std::min(n_kv, n_tokens); ++i) {
                dst.data[h*n_tokens + i] += row_data[h*n_kv + i];
            }
        }
    }
}

void llama_layerwise::read_logits(const llm_graph_result & res) {
    ggml_tensor * t_logits = res.get_logits();

    if (t_logits == nullptr || !ctx.logits.has_data()) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED, "the model has no logits");
    }

    ggml_backend_t backend = ggml_backend_sched_get_tensor_backend(ctx.sched.get(), t_logits);

    ggml_backend_tensor_get_async(backend, t_logits, ctx.logits.data, 0, ctx.model.vocab.n_tokens()*sizeof(float));

    ctx.output_ids[0] = 0;
    ctx.output_swaps.clear();
}

void llama_layerwise::keep(const int32_t * positions, int32_t n) {
    require_active();

    if (il_next == n_layer()) {
        llama_layerwise_invalid("all layers have run");
    }
    if (n_before > 0) {
        llama_layerwise_invalid("the layers that the held tokens have run through come first");
    }
    if (positions == nullptr || n < n_window) {
        llama_layerwise_invalid("fewer positions than the observation window has");
    }
    if (n > (int32_t) pos.size()) {
        llama_layerwise_invalid("more positions than tokens are left");
    }

    std::vector<int32_t> idxs(n); // of the kept positions among the present ones

    size_t i_cur = 0;
    for (int32_t i = 0; i < n; ++i) {
        if (i > 0 && positions[i] <= positions[i - 1]) {
            llama_layerwise_invalid("the positions must be strictly increasing");
        }
        while (i_cur < pos.size() && pos[i_cur] < positions[i]) {
            i_cur++;
        }
        if (i_cur == pos.size() || pos[i_cur] != positions[i]) {
            llama_layerwise_invalid("position " + std::to_string(positions[i]) + " is not among the tokens kept so far");
        }
        idxs[i] = i_cur;
    }
    if (idxs[n - n_window] != (int32_t) pos.size() - n_window) {
        llama_layerwise_invalid("the tokens of the observation window must be kept");
    }

    if (n == (int32_t) pos.size()) {
        return;
    }

    if (hidden.t) {
        ggml_backend_sched_synchronize(ctx.sched.get());
        hidden = hidden.gather(idxs);
    }

    for (int32_t i = 0; i < n; ++i) {
        tokens[i] = tokens[idxs[i]];
        pos[i]    = pos[idxs[i]];
    }
    tokens.resize(n);
    pos.resize(n);
}

ggml_backend_t llama_layerwise::backend_of(ggml_backend_buffer_t buf) const {
    for (const auto & backend : ctx.backends) {
        if (ggml_backend_supports_buft(backend.get(), ggml_backend_buffer_get_type(buf))) {
            return backend.get();
        }
    }

    return ctx.backend_cpu;
}

void llama_layerwise::compress(int32_t il, const int32_t * cells, int32_t n_head_kv, int32_t n_cells) {
    require_active();

    const auto & groups = mem.get_groups();

    if (groups.empty() || !groups.back().has(il) || il_next != groups.back().il_end) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " was not in the last run");
    }

    const auto & kv = *groups.back().kv_base;

    if (!llama_layerwise_kv::has_layer(kv, il)) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " has a sliding window, or no attention: there is nothing to compress");
    }
    if (llama_layerwise_kv::n_layers(kv) != 1 || mem.is_compressed(il)) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " must be run on its own, and compressed once");
    }
    if (n_head_kv != (int32_t) ctx.model.hparams.n_head_kv(il)) {
        llama_layerwise_invalid("layer " + std::to_string(il) + " has " + std::to_string(ctx.model.hparams.n_head_kv(il)) + " KV heads");
    }
    if (!ctx.cparams.flash_attn) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED, "compression needs flash attention: the V of a cell lies scattered without it");
    }

    const int32_t n_tokens = kv.get_cells(0).get_used();

    if (cells == nullptr || n_cells < n_window || n_cells > n_tokens) {
        llama_layerwise_invalid("a compressed layer holds between n_window and " + std::to_string(n_tokens) + " cells");
    }

    for (int32_t h = 0; h < n_head_kv; ++h) {
        const int32_t * row = cells + (size_t) h*n_cells;

        for (int32_t i = 0; i < n_cells; ++i) {
            if (row[i] < 0 || row[i] >= n_tokens || (i > 0 && row[i] <= row[i - 1])) {
                llama_layerwise_invalid("the cells of a KV head must be strictly increasing, from 0 to " + std::to_string(n_tokens - 1));
            }
        }
        if (row[n_cells - n_window] != n_tokens - n_window) {
            llama_layerwise_invalid("the cells of the observation window must be kept");
        }
    }

    if (n_cells == n_tokens) {
        return;
    }

    ctx.synchronize();

    // a document whose layers are compressed serves no other prompt
    if (held.in_cache && il < held.il) {
        held = held_t();
    }

    mem.compress(il, std::vector<int32_t>(cells, cells + (size_t) n_head_kv*n_cells), n_head_kv, n_window, n_headroom,
            backend_of(kv.get_k_storage(il)->buffer));
}

void llama_layerwise::end() {
    require_active();

    if (il_next != n_layer()) {
        llama_layerwise_invalid("layers " + std::to_string(il_next) + " to " + std::to_string(n_layer() - 1) + " have not run");
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

    // the document outlives a question that failed
    ctx.synchronize();

    held_t kept;
    if (move_aside()) {
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
    scores.clear();

    hidden = llama_layerwise_hidden();
    filled = llama_layerwise_group();

    if (clear_memory) {
        mem.clear(true);
    }
}

bool llama_layerwise::interrupt() {
    if (running) {
        aborted = true;
        return true;
    }

    if (active) {
        reset(false);
    }

    held = held_t();

    return false;
}

bool llama_kv_cache_layered::interrupt() {
    return driver && driver->interrupt();
}

void llama_kv_cache_layered::forget_from(llama_pos p0) {
    if (driver) {
        driver->forget_from(p0);
    }
}

bool llama_kv_cache_layered::is_prefilling() const {
    return driver && driver->active;
}
