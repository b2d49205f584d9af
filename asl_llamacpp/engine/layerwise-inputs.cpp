#include "layerwise-inputs.h"

#include "layerwise-kv.h"

#include <algorithm>
#include <new>
#include <numeric>

// llm_graph_input_pos::set_input: the fourth number of a text token's position is 0
static std::vector<int32_t> pos_data(const std::vector<llama_pos> & pos, const std::vector<int64_t> & sizes, int64_t n_pos) {
    std::vector<int32_t> res;
    res.reserve(pos.size()*n_pos);

    int64_t i0 = 0;

    for (const int64_t n : sizes) {
        for (int64_t j = 0; j < n_pos; ++j) {
            if (j == 3) {
                res.insert(res.end(), n, 0);
            } else {
                res.insert(res.end(), pos.begin() + i0, pos.begin() + i0 + n);
            }
        }

        i0 += n;
    }

    return res;
}

llama_layerwise_inputs::llama_layerwise_inputs(
        ggml_backend_buffer_type_t buft, const std::vector<llama_pos> & pos_inp, int64_t n_past, const std::vector<int64_t> & sizes, int64_t n_pos) :
    n_pos(n_pos), ctx(llama_layerwise_make_ctx(2)), pos_host(pos_inp), n_past(n_past) {
    const int64_t n_tokens = pos_inp.size();

    pos  = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I32, n_pos*n_tokens);
    idxs = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I64, n_tokens);

    ggml_set_name(pos,  "layerwise_pos");
    ggml_set_name(idxs, "layerwise_idxs");

    buf.reset(ggml_backend_alloc_ctx_tensors_from_buft(ctx.get(), buft));
    if (!buf) {
        throw std::bad_alloc();
    }

    std::vector<int64_t> idxs_data(n_tokens);
    std::iota(idxs_data.begin(), idxs_data.end(), n_past);

    ggml_backend_tensor_set(pos,  pos_data(pos_inp, sizes, n_pos).data(), 0, ggml_nbytes(pos));
    ggml_backend_tensor_set(idxs, idxs_data.data(),                       0, ggml_nbytes(idxs));
}

bool llama_layerwise_inputs::are(ggml_backend_buffer_type_t buft, const std::vector<llama_pos> & pos_inp, int64_t n_past_inp) const {
    return buf && ggml_backend_buffer_get_type(buf.get()) == buft && n_past == n_past_inp && pos_host == pos_inp;
}
