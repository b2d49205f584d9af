#include "layerwise-group.h"

const llama_kv_cache * llama_layerwise_group::kv_of(int32_t il) const {
    if (llama_layerwise_kv::has_layer(*kv_base, il)) {
        return kv_base;
    }

    return kv_swa && llama_layerwise_kv::has_layer(*kv_swa, il) ? kv_swa : nullptr;
}

size_t llama_layerwise_group::bytes() const {
    return llama_layerwise_kv::bytes(*kv_base) + (kv_swa ? llama_layerwise_kv::bytes(*kv_swa) : 0);
}

uint32_t llama_layerwise_group::n_cells() const {
    return kv_base->get_size();
}

uint32_t llama_layerwise_group::n_used() const {
    return kv_base->get_cells(0).get_used();
}

bool llama_layerwise_group::holds_first(int64_t n) const {
    const auto & cells = kv_base->get_cells(0);

    int64_t n_found = 0;

    for (uint32_t i = 0; i < cells.used_max_p1(); ++i) {
        n_found += !cells.is_empty(i) && cells.pos_get(i) < n;
    }

    return n_found == n;
}

void llama_layerwise_group::copy_cells(const llama_layerwise_group & from) {
    llama_layerwise_kv::copy_cells(*kv_base, *from.kv_base);
    if (kv_swa) {
        llama_layerwise_kv::copy_cells(*kv_swa, *from.kv_swa);
    }
}

bool llama_layerwise_group::join(llama_layerwise_group & next) {
    if (!llama_layerwise_kv::joinable(*kv_base, *next.kv_base) || (kv_swa && !llama_layerwise_kv::joinable(*kv_swa, *next.kv_swa))) {
        return false;
    }

    llama_layerwise_kv::join(*kv_base, *next.kv_base);
    if (kv_swa) {
        llama_layerwise_kv::join(*kv_swa, *next.kv_swa);
    }

    il_end = next.il_end;

    return true;
}

llama_memory_context_ptr llama_layerwise_group::init(std::vector<llama_ubatch> ubatches) {
    auto sinfos_base = kv_base->prepare(ubatches);
    if (sinfos_base.empty()) {
        return nullptr;
    }

    if (!kv_swa) {
        return std::make_unique<llama_kv_cache_context>(kv_base, std::move(sinfos_base), std::move(ubatches));
    }

    auto sinfos_swa = kv_swa->prepare(ubatches);
    if (sinfos_swa.empty()) {
        return nullptr;
    }

    return std::make_unique<llama_kv_cache_iswa_context>(
            static_cast<llama_kv_cache_iswa *>(mem.get()), std::move(sinfos_base), std::move(sinfos_swa), std::move(ubatches));
}
