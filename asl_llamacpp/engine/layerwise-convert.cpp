// K and V of a layer from one type to another: quantized when the layer has run, and back when later tokens run on it.

#include "layerwise-kv.h"

#include "llama-impl.h"

#include <algorithm>
#include <new>
#include <stdexcept>

// floats in between are that many bytes at most, twice with a rotation
static constexpr size_t MAX_FLOAT_BYTES = 16u*1024*1024;

static constexpr size_t GRAPH_SIZE = 16;

// rows of src as floats in dst, through the host
static void read_floats(ggml_tensor * src, const int32_t * rows, ggml_tensor * dst) {
    const auto to_float = ggml_get_type_traits(src->type)->to_float;

    const int64_t n_embd = dst->ne[0];

    std::vector<uint8_t> row(src->nb[1]);
    std::vector<float>   floats(ggml_nelements(dst));

    for (int64_t i = 0; i < dst->ne[1]; ++i) {
        ggml_backend_tensor_get(src, row.data(), rows[i]*src->nb[1], row.size());
        to_float(row.data(), floats.data() + i*n_embd, n_embd);
    }

    ggml_backend_tensor_set(dst, floats.data(), 0, ggml_nbytes(dst));
}

// the same rows of both; rot is a matrix [n, n] that each n values of a row are multiplied by, if there is one
static void convert_rows(
        ggml_backend_t backend, ggml_tensor * src, ggml_tensor * dst, const std::vector<int32_t> & rows,
        const std::vector<float> * rot, int64_t n_rot) {
    const size_t n_step = std::max<size_t>(1, MAX_FLOAT_BYTES/(src->ne[0]*sizeof(float)));

    // ggml ends the process where it finds no memory for a context, a vector throws
    std::vector<uint8_t> meta(GRAPH_SIZE*ggml_tensor_overhead() + ggml_graph_overhead_custom(GRAPH_SIZE, false));

    for (size_t i0 = 0; i0 < rows.size(); i0 += n_step) {
        const int64_t n = std::min(n_step, rows.size() - i0);

        ggml_init_params params = {
            /*.mem_size   =*/ meta.size(),
            /*.mem_buffer =*/ meta.data(),
            /*.no_alloc   =*/ true,
        };

        ggml_context_ptr ctx { ggml_init(params) };
        if (!ctx) {
            throw std::bad_alloc();
        }

        ggml_tensor * from = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I32, n);
        ggml_tensor * to   = ggml_new_tensor_1d(ctx.get(), GGML_TYPE_I64, n);

        ggml_tensor * floats = ggml_get_rows(ctx.get(), src, from);

        const bool on_device = ggml_backend_supports_op(backend, floats);
        if (!on_device) {
            floats = ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, src->ne[0], n);
        }

        ggml_tensor * matrix  = rot ? ggml_new_tensor_2d(ctx.get(), GGML_TYPE_F32, n_rot, n_rot) : nullptr;
        ggml_tensor * rotated = rot ? llama_mul_mat_hadamard(ctx.get(), floats, matrix) : floats;

        ggml_cgraph * gf = ggml_new_graph_custom(ctx.get(), GRAPH_SIZE, false);
        ggml_build_forward_expand(gf, ggml_set_rows(ctx.get(), dst, rotated, to));

        ggml_backend_buffer_ptr buf {
            ggml_backend_alloc_ctx_tensors_from_buft(ctx.get(), ggml_backend_buffer_get_type(dst->buffer)) };
        if (!buf) {
            throw std::bad_alloc();
        }

        const std::vector<int64_t> rows_to(rows.begin() + i0, rows.begin() + i0 + n);

        ggml_backend_tensor_set(to, rows_to.data(), 0, ggml_nbytes(to));
        if (on_device) {
            ggml_backend_tensor_set(from, rows.data() + i0, 0, ggml_nbytes(from));
        } else {
            read_floats(src, rows.data() + i0, floats);
        }
        if (matrix) {
            ggml_backend_tensor_set(matrix, rot->data(), 0, ggml_nbytes(matrix));
        }

        switch (ggml_backend_graph_compute(backend, gf)) {
            case GGML_STATUS_SUCCESS:      break;
            case GGML_STATUS_ALLOC_FAILED: throw std::bad_alloc();
            default:                       throw std::runtime_error("the backend failed to quantize K and V");
        }
    }
}

void llama_layerwise_kv::convert(
        const llama_kv_cache & src, const llama_kv_cache & dst, int32_t il, const std::vector<int32_t> & cells,
        ggml_backend_t backend) {
    if (cells.empty()) {
        return;
    }

    const auto & from = src.layers[src.map_layer_ids.at(il)];
    const auto & to   = dst.layers[dst.map_layer_ids.at(il)];

    ggml_context_ptr ctx = llama_layerwise_make_ctx(2);

    // the rotation is its own inverse
    const auto & rotated = src.attn_rot_k || src.attn_rot_v ? src : dst;

    const auto convert_part = [&](ggml_tensor * t_src, ggml_tensor * t_dst, bool rotates, const ggml_tensor * shape) {
        const int64_t n_rot = rotates ? shape->ne[0] : 0;

        convert_rows(backend, t_src, t_dst, cells, rotates ? &rotated.attn_rot_hadamard.at(n_rot) : nullptr, n_rot);
    };

    convert_part(from.k, to.k, src.attn_rot_k != dst.attn_rot_k, rotated.build_input_k_rot(ctx.get()));
    convert_part(from.v, to.v, src.attn_rot_v != dst.attn_rot_v, rotated.build_input_v_rot(ctx.get()));
}
