#include "layerwise-hidden.h"

#include "layerwise-kv.h"
#include "layerwise-rows.h"

#include <new>

void llama_layerwise_hidden::alloc(ggml_backend_buffer_type_t buft, int64_t n_embd, int64_t n_tokens) {
    ctx = llama_layerwise_make_ctx(1);

    t = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, n_embd, n_tokens);
    ggml_set_name(t, "layerwise_hidden");

    buf.reset(ggml_backend_alloc_ctx_tensors_from_buft(ctx.get(), buft));
    if (!buf) {
        throw std::bad_alloc();
    }
}

size_t llama_layerwise_hidden::bytes() const {
    return buf ? ggml_backend_buffer_get_size(buf.get()) : 0;
}

llama_layerwise_hidden llama_layerwise_hidden::copy_to(ggml_backend_buffer_type_t buft) const {
    llama_layerwise_hidden res;
    res.alloc(buft, t->ne[0], t->ne[1]);

    ggml_backend_tensor_copy(t, res.t);

    return res;
}

void llama_layerwise_hidden::copy_rows(int64_t i_src, llama_layerwise_hidden & dst, int64_t i_dst, int64_t n) const {
    ggml_context_ptr ctx_view = llama_layerwise_make_ctx(2);

    ggml_tensor * from = ggml_view_2d(ctx_view.get(), t,     t->ne[0], n, t->nb[1],     i_src*t->nb[1]);
    ggml_tensor * to   = ggml_view_2d(ctx_view.get(), dst.t, t->ne[0], n, dst.t->nb[1], i_dst*dst.t->nb[1]);

    ggml_backend_view_init(from);
    ggml_backend_view_init(to);

    ggml_backend_tensor_copy(from, to);
}

llama_layerwise_hidden llama_layerwise_hidden::gather(ggml_backend_t backend, const std::vector<int32_t> & idxs) const {
    llama_layerwise_hidden res;
    res.alloc(ggml_backend_buffer_get_type(buf.get()), t->ne[0], idxs.size());

    llama_layerwise_gather_rows(backend, t, res.t, t->nb[1], idxs);

    return res;
}
