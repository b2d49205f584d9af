// Random calls with random arguments, also from the progress callback, while another thread asks for the state. Whatever
// they return, nothing crashes, what is promised about the return values holds, and after an abort a correct prefill
// gives the right logits.
//
//     fuzz MODEL.gguf SEED N_STEPS

#include "bench.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

struct fuzz {
    fuzz(bench & b, uint64_t seed) : b(b), ctx(b.ctx), random(seed) {}

    bench         & b;
    llama_context * ctx;

    std::mt19937_64 random;

    bool within_run = false; // called from the progress callback
    bool meddled    = false; // which did something that may end the run

    int32_t n_window = 0; // of the last prefill

    int64_t n_calls[6] = {}; // by status
    int64_t n_compressed = 0;
    int64_t n_evicted    = 0;
    int64_t n_refilled   = 0;
    int64_t n_resumed    = 0;
    int64_t n_kept_first = 0;

    int32_t integer(int64_t low, int64_t high) { return low + (int64_t) (random() % (uint64_t) (high - low + 1)); }

    bool chance(double p) { return random() % 1000 < p*1000; }

    int32_t layer() { return integer(-2, b.n_layer + 1); }

    // checks what every call promises about its status
    int32_t call(const std::function<int32_t()> & f) {
        const auto before = b.info();
        const auto status = f();
        const auto after  = b.info();

        CHECK(status >= LLAMA_LAYERWISE_STATUS_OK && status <= LLAMA_LAYERWISE_STATUS_FAILED);
        n_calls[status]++;

        if (status == LLAMA_LAYERWISE_STATUS_INVALID) {
            CHECK(memcmp(&before, &after, sizeof(before)) == 0 || meddled);
        } else if (status != LLAMA_LAYERWISE_STATUS_OK) {
            CHECK(within_run || (after.n_tokens == 0 && after.n_groups == 0 && after.kv_bytes == 0 && after.hidden_bytes == 0));
        }

        return status;
    }

    // ---- the prefill ----

    void begin() {
        const int32_t n = chance(0.9) ? integer(0, 120) : integer(-3, 2*b.N_CTX);

        std::vector<int32_t> tokens(std::max(n, 0));
        for (auto & token : tokens) {
            token = integer(0, b.n_vocab - 1);
        }
        if (!tokens.empty() && chance(0.05)) {
            tokens[random() % tokens.size()] = chance(0.5) ? -integer(1, INT32_MAX) : integer(b.n_vocab, INT32_MAX);
        }

        if (chance(0.3)) {
            call([&] { return llama_layerwise_keep_hidden(ctx, chance(0.5)); });
        }

        const int32_t window   = chance(0.9) ? integer(1, 20) : integer(-3, 130);
        const int32_t headroom = chance(0.9) ? integer(0, 300) : chance(0.5) ? -1 : INT32_MAX;

        if (call([&] { return llama_layerwise_begin(ctx, chance(0.98) ? tokens.data() : nullptr, n, window, headroom); }) == LLAMA_LAYERWISE_STATUS_OK) {
            n_window = window;

            if (chance(0.3)) {
                contrast();
            }
            if (chance(0.3)) {
                keep_first();
            }
        }
    }

    void contrast() {
        const int32_t n = chance(0.9) ? integer(1, 12) : integer(-3, 2*b.N_CTX);

        std::vector<int32_t> tokens(std::max(n, 0));
        for (auto & token : tokens) {
            token = chance(0.99) ? integer(0, b.n_vocab - 1) : integer(INT32_MIN/2, INT32_MAX/2);
        }

        const int32_t n_seen = chance(0.9) ? b.info().n_tokens - integer(0, 20) : integer(INT32_MIN/2, INT32_MAX/2);

        call([&] { return llama_layerwise_contrast(ctx, n_seen, chance(0.98) ? tokens.data() : nullptr, n); });
    }

    static bool on_progress(int32_t, int32_t, int32_t, int32_t, void * user_data) {
        auto & f = *(fuzz *) user_data;

        if (f.chance(0.1)) {
            f.within_run = true;
            f.step();
            f.within_run = false;
        }

        return !f.chance(0.01);
    }

    // scores that may be asked for, nearly always, each in room of exactly its size
    struct asked {
        std::vector<llama_layerwise_scores> scores;
        std::vector<std::vector<float>>     out;
        std::vector<std::vector<float>>     contrast;
        std::vector<std::vector<int32_t>>   heads;
    };

    asked ask(int32_t begin, int32_t end) {
        asked res;

        const auto info = b.info();

        for (int32_t il = std::max(begin, 0); il < std::min(end, b.n_layer); ++il) {
            if (chance(0.3) || (b.layers[il].n_swa > 0 && chance(0.95))) {
                continue;
            }

            llama_layerwise_scores s = {};

            s.il        = chance(0.98) ? il : layer();
            s.scoring   = chance(0.98) ? integer(1, 2) : integer(-5, 5);
            s.combining = chance(0.98) ? integer(0, 2) : integer(-5, 5);
            s.kernel    = chance(0.95) ? 2*integer(0, 5) + 1 : integer(INT32_MIN/2, INT32_MAX/2);

            std::vector<int32_t> heads;
            for (int32_t h = 0; h < b.layers[il].n_head; ++h) {
                if (chance(0.3)) {
                    heads.push_back(chance(0.98) ? h : integer(-2, 9));
                }
            }

            const int64_t n_rows = s.combining != LLAMA_LAYERWISE_COMBINING_EACH ? 1 : heads.empty() ? b.layers[il].n_head : (int64_t) heads.size();
            const int64_t n_cols = info.n_kept - (s.combining == LLAMA_LAYERWISE_COMBINING_MAX ? info.n_window : 0);

            res.out.emplace_back(chance(0.98) ? n_rows*n_cols : integer(0, 500));
            res.contrast.emplace_back(chance(0.98) ? n_rows*info.n_seen : integer(0, 500));
            res.heads.push_back(heads);

            s.n_heads = chance(0.99) ? (int32_t) heads.size() : integer(INT32_MIN/2, 0);
            s.n_out   = res.out.back().size();

            res.scores.push_back(s);
        }

        for (size_t i = 0; i < res.scores.size(); ++i) {
            res.scores[i].heads = chance(0.98) ? res.heads[i].data() : nullptr;
            res.scores[i].out   = chance(0.98) ? res.out[i].data()   : nullptr;

            if (!res.contrast[i].empty() && chance(0.7)) {
                res.scores[i].contrast   = res.contrast[i].data();
                res.scores[i].n_contrast = res.contrast[i].size();
            }
        }

        return res;
    }

    int32_t run_layers(int32_t begin, int32_t end) {
        const asked what = ask(begin, end);

        const bool    is_null = chance(0.01);
        const int32_t n       = chance(0.99) ? (int32_t) what.scores.size() : integer(INT32_MIN/2, 0);

        const int32_t status = call([&] { return llama_layerwise_run(ctx, begin, end, is_null ? nullptr : what.scores.data(), n); });

        for (size_t i = 0; i < what.out.size() && status == LLAMA_LAYERWISE_STATUS_OK && n > 0; ++i) {
            CHECK(std::none_of(what.out[i].begin(), what.out[i].end(), [](float x) { return x != x; }));
            CHECK(std::none_of(what.contrast[i].begin(), what.contrast[i].end(), [](float x) { return x != x; }));
        }

        return status;
    }

    void run() {
        const int32_t il_next = b.info().il_next;
        const int32_t begin   = chance(0.95) ? il_next : layer();
        const int32_t end     = begin + (chance(0.95) ? integer(1, 2) : integer(-2, b.n_layer + 1));

        if (!within_run) {
            meddled = chance(0.5);
            llama_layerwise_set_progress(ctx, meddled ? on_progress : nullptr, this);
        } else {
            llama_layerwise_set_progress(ctx, nullptr, nullptr); // in vain: the run goes on with the one it has
        }

        run_layers(begin, end);
        meddled = within_run;
    }

    // most of the present tokens, nearly always
    std::vector<int32_t> choose_positions() {
        const auto    info   = b.info();
        const int32_t window = chance(0.9) ? n_window : integer(0, 20);

        std::vector<int32_t> positions;
        for (int32_t i = 0; i < info.n_tokens; ++i) {
            if (i + window >= info.n_tokens || i % 3 != 0) { // the same each time, so that it can be done twice
                positions.push_back(i);
            }
        }
        if (!positions.empty() && chance(0.1)) {
            positions[random() % positions.size()] = chance(0.5) ? integer(-2, info.n_tokens + 1) : integer(INT32_MIN/2, INT32_MAX/2);
        }

        return positions;
    }

    void keep() {
        const auto positions = choose_positions();

        const int32_t n = chance(0.97) ? (int32_t) positions.size() : integer(INT32_MIN/2, 0);
        call([&] { return llama_layerwise_keep(ctx, chance(0.98) ? positions.data() : nullptr, n); });
    }

    // before the first layer: the contrast goes, and none can come afterwards
    void keep_first() {
        const auto positions = choose_positions();

        if (call([&] { return llama_layerwise_keep(ctx, positions.data(), positions.size()); }) != LLAMA_LAYERWISE_STATUS_OK || within_run) {
            return;
        }

        const auto info = b.info();
        CHECK(info.n_kept == (int32_t) positions.size() && info.kv_bytes == 0 && info.hidden_bytes == 0);

        const int32_t token = 5;
        if (info.n_kept < info.n_tokens) {
            CHECK(info.n_seen == 0 && llama_layerwise_contrast(ctx, info.n_tokens, &token, 1) == LLAMA_LAYERWISE_STATUS_INVALID);
        }
        if (chance(0.5) && call([&] { return llama_layerwise_run(ctx, 0, b.n_layer, nullptr, 0); }) == LLAMA_LAYERWISE_STATUS_OK) {
            CHECK(call([&] { return llama_layerwise_end(ctx); }) == LLAMA_LAYERWISE_STATUS_OK);

            for (int32_t il = 0; il < b.n_layer; ++il) {
                llama_layerwise_layer layer;
                CHECK(llama_layerwise_get_layer(ctx, il, &layer) == LLAMA_LAYERWISE_STATUS_OK && layer.n_cells <= info.n_kept);
            }
            n_kept_first++;
        }
    }

    void evict() {
        const auto positions = choose_positions();

        const int32_t n = chance(0.97) ? (int32_t) positions.size() : integer(INT32_MIN/2, 0);

        n_evicted += call([&] {
            return llama_layerwise_evict(ctx, chance(0.98) ? positions.data() : nullptr, n, chance(0.5));
        }) == LLAMA_LAYERWISE_STATUS_OK;
    }

    void release() {
        const int32_t il = chance(0.9) ? b.info().il_next - 1 : layer();

        llama_layerwise_layer found = {};
        if (il >= 0 && il < b.n_layer) {
            CHECK(llama_layerwise_get_layer(ctx, il, &found) == LLAMA_LAYERWISE_STATUS_OK);
        }
        if (call([&] { return llama_layerwise_release(ctx, il); }) != LLAMA_LAYERWISE_STATUS_OK || chance(0.1)) {
            return;
        }

        // or the prefill cannot end
        const auto positions = choose_positions();

        const int64_t n     = positions.size();
        const int     extra = chance(0.03) ? 1 : 0;

        const std::vector<uint8_t> k(n*found.k_bytes + 1);
        const std::vector<uint8_t> v(n*found.v_bytes + 1);

        n_refilled += call([&] {
            return llama_layerwise_refill(ctx, chance(0.97) ? il : layer(), chance(0.98) ? positions.data() : nullptr, n,
                    chance(0.98) ? k.data() : nullptr, n*found.k_bytes + extra, v.data(), n*found.v_bytes);
        }) == LLAMA_LAYERWISE_STATUS_OK;
    }

    void compress() {
        const auto    info   = b.info();
        const int32_t il     = chance(0.9) ? info.il_next - 1 : layer();
        const bool    exists = il >= 0 && il < b.n_layer;

        // as many heads and tokens as the layer has, nearly always
        const int32_t n_head_kv = exists && chance(0.95) ? b.layers[il].n_head_kv : integer(-1, 5);
        const int32_t n_tokens  = chance(0.95) ? info.n_kept : integer(0, 2*b.N_CTX);
        const int32_t n_window  = std::min(chance(0.9) ? this->n_window : integer(1, 24), n_tokens);
        const int32_t n_cells   = chance(0.95) ? integer(n_window, n_tokens) : integer(-2, n_tokens + 2);

        std::vector<int32_t> cells;
        if (n_cells >= n_window && n_cells <= n_tokens) {
            cells = choose(std::max(n_head_kv, 0), n_cells, n_tokens, n_window, random());
        } else {
            cells.resize(std::max(n_head_kv, 0)*std::max(n_cells, 0));
        }
        if (!cells.empty() && chance(0.3)) {
            // the ends are where a wrong one keeps the order
            const size_t i = chance(0.3) ? random() % cells.size() : chance(0.5) ? 0 : cells.size() - 1;

            cells[i] = chance(0.5) ? integer(-2, n_tokens + 1) : integer(INT32_MIN/2, INT32_MAX/2);
        }

        n_compressed += call([&] {
            return llama_layerwise_compress(ctx, il, chance(0.98) ? cells.data() : nullptr, n_head_kv, n_cells);
        }) == LLAMA_LAYERWISE_STATUS_OK;
    }

    void hold() {
        const int32_t n = chance(0.9) ? integer(1, std::max(b.info().n_tokens, 1)) : integer(INT32_MIN/2, INT32_MAX/2);

        if (call([&] { return llama_layerwise_hold(ctx, n); }) != LLAMA_LAYERWISE_STATUS_OK || within_run || chance(0.3)) {
            return;
        }

        // to the end, so that a prompt can start from it
        if (call([&] { return llama_layerwise_run(ctx, b.info().il_next, b.n_layer, nullptr, 0); }) == LLAMA_LAYERWISE_STATUS_OK) {
            call([&] { return llama_layerwise_end(ctx); });
        }
    }

    void resume() {
        const auto    info   = b.info();
        const int32_t n_held = chance(0.9) ? info.n_held - integer(0, 2) : integer(-2, 2*b.N_CTX);
        const int32_t n      = chance(0.9) ? integer(24, 60) : integer(-1, b.N_CTX);

        std::vector<int32_t> tokens(std::max(n, 0));
        for (auto & token : tokens) {
            token = integer(3, 250);
        }

        const int32_t status = call([&] {
            return llama_layerwise_resume(ctx, n_held, chance(0.98) ? tokens.data() : nullptr, n, chance(0.9) ? 16 : integer(-1, 70), integer(0, 20));
        });
        n_resumed += status == LLAMA_LAYERWISE_STATUS_OK;

        if (status == LLAMA_LAYERWISE_STATUS_OK && chance(0.9)) {
            n_window = 16;
            const int32_t middle = chance(0.5) ? integer(0, info.il_held) : info.il_held;

            run_layers(0, middle);
            run_layers(middle, info.il_held);
        }
    }

    // ---- documents that were put away ----

    struct document {
        int32_t il = 0;

        std::vector<int32_t>              tokens;
        std::vector<float>                hidden;
        std::vector<std::vector<uint8_t>> k, v;
    };

    document copied;
    int64_t  n_restored = 0;

    // the first layers of the prefill in progress, or of the held document, as far as they can be read
    void copy_out() {
        const auto    info = b.info();
        const int32_t n    = std::min(info.n_tokens > 0 ? info.n_tokens : info.n_held, chance(0.9) ? 60 : 2*b.N_CTX);
        const int32_t il   = info.n_tokens > 0 ? info.il_next : info.il_held;

        document doc;
        for (doc.il = 0; doc.il < il; ++doc.il) {
            llama_layerwise_layer layer;
            CHECK(llama_layerwise_get_layer(ctx, doc.il, &layer) == LLAMA_LAYERWISE_STATUS_OK);

            std::vector<uint8_t> k(std::max(n, 0)*layer.k_bytes + (chance(0.01) ? 1 : 0));
            std::vector<uint8_t> v(std::max(n, 0)*layer.v_bytes);

            const int32_t first = chance(0.98) ? 0 : integer(-2, 200);
            if (call([&] { return llama_layerwise_get_kv(ctx, doc.il, first, n, k.data(), k.size(), v.data(), v.size()); }) != LLAMA_LAYERWISE_STATUS_OK) {
                return;
            }
            doc.k.push_back(k);
            doc.v.push_back(v);
        }
        if (doc.il == 0) {
            return;
        }
        if (doc.il < b.n_layer) {
            doc.hidden.resize(n*llama_model_n_embd(b.model) + (chance(0.02) ? 1 : 0));
            if (call([&] { return llama_layerwise_get_hidden(ctx, n, doc.hidden.data(), doc.hidden.size()); }) != LLAMA_LAYERWISE_STATUS_OK) {
                return;
            }
        }
        for (int32_t i = 0; i < n; ++i) {
            doc.tokens.push_back(integer(3, 250));
        }
        copied = doc;
    }

    void put_back() {
        if (within_run || copied.tokens.empty()) {
            return;
        }
        if (chance(0.7)) {
            llama_layerwise_abort(ctx);
        }

        const int32_t n        = copied.tokens.size();
        const int32_t n_hidden = copied.hidden.size() + (chance(0.03) ? integer(-1, 1) : 0);
        const int32_t il       = chance(0.95) ? copied.il : layer();

        auto hidden = copied.hidden;
        hidden.resize(std::max(n_hidden, 0));

        if (call([&] { return llama_layerwise_restore(ctx, copied.tokens.data(), n, il, hidden.empty() ? nullptr : hidden.data(), hidden.size()); }) != LLAMA_LAYERWISE_STATUS_OK) {
            return;
        }

        std::vector<int32_t> tokens(30, 5);
        if (call([&] { return llama_layerwise_resume(ctx, chance(0.9) ? n : integer(1, n), tokens.data(), tokens.size(), 16, 8); }) != LLAMA_LAYERWISE_STATUS_OK) {
            return;
        }
        n_window = 16;

        const int32_t n_before = b.info().n_held;

        for (int32_t i = 0; i < copied.il; ++i) {
            const size_t row_k = copied.k[i].size()/n;
            const size_t row_v = copied.v[i].size()/n;
            const int    extra = chance(0.01) ? 1 : 0;

            call([&] { return llama_layerwise_put_kv(ctx, chance(0.98) ? i : layer(), chance(0.98) ? 0 : integer(-2, 99),
                    copied.k[i].data(), n_before*row_k - extra, copied.v[i].data(), n_before*row_v); });

            if (run_layers(i, i + 1) != LLAMA_LAYERWISE_STATUS_OK) {
                return;
            }
            if (chance(0.1)) {
                compress();
            }
        }
        n_restored++;
    }

    // with tokens that were decoded behind it, or never were
    void hold_more() {
        std::vector<int32_t> tokens(integer(0, 6), 5);

        call([&] { return llama_layerwise_hold_more(ctx, chance(0.95) ? tokens.data() : nullptr, tokens.size()); });
    }

    // the held document alone, or one whose first layers are nowhere
    void deepen() {
        if (!within_run && !copied.hidden.empty() && chance(0.2)) {
            call([&] { return llama_layerwise_restore(ctx, copied.tokens.data(), copied.tokens.size(), copied.il, copied.hidden.data(), copied.hidden.size()); });
        }
        if (call([&] { return llama_layerwise_deepen(ctx, chance(0.9) ? integer(0, 20) : integer(INT32_MIN/2, INT32_MAX/2)); }) != LLAMA_LAYERWISE_STATUS_OK) {
            return;
        }
        n_window = 1;

        while (b.info().il_next < b.n_layer && chance(0.9)) {
            const int32_t il = b.info().il_next;

            if (run_layers(il, il + 1) != LLAMA_LAYERWISE_STATUS_OK || call([&] { return llama_layerwise_hold(ctx, b.info().n_tokens); }) != LLAMA_LAYERWISE_STATUS_OK) {
                return;
            }
        }
    }

    void park() {
        const int32_t id = integer(-1, 3);

        switch (integer(0, 2)) {
            case 0: call([&] { return llama_layerwise_park  (ctx, id); }); break;
            case 1: call([&] { return llama_layerwise_unpark(ctx, id); }); break;
            case 2: call([&] { return llama_layerwise_drop  (ctx, id); }); break;
        }

        const auto info = b.info();
        CHECK((info.n_parked == 0) == (info.parked_bytes == 0));
    }

    void end() {
        if (b.info().il_next < b.n_layer && chance(0.8)) {
            return;
        }

        call([&] { return llama_layerwise_end(ctx); });
    }

    void stop() {
        llama_layerwise_abort(ctx);
        CHECK(within_run || b.info().kv_bytes == 0);
    }

    // ---- what can be asked ----

    void look() {
        const int32_t il = layer();

        llama_layerwise_layer layer;
        call([&] { return llama_layerwise_get_layer(ctx, il, chance(0.95) ? &layer : nullptr); });
        call([&] { return llama_layerwise_get_info(ctx, nullptr); });

        const int32_t n_out = integer(-1, 300);
        std::vector<int32_t> out(std::max(n_out, 0));
        const int32_t n = llama_layerwise_get_positions(ctx, il, chance(0.95) ? out.data() : nullptr, n_out);
        CHECK(n >= -1 && n <= b.N_CTX);

        uint64_t bytes = 0;
        for (int32_t i = 0; i < b.n_layer; ++i) {
            CHECK(llama_layerwise_get_layer(ctx, i, &layer) == LLAMA_LAYERWISE_STATUS_OK);
            CHECK(layer.n_cells <= layer.n_cells_max);
            bytes += layer.bytes;
        }
        CHECK(bytes == b.info().kv_bytes && bytes == llama_layerwise_kv_bytes(ctx));
        CHECK(llama_layerwise_error(ctx) != nullptr);
    }

    void without_context() {
        int32_t data[4] = {};

        CHECK(llama_layerwise_begin   (nullptr, data, 4, 1, 0) == LLAMA_LAYERWISE_STATUS_INVALID);
        CHECK(llama_layerwise_keep_hidden(nullptr, true)       == LLAMA_LAYERWISE_STATUS_INVALID);
        CHECK(llama_layerwise_run     (nullptr, 0, 1, nullptr, 0)       == LLAMA_LAYERWISE_STATUS_INVALID);
        CHECK(llama_layerwise_keep    (nullptr, data, 4)       == LLAMA_LAYERWISE_STATUS_INVALID);
        CHECK(llama_layerwise_compress(nullptr, 0, data, 1, 4) == LLAMA_LAYERWISE_STATUS_INVALID);
        CHECK(llama_layerwise_evict   (nullptr, data, 4, true) == LLAMA_LAYERWISE_STATUS_INVALID);
        CHECK(llama_layerwise_release (nullptr, 0)             == LLAMA_LAYERWISE_STATUS_INVALID);
        CHECK(llama_layerwise_refill  (nullptr, 0, data, 4, data, 4, data, 4) == LLAMA_LAYERWISE_STATUS_INVALID);
        CHECK(llama_layerwise_end     (nullptr)                == LLAMA_LAYERWISE_STATUS_INVALID);
        CHECK(llama_layerwise_get_positions(nullptr, 0, data, 4) == -1);
        CHECK(llama_layerwise_kv_bytes(nullptr) == 0);
        llama_layerwise_abort(nullptr);
        llama_layerwise_set_progress(nullptr, nullptr, nullptr);
        CHECK(strlen(llama_layerwise_error(nullptr)) > 0);

        llama_layerwise_shape shape;
        CHECK(llama_layerwise_model_layer(b.model, layer() + 2*b.n_layer, &shape) == LLAMA_LAYERWISE_STATUS_INVALID);
    }

    void check() {
        call([&] { return llama_layerwise_check(ctx); });
    }

    // ---- llama.cpp's own functions on the same context ----

    void decode() {
        const bool    prefilling = b.info().n_tokens > 0;
        const int32_t n          = integer(1, chance(0.9) ? 40 : b.N_CTX);
        const int32_t pos        = llama_memory_seq_pos_max(b.memory(), 0) + (chance(0.9) ? 1 : integer(-30, 30));

        std::vector<int32_t> tokens(n);
        for (auto & token : tokens) {
            token = chance(0.999) ? integer(0, b.n_vocab - 1) : integer(-5, b.n_vocab + 5);
        }

        const int32_t status = ::decode(ctx, tokens.data(), n, pos);
        CHECK(prefilling ? status != 0 : status <= 1);
    }

    void make_room() {
        const auto before = b.info();

        const int32_t n        = chance(0.9) ? integer(0, 200) : integer(INT32_MIN/2, INT32_MAX/2);
        const int32_t headroom = chance(0.9) ? integer(0, 300) : chance(0.5) ? -1 : INT32_MAX;

        if (call([&] { return llama_layerwise_make_room(ctx, n, headroom); }) == LLAMA_LAYERWISE_STATUS_OK) {
            CHECK(b.info().n_held == before.n_held && b.info().n_groups >= before.n_groups);
        }
    }

    void move() {
        auto * mem = b.memory();

        const llama_pos p0 = integer(-1, 200);
        const llama_pos p1 = integer(-1, 300);

        switch (integer(0, 6)) {
            case 0: llama_memory_seq_rm  (mem, integer(-1, 0), p0, p1);                break;
            case 1: llama_memory_seq_rm  (mem, 0, p0, -1);                             break;
            case 2: llama_memory_seq_keep(mem, 0);                                     break;
            case 3: llama_memory_seq_cp  (mem, 0, 0, p0, p1);                          break;
            case 4: if (llama_memory_can_shift(mem)) { llama_memory_seq_add(mem, 0, p0, p1, integer(-20, 20)); } break;
            case 5: if (llama_memory_can_shift(mem)) { llama_memory_seq_div(mem, 0, p0, p1, integer(1, 3)); }    break;
            case 6: llama_memory_clear   (mem, chance(0.5));                           break;
        }

        CHECK(llama_memory_seq_pos_min(mem, 0) <= llama_memory_seq_pos_max(mem, 0));
    }

    void state() {
        auto data = b.state();

        if (chance(0.5)) {
            data[sizeof(uint32_t) + random() % (data.size() - sizeof(uint32_t))] ^= 1u << random() % 8;
        }
        if (chance(0.5)) {
            data.resize(random() % data.size());
        }

        llama_state_set_data(ctx, data.data(), data.size());
    }

    void embeddings() {
        if (within_run) {
            return;
        }

        llama_set_embeddings(ctx, true);
        const int32_t status = call([&] { return llama_layerwise_begin(ctx, b.tokens.data(), 20, 4, 0); });
        CHECK(status == LLAMA_LAYERWISE_STATUS_UNSUPPORTED || status == LLAMA_LAYERWISE_STATUS_INVALID);
        llama_set_embeddings(ctx, false);
    }

    void abort_callback() {
        if (within_run) {
            return;
        }

        static int32_t n_left;
        n_left = integer(0, 200);

        llama_set_abort_callback(ctx, [](void *) { return --n_left < 0; }, nullptr);
        run();
        llama_set_abort_callback(ctx, nullptr, nullptr);
    }

    // ---- all together ----

    void step() {
        static const std::vector<std::pair<int32_t, void (fuzz::*)()>> calls = {
            { 32, &fuzz::run    }, {  4, &fuzz::begin }, { 11, &fuzz::keep  }, { 30, &fuzz::compress        },
            {  9, &fuzz::end    }, {  2, &fuzz::stop  }, {  3, &fuzz::look  }, {  1, &fuzz::without_context },
            {  1, &fuzz::check  }, {  4, &fuzz::decode}, {  2, &fuzz::move  },
            {  1, &fuzz::state  }, {  1, &fuzz::embeddings }, { 1, &fuzz::abort_callback },
            {  4, &fuzz::hold   }, {  4, &fuzz::resume}, { 3, &fuzz::copy_out }, { 2, &fuzz::put_back }, { 2, &fuzz::park },
            {  2, &fuzz::make_room }, { 4, &fuzz::contrast }, { 3, &fuzz::evict }, { 6, &fuzz::release }, { 2, &fuzz::deepen }, { 3, &fuzz::hold_more },
        }; // weights, 137 in all

        // without a prefill most of them are refused
        if (b.info().n_tokens == 0 && chance(0.5)) {
            b.info().n_held > 0 && chance(0.5) ? resume() : begin();
            return;
        }

        int32_t left = integer(0, 136);
        for (const auto & [weight, f] : calls) {
            left -= weight;
            if (left < 0) {
                (this->*f)();
                return;
            }
        }
    }

    void steps(int32_t n_steps) {
        for (int32_t i = 0; i < n_steps; ++i) {
            step();
            if (i % 100 == 99) {
                b.check_usable();
            }
        }
        b.check_usable();
    }
};

// another thread that asks for the state all the time, as a progress display does
struct poller {
    explicit poller(const bench & b) : thread([this, &b] {
        while (!done) {
            CHECK(b.info().n_layer == b.n_layer);

            for (int32_t il = 0; il < b.n_layer; ++il) {
                llama_layerwise_layer layer;
                CHECK(llama_layerwise_get_layer(b.ctx, il, &layer) == LLAMA_LAYERWISE_STATUS_OK && layer.n_cells <= layer.n_cells_max);
            }

            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    }) {}

    ~poller() {
        done = true;
        thread.join();
    }

    std::atomic<bool> done { false };
    std::thread       thread;
};

int main(int argc, char ** argv) {
    CHECK(argc == 4);

    const int seed    = atoi(argv[2]);
    const int n_steps = atoi(argv[3]);

    bench b(argv[1], layout(seed));
    fuzz  f(b, seed);
    {
        const poller asking(b);
        f.steps(n_steps);
    }

    fprintf(stderr, "%s: %d steps, %lld layers compressed, %lld refilled, %lld prompts evicted, %lld prompts from held tokens, %lld from the host, %lld chosen first; statuses:",
            argv[1], n_steps, (long long) f.n_compressed, (long long) f.n_refilled, (long long) f.n_evicted, (long long) f.n_resumed, (long long) f.n_restored, (long long) f.n_kept_first);
    for (const int64_t n : f.n_calls) {
        fprintf(stderr, " %lld", (long long) n);
    }
    fprintf(stderr, "\n");

    // neither all refused nor all accepted
    CHECK(f.n_calls[LLAMA_LAYERWISE_STATUS_OK] > n_steps/5 && f.n_calls[LLAMA_LAYERWISE_STATUS_INVALID] > n_steps/20);
    CHECK(f.n_compressed > n_steps/250 || !b.how.flash_attn);
    CHECK(f.n_kept_first > 0 || n_steps < 2000);
    CHECK((f.n_evicted > 0 && f.n_refilled > 0) || !b.how.flash_attn || n_steps < 2000);
}
