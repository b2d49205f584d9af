#include "layerwise-rows.h"

#include "layerwise-kv.h"

#include <cstring>
#include <new>
#include <stdexcept>

static constexpr size_t GRAPH_SIZE = 4; // two leafs and a node

void llama_layerwise_gather_rows(
        ggml_backend_t backend, ggml_tensor * src, ggml_tensor * dst, size_t n_bytes, const std::vector<int32_t> & rows) {
    const int64_t n_src = ggml_nbytes(src)/n_bytes;

    if (n_bytes % sizeof(int32_t) == 0) {
        ggml_context_ptr ctx_idxs = llama_layerwise_make_ctx(1);

        ggml_tensor * idxs = ggml_new_tensor_1d(ctx_idxs.get(), GGML_TYPE_I32, rows.size());

        ggml_init_params params = {
            /*.mem_size   =*/ 2*ggml_tensor_overhead() + ggml_graph_overhead_custom(GRAPH_SIZE, false),
            /*.mem_buffer =*/ nullptr,
            /*.no_alloc   =*/ true,
        };

        ggml_context_ptr ctx { ggml_init(params) };
        if (!ctx) {
            throw std::bad_alloc();
        }

        ggml_tensor * from = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_I32, n_bytes/sizeof(int32_t), n_src);
        ggml_tensor * to   = ggml_get_rows(ctx.get(), from, idxs);

        if (ggml_backend_supports_op(backend, to)) {
            ggml_backend_buffer_ptr buf { ggml_backend_alloc_ctx_tensors_from_buft(ctx_idxs.get(), ggml_backend_buffer_get_type(src->buffer)) };
            if (!buf) {
                throw std::bad_alloc();
            }
            ggml_backend_tensor_set(idxs, rows.data(), 0, ggml_nbytes(idxs));

            ggml_cgraph * gf = ggml_new_graph_custom(ctx.get(), GRAPH_SIZE, false);
            ggml_build_forward_expand(gf, to);

            if (ggml_backend_tensor_alloc(src->buffer, from, src->data) == GGML_STATUS_SUCCESS &&
                ggml_backend_tensor_alloc(dst->buffer, to,   dst->data) == GGML_STATUS_SUCCESS &&
                ggml_backend_graph_compute(backend, gf) == GGML_STATUS_SUCCESS) {
                return;
            }

            throw std::runtime_error("the backend failed to copy rows");
        }
    }

    std::vector<uint8_t> from(ggml_nbytes(src));
    std::vector<uint8_t> to(rows.size()*n_bytes);

    ggml_backend_tensor_get(src, from.data(), 0, from.size());
    for (size_t i = 0; i < rows.size(); ++i) {
        memcpy(to.data() + i*n_bytes, from.data() + rows[i]*n_bytes, n_bytes);
    }
    ggml_backend_tensor_set(dst, to.data(), 0, to.size());
}
