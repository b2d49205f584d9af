#include "layerwise-kv.h"

#include <algorithm>
#include <cmath>

template<typename T>
static void fill_rows(T * data, T keep, T drop, int64_t n_kv, const std::vector<int64_t> & n_seen) {
    for (size_t i = 0; i < n_seen.size(); ++i) {
        T * row = data + i*n_kv;

        std::fill(row,             row + n_seen[i], keep);
        std::fill(row + n_seen[i], row + n_kv,      drop);
    }
}

bool llama_layerwise_kv::set_input_kq_mask(const llama_kv_cache & kv, ggml_tensor * dst, const llama_ubatch & ubatch) {
    const auto & cells = kv.v_cells[0];

    const uint32_t n_used = cells.get_used();

    const bool is_plain = kv.n_seq_max == 1 && kv.swa_type == LLAMA_SWA_TYPE_NONE && !kv.hparams.use_alibi
        && !ubatch.is_pos_2d() && ubatch.n_tokens > 1;

    if (!is_plain || cells.used_max_p1() != n_used) {
        return false;
    }
    for (uint32_t j = 1; j < n_used; ++j) {
        if (cells.pos_get(j) <= cells.pos_get(j - 1)) {
            return false;
        }
    }

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
