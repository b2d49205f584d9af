#include "layerwise.h"

#include "layerwise-graph.h"
#include "layerwise-kv.h"

#include "llama-arch.h"
#include "llama-batch.h"
#include "llama-context.h"
#include "llama-impl.h"
#include "llama-model.h"

#include <algorithm>
#include <map>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

// thrown inside of this file and turned into a status at the C API
struct llama_layerwise_exception : std::runtime_error {
    llama_layerwise_exception(llama_layerwise_status status, const std::string & what) : std::runtime_error(what), status(status) {}

    llama_layerwise_status status;
};

[[noreturn]] static void fail(llama_layerwise_status status, const std::string & what) {
    throw llama_layerwise_exception(status, what);
}

[[noreturn]] static void invalid(const std::string & what) {
    fail(LLAMA_LAYERWISE_STATUS_INVALID, what);
}

//
// hidden states between the layers
//

struct llama_layerwise_hidden {
    ggml_context_ptr        ctx;
    ggml_backend_buffer_ptr buf;

    ggml_tensor * t = nullptr; // F32 [n_embd, n_tokens]

    void alloc(ggml_backend_buffer_type_t buft, int64_t n_embd, int64_t n_tokens) {
        ggml_init_params params = {
            /*.mem_size   =*/ ggml_tensor_overhead(),
            /*.mem_buffer =*/ nullptr,
            /*.no_alloc   =*/ true,
        };

        ctx.reset(ggml_init(params));
        if (!ctx) {
            throw std::bad_alloc();
        }

        t = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, n_embd, n_tokens);
        ggml_set_name(t, "layerwise_hidden");

        buf.reset(ggml_backend_alloc_ctx_tensors_from_buft(ctx.get(), buft));
        if (!buf) {
            throw std::bad_alloc();
        }
    }

    size_t bytes() const {
        return buf ? ggml_backend_buffer_get_size(buf.get()) : 0;
    }

    // the rows at these indices, which are strictly increasing; runs of neighbours are copied at once
    llama_layerwise_hidden gather(const std::vector<int32_t> & idxs) const {
        llama_layerwise_hidden res;
        res.alloc(ggml_backend_buffer_get_type(buf.get()), t->ne[0], idxs.size());

        for (size_t i = 0; i < idxs.size(); ) {
            size_t n = 1;
            while (i + n < idxs.size() && idxs[i + n] == idxs[i] + (int32_t) n) {
                n++;
            }

            ggml_init_params params = {
                /*.mem_size   =*/ 2*ggml_tensor_overhead(),
                /*.mem_buffer =*/ nullptr,
                /*.no_alloc   =*/ true,
            };

            ggml_context_ptr ctx_view { ggml_init(params) };
            if (!ctx_view) {
                throw std::bad_alloc();
            }

            ggml_tensor * src = ggml_view_2d(ctx_view.get(), t,     t->ne[0], n, t->nb[1],     idxs[i]*t->nb[1]);
            ggml_tensor * dst = ggml_view_2d(ctx_view.get(), res.t, t->ne[0], n, res.t->nb[1],       i*res.t->nb[1]);

            ggml_backend_view_init(src);
            ggml_backend_view_init(dst);

            ggml_backend_tensor_copy(src, dst);

            i += n;
        }

        return res;
    }
};

//
// llama_layerwise: the prefill driver of one context
//

struct llama_layerwise {
    llama_layerwise(llama_context & ctx, llama_kv_cache_layered & mem) : ctx(ctx), mem(mem) {}

    llama_context          & ctx;
    llama_kv_cache_layered & mem;

    llama_layerwise_progress progress           = nullptr;
    void *                   progress_user_data = nullptr;

    std::string error;

    // the prefill in progress

    bool active = false;

    std::vector<llama_token> tokens; // of the kept tokens
    std::vector<llama_pos>   pos;

    int32_t n_prompt   = 0;
    int32_t n_window   = 0;
    int32_t n_headroom = 0;
    int32_t il_next    = 0;

    bool new_group = false; // the next layers hold other tokens than the last ones

    llama_layerwise_hidden hidden;

    struct scores_t {
        int32_t n_cells;
        std::vector<float> data; // [n_head, n_cells]
    };

    std::map<int32_t, scores_t> scores;

    static llama_layerwise & get(llama_context * ctx);

    void check();

    void begin(const llama_token * tokens, int32_t n_tokens, int32_t n_window, int32_t n_headroom);
    void run(int32_t il_begin, int32_t il_end, bool with_scores);
    void keep(const int32_t * positions, int32_t n);
    void end();
    void reset(bool clear_memory);

private:
    int32_t n_layer() const { return mem.n_layer(); }

    llama_ubatch make_ubatch(size_t i0, size_t n, bool output) const;

    void run_ubatch(llama_layerwise_group & group, llama_layerwise_pass & pass, size_t i0, size_t n, bool output);

    void read_scores(const llama_layerwise_pass & pass);
    void read_logits(const llm_graph_result & res);
};

llama_layerwise & llama_layerwise::get(llama_context * ctx) {
    if (ctx == nullptr) {
        invalid("the context is NULL");
    }

    auto * mem = dynamic_cast<llama_kv_cache_layered *>(ctx->get_memory());
    if (mem == nullptr) {
        invalid("this context was created without llama_layerwise_defer_kv(true)");
    }

    if (!mem->driver) {
        mem->driver = std::make_shared<llama_layerwise>(*ctx, *mem);
    }

    return *mem->driver;
}

void llama_layerwise::check() {
    if (active) {
        invalid("a prefill is in progress");
    }

    ctx.sched_reserve();

    ggml_init_params params = {
        /*.mem_size   =*/ ggml_tensor_overhead(),
        /*.mem_buffer =*/ nullptr,
        /*.no_alloc   =*/ true,
    };

    ggml_context_ptr ctx_hidden { ggml_init(params) };
    if (!ctx_hidden) {
        throw std::bad_alloc();
    }

    llama_batch_allocr balloc(ctx.model.hparams.n_pos_per_embd());
    llama_ubatch ubatch = balloc.ubatch_reserve(1, 1);

    const auto mctx = mem.init_build();

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
            fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED,
                std::string("architecture '") + llm_arch_name(ctx.model.arch) + "' cannot be run layer by layer: " + pass.error);
        }

        ggml_reset(ctx_hidden.get());
    }
}

void llama_layerwise::begin(const llama_token * tokens_inp, int32_t n_tokens, int32_t n_window_inp, int32_t n_headroom_inp) {
    const auto & cparams = ctx.cparams;

    if (active) {
        invalid("a prefill is in progress: end or abort it first");
    }
    if (tokens_inp == nullptr || n_tokens < 1) {
        invalid("there are no tokens");
    }
    if ((uint32_t) n_tokens > cparams.n_ctx_seq) {
        invalid("the prompt has " + std::to_string(n_tokens) + " tokens, more than n_ctx = " + std::to_string(cparams.n_ctx_seq));
    }
    if (n_window_inp < 1 || n_window_inp > n_tokens) {
        invalid("the observation window must have between 1 and n_tokens tokens");
    }
    if (n_headroom_inp < 0) {
        invalid("the headroom must not be negative");
    }

    const int32_t n_vocab = ctx.model.vocab.n_tokens();
    for (int32_t i = 0; i < n_tokens; ++i) {
        if (tokens_inp[i] < 0 || tokens_inp[i] >= n_vocab) {
            invalid("token " + std::to_string(i) + " is " + std::to_string(tokens_inp[i]) + ", outside of the vocabulary");
        }
    }

    if (cparams.embeddings || !cparams.causal_attn) {
        fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED, "embeddings and non-causal attention need every token's output");
    }
    if (!ctx.sampling.samplers.empty()) {
        fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED, "backend samplers are not supported");
    }

    ctx.synchronize();
    ctx.sched_reserve();

    if (ctx.output_reserve(1) < 1) {
        throw std::bad_alloc();
    }

    reset(true);

    tokens.assign(tokens_inp, tokens_inp + n_tokens);
    pos.resize(n_tokens);
    for (int32_t i = 0; i < n_tokens; ++i) {
        pos[i] = i;
    }

    n_prompt   = n_tokens;
    n_window   = n_window_inp;
    n_headroom = n_headroom_inp;
    active     = true;

    mem.reset_peak();

    ctx.t_compute_start_us = ggml_time_us();
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

void llama_layerwise::run(int32_t il_begin, int32_t il_end, bool with_scores) {
    if (!active) {
        invalid("no prefill is in progress");
    }
    if (il_begin != il_next) {
        invalid("the next layer to run is " + std::to_string(il_next) + ", not " + std::to_string(il_begin));
    }
    if (il_end <= il_begin || il_end > n_layer()) {
        invalid("the range of layers must end between " + std::to_string(il_begin + 1) + " and " + std::to_string(n_layer()));
    }

    const size_t n_tokens = tokens.size();
    const size_t n_ubatch = ctx.cparams.n_ubatch;

    scores.clear();

    llama_layerwise_group group = mem.make_group(il_begin, il_end, mem.n_cells_for(n_tokens, n_headroom));

    if (!hidden.t && il_end < n_layer()) {
        hidden.alloc(ggml_backend_dev_buffer_type(ctx.model.dev_layer(il_begin)), ctx.model.hparams.n_embd, n_tokens);
    }

    llama_layerwise_pass pass;

    pass.il_begin = il_begin;
    pass.il_end   = il_end;
    pass.n_layer  = n_layer();
    pass.hidden   = hidden.t;

    const size_t i_window = n_tokens - n_window;

    for (size_t i0 = 0; i0 < n_tokens; i0 += n_ubatch) {
        const size_t n = std::min(n_ubatch, n_tokens - i0);

        if ((progress && !progress(il_begin, il_end, i0, n_tokens, progress_user_data)) ||
                (ctx.abort_callback && ctx.abort_callback(ctx.abort_callback_data))) {
            fail(LLAMA_LAYERWISE_STATUS_ABORTED, "the prefill was aborted");
        }

        pass.i_token  = i0;
        pass.i_window = with_scores && i0 + n > i_window ? (int64_t) (std::max(i0, i_window) - i0) : -1;

        run_ubatch(group, pass, i0, n, il_end == n_layer() && i0 + n == n_tokens);

        if (pass.i_window >= 0) {
            read_scores(pass);
        }
    }

    mem.push(std::move(group), !new_group);

    new_group = false;
    il_next   = il_end;
}

void llama_layerwise::run_ubatch(llama_layerwise_group & group, llama_layerwise_pass & pass, size_t i0, size_t n, bool output) {
    const llama_ubatch ubatch = make_ubatch(i0, n, output);

    const auto mctx = mem.init_pass(group, ubatch);
    if (!mctx) {
        fail(LLAMA_LAYERWISE_STATUS_FAILED, "found no cells for " + std::to_string(n) + " tokens");
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
            fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED,
                std::string("architecture '") + llm_arch_name(ctx.model.arch) + "' cannot be run layer by layer: " + pass.error);
        }

        switch (status) {
            case GGML_STATUS_ABORTED:      fail(LLAMA_LAYERWISE_STATUS_ABORTED, "the prefill was aborted");
            case GGML_STATUS_ALLOC_FAILED: throw std::bad_alloc();
            default:                       fail(LLAMA_LAYERWISE_STATUS_FAILED,  "the backend failed to compute a graph");
        }
    }

    if (output) {
        read_logits(*res);
    }
}

void llama_layerwise::read_scores(const llama_layerwise_pass & pass) {
    ggml_backend_sched_synchronize(ctx.sched.get());

    const int64_t n_tokens = tokens.size();

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
        fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED, "the model has no logits");
    }

    ggml_backend_t backend = ggml_backend_sched_get_tensor_backend(ctx.sched.get(), t_logits);

    ggml_backend_tensor_get_async(backend, t_logits, ctx.logits.data, 0, ctx.model.vocab.n_tokens()*sizeof(float));

    ctx.output_ids[0] = 0;
    ctx.output_swaps.clear();
}

void llama_layerwise::keep(const int32_t * positions, int32_t n) {
    if (!active) {
        invalid("no prefill is in progress");
    }
    if (il_next == n_layer()) {
        invalid("all layers have run");
    }
    if (positions == nullptr || n < n_window) {
        invalid("fewer positions than the observation window has");
    }
    if (n > (int32_t) pos.size()) {
        invalid("more positions than tokens are left");
    }

    std::vector<int32_t> idxs(n); // of the kept positions among the present ones

    size_t i_cur = 0;
    for (int32_t i = 0; i < n; ++i) {
        if (i > 0 && positions[i] <= positions[i - 1]) {
            invalid("the positions must be strictly increasing");
        }
        while (i_cur < pos.size() && pos[i_cur] < positions[i]) {
            i_cur++;
        }
        if (i_cur == pos.size() || pos[i_cur] != positions[i]) {
            invalid("position " + std::to_string(positions[i]) + " is not among the tokens kept so far");
        }
        idxs[i] = i_cur;
    }
    if (idxs[n - n_window] != (int32_t) pos.size() - n_window) {
        invalid("the tokens of the observation window must be kept");
    }

    if (n == (int32_t) pos.size()) {
        return;
    }

    if (hidden.t) {
        ctx.synchronize();
        hidden = hidden.gather(idxs);
    }

    for (int32_t i = 0; i < n; ++i) {
        tokens[i] = tokens[idxs[i]];
        pos[i]    = pos[idxs[i]];
    }
    tokens.resize(n);
    pos.resize(n);

    new_group = il_next > 0;
}

void llama_layerwise::end() {
    if (!active) {
        invalid("no prefill is in progress");
    }
    if (il_next != n_layer()) {
        invalid("layers " + std::to_string(il_next) + " to " + std::to_string(n_layer() - 1) + " have not run");
    }

    ctx.n_queued_tokens += n_prompt;
    ctx.synchronize();

    ctx.n_outputs = 1;

    reset(false);
}

void llama_layerwise::reset(bool clear_memory) {
    if (active || clear_memory) {
        ctx.synchronize();
    }

    active    = false;
    new_group = false;
    il_next   = 0;
    n_prompt  = 0;

    tokens.clear();
    pos.clear();
    scores.clear();

    hidden = llama_layerwise_hidden();

    if (clear_memory) {
        mem.clear(true);
    }
}

//
// what models can do it
//

std::string llama_layerwise_refusal(const llama_model & model) {
    const auto & hparams = model.hparams;

    const std::string name = std::string("architecture '") + llm_arch_name(model.arch) + "' ";

    switch (model.arch) {
        case LLM_ARCH_BERT:
        case LLM_ARCH_JINA_BERT_V2:
        case LLM_ARCH_JINA_BERT_V3:
        case LLM_ARCH_NOMIC_BERT:
        case LLM_ARCH_NOMIC_BERT_MOE:
        case LLM_ARCH_NEO_BERT:
        case LLM_ARCH_EUROBERT:
        case LLM_ARCH_MODERN_BERT:
        case LLM_ARCH_GEMMA_EMBEDDING:
        case LLM_ARCH_LLAMA_EMBED:
        case LLM_ARCH_WAVTOKENIZER_DEC:
        case LLM_ARCH_T5:
        case LLM_ARCH_T5ENCODER:
            return name + "is an encoder or an embedding model";
        case LLM_ARCH_DREAM:
        case LLM_ARCH_LLADA:
        case LLM_ARCH_LLADA_MOE:
        case LLM_ARCH_RND1:
            return name + "is a diffusion model";
        case LLM_ARCH_MINIMAX_M3:
        case LLM_ARCH_GLM_DSA:
        case LLM_ARCH_DEEPSEEK32:
        case LLM_ARCH_DEEPSEEK4:
        case LLM_ARCH_GLM5_NEXT:
        case LLM_ARCH_HY_V4:
        case LLM_ARCH_DOTS3NOTE:
        case LLM_ARCH_QWEN4EXP:
            return name + "has a sparse-attention cache of its own";
        case LLM_ARCH_DFLASH:
        case LLM_ARCH_EAGLE3:
        case LLM_ARCH_GEMMA4_ASSISTANT:
            return name + "is a draft model";
        case LLM_ARCH_GEMMA3N:
        case LLM_ARCH_GEMMA4:
            return name + "reuses the KV of earlier layers";
        case LLM_ARCH_KIMI_K3:
        case LLM_ARCH_HRM_TEXT:
        case LLM_ARCH_NANBEIGE:
        case LLM_ARCH_PLAMO2:
            return name + "carries more than one hidden state from layer to layer";
        case LLM_ARCH_CLIP:
        case LLM_ARCH_QWEN3TTS:
        case LLM_ARCH_POCKETTTS:
        case LLM_ARCH_UNKNOWN:
            return name + "is not a text model";
        default:
            break;
    }

    if (llm_arch_is_recurrent(model.arch) || llm_arch_is_hybrid(model.arch)) {
        return name + "has recurrent layers";
    }
    if (hparams.is_mla()) {
        return name + "uses multi-head latent attention";
    }
    if (hparams.n_layer_kv_from_start >= 0) {
        return name + "reuses the KV of earlier layers";
    }
    if (!hparams.causal_attn) {
        return name + "has non-causal attention";
    }
    if (hparams.n_layer() < 2) {
        return "the model has fewer than two layers";
    }

    return "";
}

static thread_local bool g_defer_kv = false;

llama_memory_i * llama_layerwise_create_memory(
        const llama_model & model, const llama_memory_params & params, const llama_cparams & cparams) {
    if (!g_defer_kv) {
        return model.create_memory(params, cparams);
    }

    const std::string refusal = llama_layerwise_refusal(model);
    if (!refusal.empty()) {
        throw std::runtime_error(refusal + ": it cannot be prefilled layer by layer");
    }
    if (cparams.n_seq_max > 1 || params.mem_other != nullptr || params.ctx_type != LLAMA_CONTEXT_TYPE_DEFAULT) {
        throw std::runtime_error("a context for layer-wise prefill holds one sequence");
    }

    return new llama_kv_cache_layered(model, params, cparams);
}

bool llama_kv_cache_layered::is_prefilling() const {
    return driver && driver->active;
}

//
// C API
//

static thread_local std::string g_error;

// runs f, keeps the error for llama_layerwise_error and empties the context unless nothing was changed
template<typename F>
static int32_t guard(llama_context * ctx, F && f) {
    llama_layerwise * lw = nullptr;

    int32_t     status = LLAMA_LAYERWISE_STATUS_OK;
    std::string error;

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

    if (lw && status != LLAMA_LAYERWISE_STATUS_OK && status != LLAMA_LAYERWISE_STATUS_INVALID) {
        lw->reset(true);
    }

    (lw ? lw->error : g_error) = error;

    return status;
}

const char * llama_layerwise_model_error(const llama_model * model) {
    static thread_local std::string refusal;

    refusal = model ? llama_layerwise_refusal(*model) : "the model is NULL";

    return refusal.empty() ? nullptr : refusal.c_str();
}

void llama_layerwise_defer_kv(bool defer) {
    g_defer_kv = defer;
}

int32_t llama_layerwise_check(llama_context * ctx) {
    return guard(ctx, [](llama_layerwise & lw) { lw.check(); });
}

int32_t llama_layerwise_begin(llama_context * ctx, const int32_t * tokens, int32_t n_tokens, int32_t n_window, int32_t n_headroom) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.begin(tokens, n_tokens, n_window, n_headroom); });
}

int32_t llama_layerwise_run(llama_context * ctx, int32_t il_begin, int32_t il_end, bool scores) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.run(il_begin, il_end, scores); });
}

int32_t llama_layerwise_scores(llama_context * ctx, int32_t il, float * out, int64_t n_out) {
    return guard(ctx, [&](llama_layerwise & lw) {
        const auto it = lw.scores.find(il);
        if (it == lw.scores.end()) {
            invalid("layer " + std::to_string(il) + " has no scores: it was not in the last run, or it is a sliding-window layer");
        }
        if (out == nullptr || n_out < (int64_t) it->second.data.size()) {
            invalid("the scores of layer " + std::to_string(il) + " need room for " + std::to_string(it->second.data.size()) + " floats");
        }
        std::copy(it->second.data.begin(), it->second.data.end(), out);
    });
}

int32_t llama_layerwise_keep(llama_context * ctx, const int32_t * positions, int32_t n_positions) {
    return guard(ctx, [&](llama_layerwise & lw) { lw.keep(positions, n_positions); });
}

int32_t llama_layerwise_end(llama_context * ctx) {
    return guard(ctx, [](llama_layerwise & lw) { lw.end(); });
}

void llama_layerwise_abort(llama_context * ctx) {
    guard(ctx, [](llama_layerwise & lw) { lw.reset(true); });
}

int32_t llama_layerwise_get_info(llama_context * ctx, llama_layerwise_info * info) {
    return guard(ctx, [&](llama_layerwise & lw) {
        if (info == nullptr) {
            invalid("info is NULL");
        }

        *info = {
            /*.n_layer       =*/ lw.mem.n_layer(),
            /*.n_head        =*/ (int32_t) lw.ctx.get_model().hparams.n_head(),
            /*.n_tokens      =*/ lw.n_prompt,
            /*.n_kept        =*/ (int32_t) lw.tokens.size(),
            /*.il_next       =*/ lw.il_next,
            /*.n_groups      =*/ (int32_t) lw.mem.get_groups().size(),
            /*.kv_bytes      =*/ lw.mem.bytes(),
            /*.kv_bytes_peak =*/ lw.mem.bytes_peak(),
            /*.hidden_bytes  =*/ lw.hidden.bytes(),
            /*.n_grow        =*/ lw.mem.n_grow(),
        };
    });
}

int32_t llama_layerwise_get_layer(llama_context * ctx, int32_t il, llama_layerwise_layer * layer) {
    return guard(ctx, [&](llama_layerwise & lw) {
        if (layer == nullptr || il < 0 || il >= lw.mem.n_layer()) {
            invalid("there is no layer " + std::to_string(il));
        }

        const auto & hparams = lw.ctx.get_model().hparams;

        *layer = {};
        layer->n_head    = hparams.n_head(il);
        layer->n_head_kv = hparams.n_head_kv(il);
        layer->is_swa    = hparams.is_swa(il);

        const auto * group = lw.mem.group_of(il);
        const auto * kv    = group ? group->kv_of(il) : nullptr;

        if (kv) {
            layer->n_cells     = kv->get_cells(0).get_used();
            layer->n_cells_max = kv->get_size();
            layer->bytes       = llama_layerwise_kv::layer_bytes(*kv, il);
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
            invalid("there is no layer " + std::to_string(il) + " or no room for its positions");
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
    guard(ctx, [&](llama_layerwise & lw) {
        lw.progress           = callback;
        lw.progress_user_data = user_data;
    });
}

const char * llama_layerwise_error(const llama_context * ctx) {
    try {
        return llama_layerwise::get(const_cast<llama_context *>(ctx)).error.c_str();
    } catch (const std::exception &) {
        return g_error.c_str();
    }
}
