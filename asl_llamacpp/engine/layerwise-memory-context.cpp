#include "layerwise-memory-context.h"

llama_kv_cache_layered_context::llama_kv_cache_layered_context(llama_memory_status status) : status(status) {}

llama_kv_cache_layered_context::llama_kv_cache_layered_context(
        std::vector<llama_memory_context_ptr> ctxs, std::vector<int32_t> il_groups, size_t n_real, uint64_t layout,
        llama_layerwise_mutex & mutex) :
    ctxs(std::move(ctxs)), il_groups(std::move(il_groups)), n_real(n_real), layout_(layout), mutex(&mutex),
    status(LLAMA_MEMORY_STATUS_SUCCESS) {
    for (const auto & ctx : this->ctxs) {
        status = llama_memory_status_combine(status, ctx->get_status());
    }
}

bool llama_kv_cache_layered_context::next() {
    bool res = true;

    for (size_t i = 0; i < n_real; ++i) {
        res = ctxs[i]->next() && res;
    }

    return res;
}

bool llama_kv_cache_layered_context::apply() {
    const std::lock_guard<llama_layerwise_mutex> lock(*mutex);

    bool res = true;

    for (size_t i = 0; i < n_real; ++i) {
        res = ctxs[i]->apply() && res;
    }

    return res;
}

llama_memory_status llama_kv_cache_layered_context::get_status() const {
    return status;
}

const llama_ubatch & llama_kv_cache_layered_context::get_ubatch() const {
    return ctxs[0]->get_ubatch();
}

uint32_t llama_kv_cache_layered_context::n_groups() const {
    return ctxs.size();
}

uint32_t llama_kv_cache_layered_context::group_of(int32_t il) const {
    // layers behind the trunk (next-token prediction) are built only by graphs that never use this memory
    return il < (int32_t) il_groups.size() ? il_groups[il] : 0;
}

const llama_memory_context_i * llama_kv_cache_layered_context::group(uint32_t ig) const {
    return ctxs[ig].get();
}

uint64_t llama_kv_cache_layered_context::layout() const {
    return layout_;
}
