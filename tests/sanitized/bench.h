#pragma once

// A context for the engine, and one pruned and compressed prefill on it whose logits are known.

#include "layerwise.h"
#include "llama.h"

#include <cstdint>
#include <string>
#include <vector>

// ends the process, with the location, unless the condition holds
#define CHECK(condition) \
    do { if (!(condition)) { check_failed(#condition, __FILE__, __LINE__); } } while (0)

[[noreturn]] void check_failed(const char * what, const char * file, int line);

// how a context is set up, one of N_LAYOUTS
struct layout {
    static constexpr uint32_t N_LAYOUTS = 6;

    explicit layout(uint32_t i);

    bool      flash_attn;
    ggml_type type_kv;
    bool      swa_full;
    int32_t   n_ubatch;
};

struct bench {
    static constexpr int32_t N_CTX    = 512;
    static constexpr int32_t N_PROMPT = 150;
    static constexpr int32_t N_WINDOW = 16;
    static constexpr int32_t N_DECODE = 3;

    bench(const char * path, const layout & how);
    ~bench();

    bench(const bench &) = delete;

    const layout how;

    llama_model   * model;
    llama_context * ctx;

    int32_t n_layer;
    int32_t n_vocab;

    std::vector<llama_layerwise_shape> layers;
    std::vector<int32_t>               tokens; // of the prompt and those decoded after it

    // half of the tokens go on from the middle; layers that can be are compressed too; or half of the tokens are all there are
    enum way { PRUNED, COMPRESSED, CHOSEN_FIRST };

    // the prefill, every layer on its own
    void prefill(way how_pruned = COMPRESSED);

    // logits after each token decoded behind what the context holds
    std::vector<float> decode(int32_t n_past = N_PROMPT);

    // an abort, then the prefill: the logits are what they were at first
    void check_usable();

    llama_memory_t memory() const { return llama_get_memory(ctx); }

    llama_layerwise_info info() const;

    std::vector<uint8_t> state() const;

private:
    std::vector<float> expected;

    // returns how many
    int32_t keep_half(int32_t n);
};

// llama_decode of n tokens at pos0 and after; the last one's logits are kept
int32_t decode(llama_context * ctx, const int32_t * tokens, int32_t n, llama_pos pos0);

// as a selection would choose: for each row strictly increasing indices below n_tokens, n_window of them at the end
std::vector<int32_t> choose(int32_t n_rows, int32_t n_chosen, int32_t n_tokens, int32_t n_window, uint64_t seed);
