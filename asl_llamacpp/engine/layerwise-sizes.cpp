#include "layerwise-sizes.h"

#include "layerwise-prefill.h"

#include "llama-context.h"
#include "llama-model.h"

#include <algorithm>
#include <string>

int32_t llama_layerwise_device_index(const llama_model & model, ggml_backend_dev_t dev) {
    for (size_t i = 0; i < model.devices.size(); ++i) {
        if (model.devices[i].dev == dev) {
            return i;
        }
    }

    return -1;
}

uint64_t & llama_layerwise_size_at(const llama_model & model, uint64_t * sizes, ggml_backend_buffer_type_t buft) {
    const auto    dev = ggml_backend_buft_get_device(buft);
    const int32_t i   = dev ? llama_layerwise_device_index(model, dev) : -1;

    // a device's memory for transfers
    const bool is_host = dev && ggml_backend_dev_host_buffer_type(dev) == buft;

    return sizes[i < 0 || is_host ? model.devices.size() : i];
}

void llama_layerwise_clear_sizes(const llama_model * model, uint64_t * sizes, int32_t n_sizes) {
    if (model == nullptr || sizes == nullptr || n_sizes != (int32_t) model->devices.size() + 1) {
        llama_layerwise_invalid("there must be a size for each of the model's devices, and one for the host");
    }

    std::fill_n(sizes, n_sizes, 0);
}

int32_t llama_layerwise_n_devices(const llama_model * model) {
    return model ? model->devices.size() : 0;
}

int32_t llama_layerwise_weight_bytes(const llama_model * model, uint64_t * sizes, int32_t n_sizes) {
    try {
        llama_layerwise_clear_sizes(model, sizes, n_sizes);

        for (const auto & [buft, size] : model->memory_breakdown()) {
            llama_layerwise_size_at(*model, sizes, buft) += size;
        }
    } catch (const llama_layerwise_exception & e) {
        return e.status;
    }

    return LLAMA_LAYERWISE_STATUS_OK;
}

int32_t llama_layerwise_reserved_bytes(const llama_context * ctx, uint64_t * sizes, int32_t n_sizes) {
    try {
        llama_layerwise_clear_sizes(ctx ? &ctx->get_model() : nullptr, sizes, n_sizes);

        for (const auto & [buft, data] : ctx->memory_breakdown()) {
            llama_layerwise_size_at(ctx->get_model(), sizes, buft) += data.compute;
        }
    } catch (const llama_layerwise_exception & e) {
        return e.status;
    }

    return LLAMA_LAYERWISE_STATUS_OK;
}
