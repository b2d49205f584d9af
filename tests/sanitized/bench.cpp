#include "bench.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>

// any finding ends the process, whatever the environment
extern "C" const char * __asan_default_options() { return "abort_on_error=0:detect_stack_use_after_return=1"; }

extern "C" const char * __ubsan_default_options() { return "halt_on_error=1:print_stacktrace=1"; }

void check_failed(const char * what, const char * file, int line) {
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    abort();
}

layout::layout(uint32_t i) :
    flash_attn(i % 3 != 2), type_kv(i % 3 == 1 ? GGML_TYPE_Q8_0 : GGML_TYPE_F16), swa_full(i % N_LAYOUTS >= 3),
    n_ubatch(i % 2 ? 64 : 24) {}

bench::bench(const char * path, const layout & how) : how(how) {
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);

    auto mparams = llama_model_default_params();
    mparams.n_gpu_layers = 0;

    model = llama_model_load_from_file(path, mparams);
    CHECK(model != nullptr);

    auto cparams = llama_context_default_params();
    cparams.n_ctx           = N_CTX;
    cparams.n_batch         = N_CTX;
    cparams.n_ubatch        = how.n_ubatch;
    cparams.n_threads       = 1;
    cparams.n_threads_batch = 1;
    cparams.flash_attn_type = how.flash_attn ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    cparams.type_k          = how.type_kv;
    cparams.type_v          = how.type_kv;
    cparams.swa_full        = how.swa_full;

    llama_layerwise_defer_kv(true, false);
    ctx = llama_init_from_model(model, cparams);
    llama_layerwise_defer_kv(false, false);
    CHECK(ctx != nullptr);

    n_layer = llama_model_n_layer(model);
    n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));

    layers.resize(n_layer);
    for (int32_t il = 0; il < n_layer; ++il) {
        CHECK(llama_layerwise_model_layer(model, il, &layers[il]) == LLAMA_LAYERWISE_STATUS_OK);
    }

    std::mt19937 random(0);
    for (int32_t i = 0; i < N_PROMPT + N_DECODE; ++i) {
        tokens.push_back(3 + random() % (n_vocab - 3));
    }

    prefill();
    expected = decode();
}

bench::~bench() {
    llama_free(ctx);
    llama_model_free(model);
}

int32_t bench::keep_half(int32_t n) {
    const auto positions = choose(1, n/2, n, N_WINDOW, 99);

    CHECK(llama_layerwise_keep(ctx, positions.data(), n/2) == LLAMA_LAYERWISE_STATUS_OK);

    return n/2;
}

void bench::prefill(way how_pruned) {
    int32_t n = N_PROMPT;

    CHECK(llama_layerwise_begin(ctx, tokens.data(), n, N_WINDOW, 4) == LLAMA_LAYERWISE_STATUS_OK);

    if (how_pruned == CHOSEN_FIRST) {
        n = keep_half(n);
    }

    for (int32_t il = 0; il < n_layer; ++il) {
        const int64_t n_head = layers[il].n_head;
        const bool    scored = layers[il].n_swa == 0 && il % 3 > 0;

        std::vector<float> sums(n_head*n);

        const llama_layerwise_scores scores = { il, il % 3, LLAMA_LAYERWISE_COMBINING_EACH, 1, nullptr, 0, sums.data(), n_head*n, nullptr, 0 };

        CHECK(llama_layerwise_run(ctx, il, il + 1, &scores, scored ? 1 : 0) == LLAMA_LAYERWISE_STATUS_OK);

        if (how_pruned == COMPRESSED && how.flash_attn && layers[il].n_swa == 0) {
            const int32_t n_kept = n*2/3;
            const auto    cells  = choose(layers[il].n_head_kv, n_kept, n, N_WINDOW, il);

            CHECK(llama_layerwise_compress(ctx, il, cells.data(), layers[il].n_head_kv, n_kept) == LLAMA_LAYERWISE_STATUS_OK);
        }

        if (how_pruned != CHOSEN_FIRST && il == n_layer/2) {
            n = keep_half(n);
        }
    }

    CHECK(llama_layerwise_end(ctx) == LLAMA_LAYERWISE_STATUS_OK);
}

std::vector<float> bench::decode(int32_t n_past) {
    std::vector<float> res;

    for (int32_t i = 0; i < N_DECODE; ++i) {
        CHECK(::decode(ctx, &tokens[N_PROMPT + i], 1, n_past + i) == 0);

        const float * logits = llama_get_logits_ith(ctx, -1);
        res.insert(res.end(), logits, logits + n_vocab);
    }

    return res;
}

void bench::check_usable() {
    llama_layerwise_set_progress(ctx, nullptr, nullptr);
    llama_layerwise_abort(ctx);
    prefill();
    CHECK(decode() == expected);
}

llama_layerwise_info bench::info() const {
    llama_layerwise_info res;
    CHECK(llama_layerwise_get_info(ctx, &res) == LLAMA_LAYERWISE_STATUS_OK);

    return res;
}

std::vector<uint8_t> bench::state() const {
    std::vector<uint8_t> res(llama_state_get_size(ctx));
    CHECK(llama_state_get_data(ctx, res.data(), res.size()) == res.size());

    return res;
}

int32_t decode(llama_context * ctx, const int32_t * tokens, int32_t n, llama_pos pos0) {
    llama_batch batch = llama_batch_init(std::max(n, 1), 0, 1);

    batch.n_tokens = n;
    for (int32_t i = 0; i < n; ++i) {
        batch.token   [i]    = tokens[i];
        batch.pos     [i]    = pos0 + i;
        batch.n_seq_id[i]    = 1;
        batch.seq_id  [i][0] = 0;
        batch.logits  [i]    = i == n - 1;
    }

    const int32_t res = llama_decode(ctx, batch);
    llama_batch_free(batch);

    return res;
}

std::vector<int32_t> choose(int32_t n_rows, int32_t n_chosen, int32_t n_tokens, int32_t n_window, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<int32_t> res;

    for (int32_t row = 0; row < n_rows; ++row) {
        std::vector<int32_t> past(n_tokens - n_window);
        std::iota(past.begin(), past.end(), 0);
        std::shuffle(past.begin(), past.end(), random);
        std::sort(past.begin(), past.begin() + (n_chosen - n_window));

        res.insert(res.end(), past.begin(), past.begin() + (n_chosen - n_window));
        for (int32_t i = n_tokens - n_window; i < n_tokens; ++i) {
            res.push_back(i);
        }
    }

    return res;
}
