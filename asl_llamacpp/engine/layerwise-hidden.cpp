#include "layerwise-hidden.h"

#include "layerwise-kv.h"
#include "layerwise-rows.h"

#include <new>

void llama_layerwise_hidden::alloc(ggml_backend_buffer_type_t buft, int64_t n_embd, int64_t n_tokens) {
    auto res = std::make_shared<data_t>();

    res->ctx = llama_layerwise_make_ctx(1);

    ggml_tensor * cur = ggml_new_tensor_2d(res->ctx.get(), GGML_TYPE_F32, n_embd, n_tokens);
    ggml_set_name(cur, "layerwise_hidden");

    res->buf.reset(ggml_backend_alloc_ctx_tensors_from_buft(res->ctx.get(), buft));
    if (!res->buf) {
        throw std::bad_alloc();
    }

    data = std::move(res);
    t    = cur;
}

size_t llama_layerwise_hidden::bytes() const {
    return data ? ggml_backend_buffer_get_size(data->buf.get()) : 0;
}

ggml_backend_buffer_type_t llama_layerwise_hidden::buft() const {
    return ggml_backend_buffer_get_type(data->buf.get());
}

llama_layerwise_hidden llama_layerwise_hidden::copy_to(ggml_backend_buffer_type_t buft) const {
    llama_layerwise_hidden res;
    res.alloc(buft, t->ne[0], t->ne[1]);

    ggml_backend_tensor_copy(t, res.t);

    return res;
}

static ggml_tensor * view_rows(ggml_context * ctx, ggml_tensor * t, int64_t i, int64_t n) {
    ggml_tensor * res = ggml_view_2d(ctx, t, t->ne[0], n, t->nb[1], i*t->nb[1]);

    if (ggml_backend_view_init(res) != GGML_STATUS_SUCCESS) {
        throw std::bad_alloc();
    }

    return res;
}

void llama_layerwise_hidden::copy_rows(int64_t i_src, llama_layerwise_hidden & dst, int64_t i_dst, int64_t n) const {
    ggml_context_ptr ctx = llama_layerwise_make_ctx(2);

    ggml_backend_tensor_copy(view_rows(ctx.get(), t, i_src, n), view_rows(ctx.get(), dst.t, i_dst, n));
}

void llama_layerwise_hidden::gather(
        ggml_backend_t backend, const std::vector<int32_t> & idxs, llama_layerwise_hidden & dst, int64_t i_dst) const {
    if (idxs.empty()) {
        return;
    }

    ggml_context_ptr ctx = llama_layerwise_make_ctx(1);

    llama_layerwise_gather_rows(backend, t, view_rows(ctx.get(), dst.t, i_dst, idxs.size()), t->nb[1], idxs);
}

static char * row_of(const ggml_tensor * t, int64_t i) {
    return (char *) t->data + i*t->nb[1];
}

void llama_layerwise_staging::before(size_t i, int64_t i0, int64_t n) {
    const size_t half = i % 2;

    fetch(half);

    if (reads) {
        ggml_backend_tensor_set_async(backend, device, row_of(host, i0), row(i)*device->nb[1], n*device->nb[1]);
    }

    there[half] = { i0, n };
}

void llama_layerwise_staging::fetch(size_t half) {
    const auto [i0, n] = there[half];

    if (writes && n > 0) {
        ggml_backend_tensor_get_async(backend, device, row_of(host, i0), row(half)*device->nb[1], n*device->nb[1]);
    }

    there[half] = ubatch_t();
}

void llama_layerwise_staging::finish() {
    fetch(0);
    fetch(1);
}
