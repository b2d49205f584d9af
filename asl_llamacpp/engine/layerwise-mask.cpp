#include "layerwise-mask.h"

#include "layerwise-kv.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <string>
#include <vector>

static constexpr int64_t COLS_PAD = 256; // as llama_kv_cache pads n_kv

static constexpr size_t MAX_COPY_BYTES = 4*1024*1024;

llama_layerwise_mask::llama_layerwise_mask(int64_t n_past, int64_t n_cells, int64_t n_rows) :
    n_past_max(GGML_PAD(n_cells, COLS_STEP) + n_past % COLS_STEP), n_rows_max(n_rows) {}

bool llama_layerwise_mask::covers(int64_t n_past, int64_t n_cells, int64_t n_rows) const {
    return n_past_max >= n_cells && n_rows_max >= n_rows && (n_past_max - n_past) % COLS_STEP == 0;
}

ggml_tensor * llama_layerwise_mask_copies::on(
        ggml_backend_buffer_type_t buft, const char * name, int64_t n_cols, int64_t n_rows,
        const std::function<void(int64_t i, ggml_fp16_t * row)> & fill) {
    auto & res = bufts[buft];

    if (res.t) {
        return res.t;
    }

    res.ctx = llama_layerwise_make_ctx(1);

    ggml_tensor * t = ggml_new_tensor_2d(res.ctx.get(), GGML_TYPE_F16, n_cols, n_rows);
    ggml_set_name(t, name);

    res.buf.reset(ggml_backend_alloc_ctx_tensors_from_buft(res.ctx.get(), buft));
    if (!res.buf) {
        throw std::bad_alloc();
    }

    const int64_t n_step = std::clamp<int64_t>(MAX_COPY_BYTES/t->nb[1], 1, n_rows);

    std::vector<ggml_fp16_t> rows(n_step*n_cols);

    for (int64_t i0 = 0; i0 < n_rows; i0 += n_step) {
        const int64_t n = std::min(n_step, n_rows - i0);

        for (int64_t i = 0; i < n; ++i) {
            fill(i0 + i, rows.data() + i*n_cols);
        }

        ggml_backend_tensor_set(t, rows.data(), i0*t->nb[1], n*t->nb[1]);
    }

    res.t = t;

    return t;
}

size_t llama_layerwise_mask_copies::bytes() const {
    size_t res = 0;

    for (const auto & [_, m] : bufts) {
        res += m.buf ? ggml_backend_buffer_get_size(m.buf.get()) : 0;
    }

    return res;
}

ggml_tensor * llama_layerwise_mask::on(ggml_backend_buffer_type_t buft) {
    const int64_t n_cols = GGML_PAD(n_past_max + n_rows_max + COLS_PAD, COLS_PAD);

    // every row is a part of the same one, one column further to the left than the row before
    std::vector<ggml_fp16_t> all(n_cols + n_rows_max, ggml_fp32_to_fp16(-INFINITY));
    std::fill_n(all.begin(), n_past_max + n_rows_max, ggml_fp32_to_fp16(0.0f));

    return copies.on(buft, "layerwise_mask", n_cols, n_rows_max, [&](int64_t i, ggml_fp16_t * row) {
        std::copy_n(all.begin() + n_rows_max - 1 - i, n_cols, row);
    });
}

ggml_tensor * llama_layerwise_contrast_mask::on(ggml_backend_buffer_type_t buft) {
    const int64_t n_cols = GGML_PAD(n_past + n, COLS_PAD);

    return copies.on(buft, "layerwise_contrast_mask", n_cols, n, [&](int64_t i, ggml_fp16_t * row) {
        std::fill_n(row, n_cols, ggml_fp32_to_fp16(-INFINITY));
        std::fill_n(row, n_seen, ggml_fp32_to_fp16(0.0f));
        std::fill_n(row + n_past, i + 1, ggml_fp32_to_fp16(0.0f));
    });
}

size_t llama_layerwise_mask::offset(int64_t n_past) const {
    return (n_past_max - n_past)*sizeof(ggml_fp16_t);
}

bool llama_layerwise_mask_may_stride(ggml_backend_buffer_type_t buft) {
    const auto dev = ggml_backend_buft_get_device(buft);

    if (dev == nullptr || ggml_backend_buft_is_host(buft)) {
        return true;
    }

    const std::string reg = ggml_backend_reg_name(ggml_backend_dev_backend_reg(dev));

    return reg == "CUDA" || reg == "ROCm" || reg == "MUSA" || reg == "MTL";
}

template<typename T>
static void fill_rows(T * data, T keep, T drop, int64_t n_kv, const std::vector<int64_t> & n_seen) {
    for (size_t i = 0; i < n_seen.size(); ++i) {
        T * row = data + i*n_kv;

        std::fill(row,             row + n_seen[i], keep);
        std::fill(row + n_seen[i], row + n_kv,      drop);
    }
}

bool llama_layerwise_kv::in_order(const llama_kv_cache & kv) {
    const auto & cells = kv.v_cells[0];

    const uint32_t n_used = cells.get_used();

    if (kv.n_seq_max != 1 || kv.swa_type != LLAMA_SWA_TYPE_NONE || kv.hparams.use_alibi
        || cells.used_max_p1() != n_used || kv.v_heads[0] != n_used) {
        return false;
    }
    for (uint32_t j = 1; j < n_used; ++j) {
        if (cells.pos_get(j) <= cells.pos_get(j - 1)) {
            return false;
        }
    }

    return true;
}

bool llama_layerwise_kv::set_input_kq_mask(const llama_kv_cache & kv, ggml_tensor * dst, const llama_ubatch & ubatch) {
    if (ubatch.is_pos_2d() || ubatch.n_tokens == 1 || !in_order(kv)) {
        return false;
    }

    const auto & cells = kv.v_cells[0];

    const uint32_t n_used = cells.get_used();

    const int64_t n_kv = dst->ne[0];

    // of each token: the number of cells that it attends to
    std::vector<int64_t> n_seen(ubatch.n_tokens);

    uint32_t j = 0;
    for (uint32_t i = 0; i < ubatch.n_tokens; ++i) {
        while (j > 0 && cells.pos_get(j - 1) > ubatch.pos[i]) {
            j--;
        }
        while (j < n_used && cells.pos_get(j) <= ubatch.pos[i]) {
            j++;
        }
        n_seen[i] = std::min<int64_t>(j, n_kv);
    }

    if (dst->type == GGML_TYPE_F16) {
        fill_rows((ggml_fp16_t *) dst->data, ggml_fp32_to_fp16(0.0f), ggml_fp32_to_fp16(-INFINITY), n_kv, n_seen);
    } else {
        fill_rows((float *) dst->data, 0.0f, -INFINITY, n_kv, n_seen);
    }

    return true;
}
