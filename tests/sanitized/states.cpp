// Saved states, whole and damaged: a whole one gives the same logits, a damaged one is refused, and nothing crashes.
//
//     states MODEL.gguf LAYOUT

#include "bench.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>

// llama.cpp reads the name of the architecture before our part begins, and allocates what its length says
static constexpr size_t N_LENGTH = sizeof(uint32_t);

static constexpr size_t N_META = 6000; // where the cells are described

static size_t set(bench & b, const std::vector<uint8_t> & state, size_t size) {
    // of exactly this size, so that reading beyond it shows
    const std::vector<uint8_t> data(state.begin(), state.begin() + size);

    return llama_state_set_data(b.ctx, data.data(), data.size());
}

// a restored cache puts the next token into another cell of a sliding window, which are then summed in another order
static bool same(const bench & b, const std::vector<float> & x, const std::vector<float> & y) {
    float largest = 0.0f;
    float error   = 0.0f;

    for (size_t i = 0; i < x.size(); ++i) {
        largest = std::max(largest, std::fabs(y[i]));
        error   = std::max(error,   std::fabs(x[i] - y[i]));
    }

    const bool has_swa = std::any_of(b.layers.begin(), b.layers.end(), [](const auto & layer) { return layer.n_swa > 0; });

    return x.size() == y.size() && error <= (has_swa ? 0.01f*largest : 0.0f);
}

static void damage(bench & b, const std::vector<uint8_t> & state, std::mt19937_64 & random) {
    for (int i = 0; i < 200; ++i) {
        auto damaged = state;

        const size_t end = i % 2 ? state.size() : std::min(state.size(), N_META);
        damaged[N_LENGTH + random() % (end - N_LENGTH)] ^= 1u << random() % 8;
        CHECK(set(b, damaged, damaged.size()) == 0);
    }

    for (int i = 0; i < 100; ++i) {
        CHECK(set(b, state, random() % (i % 2 ? state.size() : std::min(state.size(), N_META))) == 0);
    }
    CHECK(set(b, state, state.size() - 1) == 0);
}

static void check_sequence(bench & b, const std::vector<float> & expected, std::mt19937_64 & random) {
    std::vector<uint8_t> state(llama_state_seq_get_size(b.ctx, 0));
    CHECK(llama_state_seq_get_data(b.ctx, state.data(), state.size(), 0) == state.size());

    llama_memory_clear(b.memory(), true);
    for (int i = 0; i < 50; ++i) {
        auto damaged = state;
        damaged[8 + random() % (state.size() - 8)] ^= 1u << random() % 8; // behind the sequence, which is not used
        CHECK(llama_state_seq_set_data(b.ctx, damaged.data(), damaged.size(), 0) == 0);
        CHECK(b.info().kv_bytes == 0);
    }

    // there is only one sequence
    for (const llama_seq_id seq_id : { 1, 300, -2 }) {
        CHECK(llama_state_seq_set_data(b.ctx, state.data(), state.size(), seq_id) == 0);
    }

    CHECK(llama_state_seq_set_data(b.ctx, state.data(), state.size(), 0) == state.size());
    CHECK(same(b, b.decode(), expected));
}

int main(int argc, char ** argv) {
    CHECK(argc == 3);

    bench b(argv[1], layout(atoi(argv[2])));
    std::mt19937_64 random(1);

    const auto empty = [&] {
        llama_layerwise_abort(b.ctx);
        return b.state();
    }();
    damage(b, empty, random);
    CHECK(set(b, empty, empty.size()) == empty.size());

    for (const auto how : { bench::PRUNED, bench::COMPRESSED, bench::CHOSEN_FIRST }) {
        b.prefill(how);

        const auto state    = b.state();
        const auto expected = b.decode();

        // smaller than the state: refused too
        std::vector<uint8_t> small(state.size()/2);
        CHECK(llama_state_get_data(b.ctx, small.data(), small.size()) == 0);

        damage(b, state, random);
        CHECK(set(b, state, state.size()) == state.size());
        CHECK(same(b, b.decode(), expected));

        CHECK(set(b, state, state.size()) == state.size());
        check_sequence(b, expected, random);

        // in the middle of a prefill: it ends
        CHECK(llama_layerwise_begin(b.ctx, b.tokens.data(), 50, 8, 0) == LLAMA_LAYERWISE_STATUS_OK);
        CHECK(llama_layerwise_run(b.ctx, 0, 1, nullptr, 0) == LLAMA_LAYERWISE_STATUS_OK);
        const auto unfinished = b.state();
        CHECK(set(b, state, state.size()) == state.size());
        CHECK(b.info().n_tokens == 0);
        CHECK(same(b, b.decode(), expected));
        CHECK(set(b, unfinished, unfinished.size()) == 0);

        b.check_usable();
    }
}
