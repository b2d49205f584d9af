#pragma once

#include "layerwise-kv.h"

#include <cstdint>
#include <memory>
#include <vector>

// layers il_begin <= il < il_end with cells of their own
struct llama_layerwise_group {
    int32_t il_begin = 0;
    int32_t il_end   = 0;

    std::unique_ptr<llama_memory_i> mem;

    // the caches inside of mem, kv_swa is nullptr without sliding-window layers
    llama_kv_cache * kv_base = nullptr;
    llama_kv_cache * kv_swa  = nullptr;

    bool has(int32_t il) const { return il_begin <= il && il < il_end; }

    const llama_kv_cache * kv_of(int32_t il) const;

    size_t   bytes()   const;
    uint32_t n_cells() const; // allocated
    uint32_t n_used()  const;

    // whether it has a cell for each of the first n positions; a ring of cells is not looked at
    bool holds_first(int64_t n) const;

    // hold the same positions in the same cells as a group of the same size
    void copy_cells(const llama_layerwise_group & from);

    // move the layers of the group behind this one into it, if they hold the same cells
    bool join(llama_layerwise_group & next);

    // the memory context for these ubatches, nullptr if the cells do not suffice
    llama_memory_context_ptr init(std::vector<llama_ubatch> ubatches);
};
