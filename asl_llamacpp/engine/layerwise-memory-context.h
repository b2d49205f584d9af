#pragma once

// One batch on the layered KV cache: the memory contexts of its groups, and which layer belongs to which.

#include "llama-memory.h"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

// a thread that holds it may call back into what takes it again
using llama_layerwise_mutex = std::recursive_timed_mutex;

class llama_kv_cache_layered_context : public llama_memory_context_i {
public:
    // used for errors
    explicit llama_kv_cache_layered_context(llama_memory_status status);

    // one memory context per group of layers
    //   n_real: the first n_real contexts are stepped and applied, the others only serve the graph builder
    //   mutex : held while the cells change
    llama_kv_cache_layered_context(
            std::vector<llama_memory_context_ptr> ctxs, std::vector<int32_t> il_groups, size_t n_real, uint64_t layout,
            llama_layerwise_mutex & mutex);

    bool next()  override;
    bool apply() override;

    llama_memory_status  get_status() const override;
    const llama_ubatch & get_ubatch() const override;

    uint32_t n_groups()           const override;
    uint32_t group_of(int32_t il) const override;

    const llama_memory_context_i * group(uint32_t ig) const override;

    uint64_t layout() const override;

private:
    std::vector<llama_memory_context_ptr> ctxs;

    std::vector<int32_t> il_groups; // layer -> group

    size_t   n_real  = 0;
    uint64_t layout_ = 0;

    llama_layerwise_mutex * mutex = nullptr;

    llama_memory_status status;
};
