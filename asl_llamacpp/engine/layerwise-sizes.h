#pragma once

// Bytes by place: the devices of a model in their order, then the host.

#include "ggml-backend.h"

#include <cstdint>

struct llama_model;

// -1 for the CPU
int32_t llama_layerwise_device_index(const llama_model & model, ggml_backend_dev_t dev);

// where buffers of this type lie: memory of a device for transfers is the host's
uint64_t & llama_layerwise_size_at(const llama_model & model, uint64_t * sizes, ggml_backend_buffer_type_t buft);

// throws llama_layerwise_exception unless there is one size for each place; they are set to 0
void llama_layerwise_clear_sizes(const llama_model * model, uint64_t * sizes, int32_t n_sizes);
