#include "layerwise-rows.h"

#include "layerwise-kv.h"

#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

static constexpr size_t GRAPH_SIZE = 4; // two leafs and a node

// a graph of rows as integers: from the first leaf, by the indices in the second, which lie in memory of their own
struct gather_graph {
    gather_graph(size_t n_bytes, int64_t n_src, int64_t n_rows) : ctx_idxs(llama_layerwise_make_ctx(1)) {
        ggml_init_params params = {
            /*.mem_size   =*/ 2*ggml_tensor_overhead() + ggml_graph_overhead_custom(GRAPH_SIZE, false),
            /*.mem_buffer =*/ nullptr,
            /*.no_alloc   =*/ true,
        };

        ctx.reset(ggml_init(params));
        if (!ctx) {
            throw std::bad_alloc();
        }

        idxs = ggml_new_tensor_1d(ctx_idxs.get(), GGML_TYPE_I32, n_rows);
        from = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_I32, n_bytes/sizeof(int32_t), n_src);
        to   = ggml_get_rows(ctx.get(), from, idxs);
    }

    ggml_context_ptr ctx_idxs;
    ggml_context_ptr ctx;

    ggml_tensor * idxs;
    ggml_tensor * from;
    ggml_tensor * to;
};

bool llama_layerwise_gathers_rows(ggml_backend_t backend, size_t n_bytes) {
    return n_bytes % sizeof(int32_t) == 0 && ggml_backend_supports_op(backend, gather_graph(n_bytes, 1, 1).to);
}

static void gather_on_device(
        ggml_backend_t backend, ggml_tensor * src, ggml_tensor * dst, size_t n_bytes, const std::vector<int32_t> & rows) {
    gather_graph g(n_bytes, ggml_nbytes(src)/n_bytes, rows.size());

    ggml_backend_buffer_ptr buf { ggml_backend_alloc_ctx_tensors_from_buft(g.ctx_idxs.get(), ggml_backend_buffer_get_type(src->buffer)) };
    if (!buf) {
        throw std::bad_alloc();
    }
    ggml_backend_tensor_set(g.idxs, rows.data(), 0, ggml_nbytes(g.idxs));

    ggml_cgraph * gf = ggml_new_graph_custom(g.ctx.get(), GRAPH_SIZE, false);
    ggml_build_forward_expand(gf, g.to);

    if (ggml_backend_tensor_alloc(src->buffer, g.from, src->data) != GGML_STATUS_SUCCESS ||
        ggml_backend_tensor_alloc(dst->buffer, g.to,   dst->data) != GGML_STATUS_SUCCESS ||
        ggml_backend_graph_compute(backend, gf) != GGML_STATUS_SUCCESS) {
        throw std::runtime_error("the backend failed to copy rows");
    }
}

void llama_layerwise_gather_rows(
        ggml_backend_t backend, ggml_tensor * src, ggml_tensor * dst, size_t n_bytes, const std::vector<int32_t> & rows) {
    if (llama_layerwise_gathers_rows(backend, n_bytes)) {
        gather_on_device(backend, src, dst, n_bytes, rows);
        return;
    }

    if (!ggml_backend_buffer_is_host(src->buffer)) {
        throw std::runtime_error(std::string(ggml_backend_name(backend)) + " cannot gather rows of " + std::to_string(n_bytes) + " bytes");
    }

    for (size_t i = 0; i < rows.size(); ++i) {
        memcpy((char *) dst->data + i*n_bytes, (const char *) src->data + rows[i]*n_bytes, n_bytes);
    }
}
