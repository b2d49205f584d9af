#include "layerwise-scores.h"

#include "layerwise-prefill.h"

#include "llama-graph.h"
#include "llama-hparams.h"

#include "ggml-backend.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>

static constexpr int32_t MAX_KERNEL = 4095;

ggml_tensor * llama_layerwise_add_rows(ggml_context * ctx, ggml_tensor * cur) {
    const auto rows = [ctx](ggml_tensor * t, int64_t i, int64_t n) {
        return ggml_view_3d(ctx, t, t->ne[0], n, t->ne[2], t->nb[1], t->nb[2], i*t->nb[1]);
    };

    ggml_tensor * odd = nullptr;

    while (cur->ne[1] > 1) {
        const int64_t n = cur->ne[1]/2;

        if (cur->ne[1] % 2 == 1) {
            ggml_tensor * last = rows(cur, 2*n, 1);
            odd = odd ? ggml_add(ctx, odd, last) : ggml_cont(ctx, last);
        }

        cur = ggml_add(ctx, rows(cur, 0, n), rows(cur, n, n));
    }

    return odd ? ggml_add(ctx, cur, odd) : cur;
}

// the numbers of the heads to look at
class heads_input : public llm_graph_input_i {
public:
    heads_input(ggml_tensor * idxs, const std::vector<int32_t> & heads) : idxs(idxs), heads(heads) {}

    void set_input(const llama_ubatch *) override {
        if (idxs->buffer) {
            ggml_backend_tensor_set(idxs, heads.data(), 0, ggml_nbytes(idxs));
        }
    }

private:
    ggml_tensor * idxs;

    const std::vector<int32_t> heads;
};

llama_layerwise_wanted llama_layerwise_wanted::each(const llama_hparams & hparams, int32_t il, int64_t n_cells) {
    llama_layerwise_wanted res;

    res.what.il      = il;
    res.what.scoring = LLAMA_LAYERWISE_SCORING_ATTENTION;

    res.n_heads    = hparams.n_head(il);
    res.n_cells    = n_cells;
    res.what.n_out = res.n_heads*n_cells;

    return res;
}

llama_layerwise_wanted llama_layerwise_wanted::largest(const llama_hparams & hparams, int32_t il) {
    llama_layerwise_wanted res;

    res.what.il        = il;
    res.what.scoring   = LLAMA_LAYERWISE_SCORING_ATTENTION;
    res.what.combining = LLAMA_LAYERWISE_COMBINING_MAX;
    res.what.kernel    = 3;
    res.what.n_out     = 1;

    res.n_heads = hparams.n_head(il);
    res.n_cells = 1;
    res.n_past  = 1;

    res.heads.resize(res.n_heads);
    std::iota(res.heads.begin(), res.heads.end(), 0);

    return res;
}

bool llama_layerwise_wanted::is_max_in_parts() const {
    return in_parts && what.combining == LLAMA_LAYERWISE_COMBINING_MAX;
}

int64_t llama_layerwise_wanted::n_out_cols() const {
    return what.combining == LLAMA_LAYERWISE_COMBINING_MAX ? n_past : n_cells;
}

ggml_tensor * llama_layerwise_wanted::combine(const llm_graph_context & g, ggml_tensor * sums) const {
    ggml_context * ctx = g.ctx0;

    if (what.n_out == 0) {
        return nullptr;
    }

    if (!heads.empty()) {
        ggml_tensor * idxs = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, heads.size());
        ggml_set_input(idxs);

        g.res->add_input(std::make_unique<heads_input>(idxs, heads));

        sums = ggml_get_rows(ctx, sums, idxs);
    }

    if (what.combining == LLAMA_LAYERWISE_COMBINING_SUM) {
        return llama_layerwise_add_rows(ctx, sums);
    }

    // a part has fewer columns than there are in the end, and comes to the host as it is
    if (in_parts) {
        return sums;
    }

    ggml_tensor * cur = ggml_cont(ctx, ggml_view_2d(ctx, sums, n_out_cols(), n_heads, sums->nb[1], 0));

    if (what.combining == LLAMA_LAYERWISE_COMBINING_EACH) {
        return cur;
    }

    if (what.kernel > 1) {
        cur = ggml_pool_2d(ctx, cur, GGML_OP_POOL_AVG, what.kernel, 1, 1, 1, what.kernel/2, 0);
    }

    ggml_tensor * max = ggml_pool_2d(ctx, cur, GGML_OP_POOL_MAX, 1, n_heads, 1, n_heads, 0, 0);

    // a maximum passes over numbers that are none; a sum does not, and attention that overflowed must be seen
    return ggml_add(ctx, max, ggml_scale(ctx, llama_layerwise_add_rows(ctx, cur), 0.0f));
}

static bool is_larger(float a, float b) {
    return a > b || a != a; // one that is no number stays
}

// out[i]: the largest of the rows, each averaged over the kernel's neighbours of i
static void max_of_averages(const float * rows, int64_t n_rows, int64_t n_cols, int64_t n_past, int32_t kernel, float * out) {
    const int64_t half = kernel/2;

    for (int64_t row = 0; row < n_rows; ++row) {
        const float * x = rows + row*n_cols;

        for (int64_t i = 0; i < n_past; ++i) {
            float sum = 0.0f;
            for (int64_t j = std::max<int64_t>(0, i - half); j < std::min(n_past, i + half + 1); ++j) {
                sum += x[j];
            }

            const float mean = sum/kernel;

            if (row == 0 || is_larger(mean, out[i])) {
                out[i] = mean;
            }
        }
    }
}

void llama_layerwise_wanted::add_part(float * dst) const {
    const int64_t n_cols = t->ne[0];

    std::vector<float> part(ggml_nelements(t));

    ggml_backend_tensor_get(t, part.data(), 0, part.size()*sizeof(float));

    for (int64_t row = 0; row < t->ne[1]; ++row) {
        for (int64_t i = 0; i < std::min(n_cols, n_cells); ++i) {
            dst[row*n_cells + i] += part[row*n_cols + i];
        }
    }
}

void llama_layerwise_wanted::read(bool is_first, bool is_last) {
    if (what.n_out == 0) {
        return;
    }

    if (t == nullptr) {
        llama_layerwise_fail(LLAMA_LAYERWISE_STATUS_UNSUPPORTED,
            "layer " + std::to_string(what.il) + " computes its attention in a way that gives no scores");
    }

    if (!in_parts) {
        ggml_backend_tensor_get(t, what.out, 0, what.n_out*sizeof(float));
        return;
    }

    if (is_first) {
        std::fill_n(what.out, what.n_out, 0.0f);
        rows.assign(is_max_in_parts() ? n_heads*n_cells : 0, 0.0f);
    }

    add_part(is_max_in_parts() ? rows.data() : what.out);

    if (is_last && is_max_in_parts()) {
        max_of_averages(rows.data(), n_heads, n_cells, n_past, what.kernel, what.out);
        rows = std::vector<float>();
    }
}

llama_layerwise_wanted llama_layerwise_wanted::of_contrast(int64_t n_seen) const {
    llama_layerwise_wanted res;

    res.what       = what;
    res.what.out   = what.contrast;
    res.what.n_out = what.n_contrast;
    res.heads      = heads;
    res.n_heads    = n_heads;
    res.n_cells    = n_seen;
    res.n_past     = n_seen;

    return res;
}

bool llama_layerwise_gives_scores(const llama_hparams & hparams, int32_t il) {
    return !hparams.is_swa(il) && hparams.n_embd_k_gqa(il) > 0;
}

static void check_heads(const llama_layerwise_scores & what, int64_t n_head) {
    if (what.n_heads < 0 || (what.n_heads > 0 && what.heads == nullptr)) {
        llama_layerwise_invalid("heads is NULL, or their number is negative");
    }
    for (int32_t i = 0; i < what.n_heads; ++i) {
        if (what.heads[i] < 0 || what.heads[i] >= n_head || (i > 0 && what.heads[i] <= what.heads[i - 1])) {
            llama_layerwise_invalid("the heads of layer " + std::to_string(what.il) + " must be strictly increasing, from 0 to "
                + std::to_string(n_head - 1));
        }
    }
}

static void check_combining(const llama_layerwise_scores & what) {
    if (what.scoring != LLAMA_LAYERWISE_SCORING_ATTENTION && what.scoring != LLAMA_LAYERWISE_SCORING_PRODUCTS) {
        llama_layerwise_invalid("there is no scoring " + std::to_string(what.scoring));
    }
    if (what.combining < LLAMA_LAYERWISE_COMBINING_EACH || what.combining > LLAMA_LAYERWISE_COMBINING_MAX) {
        llama_layerwise_invalid("heads cannot be combined by " + std::to_string(what.combining));
    }
    if (what.combining == LLAMA_LAYERWISE_COMBINING_MAX
        && (what.kernel < 1 || what.kernel > MAX_KERNEL || what.kernel % 2 == 0)) {
        llama_layerwise_invalid("the kernel must be odd, from 1 to " + std::to_string(MAX_KERNEL) + ", not "
            + std::to_string(what.kernel));
    }
}

std::vector<llama_layerwise_wanted> llama_layerwise_check_scores(
        const llama_hparams & hparams, const llama_layerwise_scores * scores, int32_t n_scores, int32_t il_begin,
        int32_t il_end, int64_t n_cells, int64_t n_window, int64_t n_seen, bool in_parts) {
    if (n_scores < 0 || (n_scores > 0 && scores == nullptr)) {
        llama_layerwise_invalid("scores is NULL, or their number is negative");
    }

    std::vector<llama_layerwise_wanted> res;

    for (int32_t i = 0; i < n_scores; ++i) {
        const auto & what = scores[i];

        const std::string layer = "layer " + std::to_string(what.il);

        if (what.il < il_begin || what.il >= il_end || (i > 0 && what.il <= scores[i - 1].il)) {
            llama_layerwise_invalid("scores are asked for in the order of the layers that run, once each: not of " + layer);
        }
        if (!llama_layerwise_gives_scores(hparams, what.il)) {
            llama_layerwise_invalid(layer + " gives no scores: it has a sliding window, or no attention");
        }

        check_combining(what);
        check_heads(what, hparams.n_head(what.il));

        llama_layerwise_wanted wanted;

        wanted.what     = what;
        wanted.heads    = std::vector<int32_t>(what.heads, what.heads + what.n_heads);
        wanted.n_heads  = what.n_heads > 0 ? what.n_heads : hparams.n_head(what.il);
        wanted.n_cells  = n_cells;
        wanted.n_past   = n_cells - n_window;
        wanted.in_parts = in_parts;

        const int64_t n_rows = what.combining == LLAMA_LAYERWISE_COMBINING_EACH ? wanted.n_heads : 1;
        const int64_t n_cols = what.combining == LLAMA_LAYERWISE_COMBINING_MAX  ? wanted.n_past  : n_cells;

        if ((what.out == nullptr && n_rows*n_cols > 0) || what.n_out != n_rows*n_cols) {
            llama_layerwise_invalid("the scores of " + layer + " need room for exactly " + std::to_string(n_rows*n_cols) + " floats");
        }

        const int64_t n_contrast = what.contrast ? n_rows*n_seen : 0;

        if (what.n_contrast != n_contrast || (what.contrast && n_seen == 0)) {
            llama_layerwise_invalid("the contrast's scores of " + layer + " need room for exactly " + std::to_string(n_contrast)
                + " floats, and a contrast");
        }

        res.push_back(std::move(wanted));
    }

    return res;
}
