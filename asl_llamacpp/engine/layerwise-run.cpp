// A range of layers on all tokens that are left, ubatch after ubatch.

#include "layerwise-prefill.h"

#include "llama-arch.h"
#include "llama-batch.h"
#include "llama-context.h"
#include "llama-model.h"

#include <algorithm>
#include <exception>
#include <new>

// fewer rows take another kernel for attention on a CPU, and one or two another product with weights: they round otherwise
static constexpr int64_t MIN_ROWS = 64;

bool llama_layerwise::has_long_ubatches() const {
    // in what order a ring's cells lie, and are added up, depends on the ubatches before
    return !mem.has_rings() && n_prompt >= MIN_ROWS && ctx.cparams.n_ubatch >= 2*(std::max<int64_t>(MIN_ROWS, n_window) + llama_layerwise_mask::COLS_STEP);
}

std::vector<int64_t> llama_layerwise::ubatch_sizes() const {
    const int64_t n_ubatch = ctx.cparams.n_ubatch;
    const int64_t n_least  = std::max<int64_t>(MIN_ROWS, n_window);
    const int64_t n_step   = llama_layerwise_mask::COLS_STEP;

    std::vector<int64_t> res;

    for (int64_t n_left = tokens.size(); n_left > 0; n_left -= res.back()) {
        const int64_t n_over = n_left - n_ubatch;

        // the one before the last is shorter instead, if both are long enough then
        const bool is_short = n_over > 0 && n_over < n_least && has_long_ubatches();

        res.push_back(is_short ? (n_left - n_least)/n_step*n_step : std::min(n_left, n_ubatch));
    }

    return res;
}

uint32_t llama_layerwise::n_written() const {
    const auto sizes = ubatch_sizes();

    // a shorter ubatch reads cells of the next one, which are not written yet
    const bool is_regular = sizes.size() < 2 || sizes[sizes.size() - 2] == (int64_t) ctx.cparams.n_ubatch;

    return std::min<uint32_t>(mem.n_written_for(tokens.size()), tokens.size() - (is_regular ? 0 : sizes.back()));
}

// lets the host be two ubatches ahead of the device, and no more: progress and abort are about what is being computed.
// A run that fails waits for what it has started, since the cells are freed
struct llama_layerwise_pace {
    llama_layerwise_pace(ggml_backend_sched_t sched, ggml_backend_t backend) : sched(sched), backend(backend) {
        for (auto & event : events) {
            event.reset(ggml_backend_event_new(ggml_backend_get_device(backend)));
        }
    }

    ~llama_layerwise_pace() {
        if (std::uncaught_exceptions() > n_exceptions) {
            ggml_backend_sched_synchronize(sched);
        }
    }

    void before(size_t i) {
        if (!events[i % 2]) {
            ggml_backend_synchronize(backend);
        } else if (i >= 2) {
            ggml_backend_event_synchronize(events[i % 2].get());
        }
    }

    void after(size_t i) {
        if (events[i % 2]) {
            ggml_backend_event_record(events[i % 2].get(), backend);
        }
    }

private:
    ggml_backend_sched_t   sched;
    ggml_backend_t         backend;
    ggml_backend_event_ptr events[2];

    const int n_exceptions = std::uncaught_exceptions();
};

llama_ubatch llama_layerwise::make_ubatch(size_t i0, size_t n, bool output) const {
    return make_ubatch(tokens.data() + i0, pos.data() + i0, n, 0, output);
}

llama_ubatch llama_layerwise::make_ubatch(
        const llama_token * tokens_inp, const llama_pos * pos_inp, size_t n, llama_seq_id seq_id, bool output) const {
    auto data = std::make_shared<llama_ubatch::data_t>();

    const uint32_t n_pos = ctx.model.hparams.n_pos_per_embd();

    data->token.assign(tokens_inp, tokens_inp + n);
    for (uint32_t j = 0; j < n_pos; ++j) {
        data->pos.insert(data->pos.end(), pos_inp, pos_inp + n);
    }

    data->n_seq_id   .assign(n, 1);
    data->seq_id_data.assign(n, seq_id);
    data->seq_id_unq .assign(1, seq_id);
    data->seq_idx    .assign(LLAMA_MAX_SEQ, -1);
    data->output     .assign(n, 0);

    data->seq_idx[seq_id] = 0;
    data->output[n - 1]   = output;

    for (size_t i = 0; i < n; ++i) {
        data->seq_id    .push_back(&data->seq_id_data[i]);
        data->batch_idxs.push_back(i);
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

// while it lives, other threads' calls are refused or answered from what was noted
struct llama_layerwise::running_t {
    explicit running_t(llama_layerwise & lw) : lw(lw) {
        lw.note();
        lw.running = true;
    }

    ~running_t() { lw.running = false; }

    llama_layerwise & lw;
};

void llama_layerwise::run(int32_t il_begin, int32_t il_end, const llama_layerwise_scores * scores, int32_t n_scores) {
    require_active();

    if (il_begin != il_next) {
        llama_layerwise_invalid("the next layer to run is " + std::to_string(il_next) + ", not " + std::to_string(il_begin));
    }
    if (il_end <= il_begin || il_end > n_layer()) {
        llama_layerwise_invalid("the range of layers must end between " + std::to_string(il_begin + 1) + " and " + std::to_string(n_layer()));
    }

    if (n_scores > LLAMA_LAYERWISE_MAX_SCORED) {
        llama_layerwise_invalid("one run scores at most " + std::to_string(LLAMA_LAYERWISE_MAX_SCORED) + " layers, not " + std::to_string(n_scores));
    }

    const bool in_place = n_before > 0 && held.in_cache;

    if (in_place && il_end > held.il) {
        llama_layerwise_invalid("the held tokens have run through " + std::to_string(held.il) + " layers: no run of these goes deeper");
    }
    if (in_place && il_end < held.il && mem.has_ring(mem.first_group())) {
        llama_layerwise_invalid("the first " + std::to_string(held.il) + " layers are run together: some hold a sliding window's cells only");
    }
    if (n_before > 0 && !in_place && (il_end != il_begin + 1 || !filled.has(il_begin))) {
        llama_layerwise_invalid("layer " + std::to_string(il_begin) + " runs by itself, once the KV of the held tokens is put into it");
    }

    const bool in_parts = ubatch_sizes().back() < n_window;

    auto wanted = llama_layerwise_check_scores(
        ctx.model.hparams, scores, n_scores, il_begin, il_end, n_before + tokens.size(), n_window, contrast.n_seen, in_parts);

    {
        const running_t guard(*this);

        run_layers(il_begin, il_end, std::move(wanted), in_place);
    }

    if (aborted) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_ABORTED, "the prefill was aborted");
    }
}

void llama_layerwise::run_layers(
        int32_t il_begin, int32_t il_end, std::vector<llama_layerwise_wanted> scores, bool in_place) {
    const size_t n_tokens = tokens.size();

    llama_layerwise_group group_new;
    if (n_before == 0) {
        group_new = mem.make_group(il_begin, il_end, mem.n_cells_behind(n_tokens, n_headroom), 0, n_written());
    } else if (!in_place) {
        group_new = std::move(filled);
        filled    = llama_layerwise_group();
    }

    llama_layerwise_group & group = in_place ? mem.first_group() : group_new;

    // the tokens get the cells that they had in the layers before
    if (in_place) {
        group.mem->seq_rm(0, n_before, -1);
    }

    n_done    = 0;
    has_begun = false;

    try {
        if (mem.is_quantized()) {
            run_exact(group, il_begin, il_end, scores, in_place);
        } else {
            run_ubatches(group, il_begin, il_end, std::move(scores));
        }
    } catch (const llama_layerwise_exception & e) {
        // not where another thread wants the context to be empty
        if (e.status == LLAMA_LAYERWISE_STATUS_ABORTED && !aborted) {
            if (n_before == 0) {
                hold_done(std::move(group_new), il_end);
            } else if (in_place && il_begin == 0 && il_end == held.il) {
                hold_done_behind();
            }
        }
        throw;
    }

    if (!in_place) {
        mem.push(std::move(group_new));
    }
    if (n_before > 0 && il_end == held.il) {
        join_held();
    }

    il_next = il_end;
}

void llama_layerwise::run_ubatches(
        llama_layerwise_group & group, int32_t il_begin, int32_t il_end, std::vector<llama_layerwise_wanted> scores) {
    const size_t n_tokens = tokens.size();
    const size_t n_ubatch = ctx.cparams.n_ubatch;

    const bool is_first = !hidden.t;

    join_hidden();
    place_hidden(hidden, il_begin, il_end, n_tokens, hidden_on_host);

    auto staging = stage_hidden(is_first ? il_end - 1 : il_begin, std::min(n_tokens, n_ubatch));

    staging.reads  = !is_first;
    staging.writes = il_end < n_layer();

    llama_layerwise_pass pass;

    pass.il_begin = il_begin;
    pass.il_end   = il_end;
    pass.n_layer  = n_layer();
    pass.hidden   = staging.backend ? staging.device : hidden.t;
    pass.wanted   = std::move(scores);
    pass.few_rows = n_before > 0 && has_long_ubatches();

    const int64_t n_past = group.n_used();

    place_inputs(group, pass);

    const size_t i_window = n_tokens - n_window;

    const auto sizes = ubatch_sizes();

    const size_t n_first = sizes.front();

    pass.i_window = pass.wanted.empty() ? -1 : (int64_t) (n_first - std::min<size_t>(n_window, n_first));

    check_placement(group, pass, make_ubatch(0, n_first, false));

    // a single ubatch reserves what it needs by itself
    if (n_tokens > n_ubatch) {
        reserve_run(group, pass, n_ubatch, il_end == n_layer());
    }

    llama_layerwise_pace pace(ctx.sched.get(), backend_of(ggml_backend_dev_buffer_type(ctx.model.dev_layer(il_end - 1))));

    for (size_t i = 0, i0 = 0; i < sizes.size(); i0 += sizes[i], ++i) {
        const size_t n = sizes[i];

        n_done = i0;

        note();
        pace.before(i);

        const bool go_on = !progress || progress(il_begin, il_end, i0, n_tokens, progress_user_data);

        if (!go_on || aborted || (ctx.abort_callback && ctx.abort_callback(ctx.abort_callback_data))) {
            llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_ABORTED, "the prefill was aborted");
        }

        pass.i_token   = i0;
        pass.i_hidden  = staging.backend ? staging.row(i) : i0;
        pass.mask_offs = mask.offset(n_past + i0);
        pass.i_window  = !pass.wanted.empty() && i0 + n > i_window ? (int64_t) (std::max(i0, i_window) - i0) : -1;

        const bool output = il_end == n_layer() && i0 + n == n_tokens;

        has_begun = true;

        if (staging.backend) {
            staging.before(i, i0, n);
        }

        run_ubatch(group, pass, make_ubatch(i0, n, output), output);

        pace.after(i);

        if (pass.i_window >= 0) {
            ggml_backend_sched_synchronize(ctx.sched.get());

            for (auto & wanted : pass.wanted) {
                wanted.read(i0 <= i_window, i0 + n == n_tokens);
            }
        }
    }

    if (!contrast.tokens.empty()) {
        run_contrast(group, pass);
    }

    if (staging.backend) {
        ggml_backend_sched_synchronize(ctx.sched.get());

        staging.finish();
    }
}

void llama_layerwise::place_inputs(const llama_layerwise_group & group, llama_layerwise_pass & pass) {
    if (!ctx.cparams.flash_attn || !llama_layerwise_kv::in_order(*group.kv_base)) {
        return;
    }

    const int64_t n_ubatch = ctx.cparams.n_ubatch;
    const int64_t n_rows   = std::min<int64_t>(n_ubatch, tokens.size());

    if (!mask.covers(group.n_used(), group.n_cells(), n_rows)) {
        ggml_backend_sched_synchronize(ctx.sched.get());
        mask = llama_layerwise_mask(group.n_used(), group.n_cells(), n_rows);
    }

    place_masks(group, pass, n_rows, [this](ggml_backend_buffer_type_t buft) { return mask.on(buft); });

    const auto buft = ggml_backend_dev_buffer_type(ctx.model.dev_layer(pass.il_begin));

    // the graph has one tensor of each for all of its layers
    bool on_device = !ggml_backend_buft_is_host(buft) && ctx.cparams.offload_kqv;
    for (int32_t il = pass.il_begin + 1; il < pass.il_end; ++il) {
        on_device = on_device && ctx.model.dev_layer(il) == ctx.model.dev_layer(pass.il_begin);
    }
    if (!on_device) {
        return;
    }

    if (!inputs.are(buft, pos, group.n_used())) {
        ggml_backend_sched_synchronize(ctx.sched.get());
        inputs = llama_layerwise_inputs(buft, pos, group.n_used(), ubatch_sizes(), ctx.model.hparams.n_pos_per_embd());
    }

    pass.inputs = &inputs;
}

void llama_layerwise::place_masks(
        const llama_layerwise_group & group, llama_layerwise_pass & pass, int64_t n_rows, const mask_on_t & mask_on) {
    pass.masks.assign(pass.il_end - pass.il_begin, {});

    for (int32_t il = pass.il_begin; il < pass.il_end; ++il) {
        if (!llama_layerwise_kv::has_layer(*group.kv_base, il)) {
            continue;
        }

        const auto buft = ggml_backend_buffer_get_type(group.kv_base->get_k_storage(il)->buffer);

        pass.masks[il - pass.il_begin] = mask_of(mask_on(buft), buft, n_rows);
    }
}

llama_layerwise_pass::mask_t llama_layerwise::mask_of(ggml_tensor * t, ggml_backend_buffer_type_t buft, int64_t n_rows) const {
    const int64_t n_ubatch = ctx.cparams.n_ubatch;

    const bool is_aligned = n_rows < n_ubatch || n_ubatch % llama_layerwise_mask::COLS_STEP == 0;

    // what lies in host memory may be copied to a device that computes attention there: then only what is needed
    const bool is_copied = ggml_backend_buft_is_host(buft) && !ctx.model.devices.empty();

    return { t, is_aligned && !is_copied && llama_layerwise_mask_may_stride(buft) };
}

void llama_layerwise::fail_cut(const llama_layerwise_pass & pass) const {
    llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED,
        std::string("architecture '") + llm_arch_name(ctx.model.arch) + "' cannot be run layer by layer: " + pass.error);
}

ggml_cgraph * llama_layerwise::build_unused(
        llama_layerwise_pass & pass, const llama_ubatch & ubatch, const llama_memory_context_i * mctx, bool output) {
    auto * res = ctx.get_gf_res_reserve();

    ctx.n_outputs = output ? 1 : 0;
    ctx.layerwise = &pass;
    const auto gparams = ctx.graph_params(res, ubatch, mctx, LLM_GRAPH_TYPE_DEFAULT);
    ctx.layerwise = nullptr;

    res->reset();

    ggml_cgraph * gf = pass.build(ctx.model, gparams);
    if (!gf) {
        fail_cut(pass);
    }

    return gf;
}

void llama_layerwise::reserve_run(llama_layerwise_group & group, llama_layerwise_pass & pass, size_t n_ubatch, bool output) {
    const llama_ubatch ubatch = make_ubatch(0, n_ubatch, output);

    const auto mctx = mem.init_reserve(group);

    pass.i_token   = 0;
    pass.i_hidden  = 0;
    pass.mask_offs = 0;
    pass.i_window  = -1;

    // graphs that were allocated before can no longer be reused
    ctx.gf_res_prev_active = nullptr;

    ggml_backend_sched_reset(ctx.sched.get());

    ggml_cgraph * gf = build_unused(pass, ubatch, mctx.get(), output);

    if (!ggml_backend_sched_reserve(ctx.sched.get(), gf)) {
        throw std::bad_alloc();
    }
}

void llama_layerwise::run_ubatch(llama_layerwise_group & group, llama_layerwise_pass & pass, const llama_ubatch & ubatch, bool output) {
    const auto mctx = mem.init_pass(group, ubatch);
    if (!mctx) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_FAILED, "found no cells for " + std::to_string(ubatch.n_tokens) + " tokens");
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
            fail_cut(pass);
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
