#include "layerwise-memory.h"

#include "layerwise-state.h"

#include "llama-batch.h"
#include "llama-impl.h"
#include "llama-io.h"
#include "llama-model.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <stdexcept>

//
// llama_kv_cache_layered
//

static constexpr uint32_t CELLS_PAD = 256; // as llama_context pads n_ctx

// there is one sequence only; llama_kv_cache would end the process
static void check_state_seq(llama_seq_id seq_id) {
    if (seq_id != -1 && seq_id != 0) {
        throw std::runtime_error("there is no sequence " + std::to_string(seq_id));
    }
}

static uint64_t next_layout() {
    static std::atomic<uint64_t> layout { 0 };

    return ++layout;
}

llama_kv_cache_layered::llama_kv_cache_layered(
        const llama_model & model, const llama_memory_params & params, const llama_cparams & cparams) :
    model(model), cparams(cparams),
    type_k(params.type_k), type_v(params.type_v),
    v_trans(!cparams.flash_attn), swa_full(params.swa_full),
    n_layer_(model.hparams.n_layer()), n_ctx(cparams.n_ctx_seq),
    hparams_no_alloc(model.hparams) {
    hparams_no_alloc.no_alloc = true;

    reserve = make_empty(hparams_no_alloc, n_ctx, swa_full, [this](int32_t il) { return il < n_layer_; });

    reserve.il_begin = 0;
    reserve.il_end   = n_layer_;

    compressed.assign(n_layer_, false);

    new_layout();
}

llama_layerwise_group llama_kv_cache_layered::make_empty(
        const llama_hparams & hparams, uint32_t n_cells, bool swa_full,
        const llama_memory_i::layer_filter_cb & filter) const {
    llama_layerwise_group res;

    if (hparams.swa_type == LLAMA_SWA_TYPE_NONE) {
        auto kv = std::make_unique<llama_kv_cache>(
                model, hparams, type_k, type_v, v_trans, cparams.offload_kqv, cparams.kv_unified, n_cells,
                cparams.n_seq_max, 1, hparams.n_swa, hparams.swa_type, nullptr, filter, nullptr, nullptr);

        res.kv_base = kv.get();
        res.mem     = std::move(kv);
    } else {
        auto kv = std::make_unique<llama_kv_cache_iswa>(
                model, hparams, type_k, type_v, v_trans, cparams.offload_kqv, swa_full, cparams.kv_unified, n_cells,
                cparams.n_seq_max, cparams.n_ubatch, 1, nullptr, filter, nullptr, nullptr);

        res.kv_base = kv->get_base();
        res.kv_swa  = kv->get_swa();
        res.mem     = std::move(kv);
    }

    return res;
}

llama_layerwise_group llama_kv_cache_layered::make_group(int32_t il_begin, int32_t il_end, uint32_t n_cells, uint32_t n_cells_swa) {
    // the constructor warns about a full-size SWA cache each time, so it is made full afterwards
    llama_layerwise_group res = make_empty(model.hparams, n_cells, false, [](int32_t) { return false; });
    if (res.kv_swa && (swa_full || n_cells_swa > 0)) {
        llama_layerwise_kv::set_size(*res.kv_swa, n_cells_swa > 0 ? n_cells_swa : n_cells);
    }

    res.il_begin = il_begin;
    res.il_end   = il_end;

    llama_layerwise_kv::inherit(*res.kv_base, *reserve.kv_base);
    if (res.kv_swa) {
        llama_layerwise_kv::inherit(*res.kv_swa, *reserve.kv_swa);
    }

    for (int32_t il = il_begin; il < il_end; ++il) {
        const bool is_swa = reserve.kv_swa && model.hparams.is_swa(il);

        const auto & like = is_swa ? *reserve.kv_swa : *reserve.kv_base;

        // a layer without attention has no KV
        if (!llama_layerwise_kv::has_layer(like, il) || model.hparams.n_embd_k_gqa(il) == 0) {
            continue;
        }

        llama_layerwise_kv::add_layer(is_swa ? *res.kv_swa : *res.kv_base, like, il, buft_of(il));

        note_peak(res.bytes());
    }

    return res;
}

ggml_backend_buffer_type_t llama_kv_cache_layered::buft_of(int32_t il) const {
    return cparams.offload_kqv ? ggml_backend_dev_buffer_type(model.dev_layer(il)) : ggml_backend_cpu_buffer_type();
}

uint32_t llama_kv_cache_layered::n_cells_for(uint32_t n_tokens, uint32_t n_headroom) const {
    // the transposed V (no flash attention) is strided by the number of cells, so it cannot grow layer by layer
    return v_trans ? n_ctx : std::min<uint32_t>(n_ctx, GGML_PAD(n_tokens + n_headroom, CELLS_PAD));
}

void llama_kv_cache_layered::push(llama_layerwise_group && group) {
    join_last();

    groups.push_back(std::move(group));

    new_layout();
}

void llama_kv_cache_layered::join_last() {
    if (groups.size() < 2) {
        return;
    }

    if (groups[groups.size() - 2].join(groups.back())) {
        groups.pop_back();

        new_layout();
    }
}

bool llama_kv_cache_layered::reopen(int32_t il_end, uint32_t n_tokens, uint32_t n_more, uint32_t n_headroom) {
    if (groups.empty() || groups.front().il_end < il_end) {
        return false;
    }

    groups.erase(groups.begin() + 1, groups.end());

    compressed.assign(n_layer_, false);
    pos_removable = 0;

    auto & group = groups.front();

    group.il_end = il_end;

    llama_layerwise_kv::truncate(*group.kv_base, il_end);
    if (group.kv_swa) {
        llama_layerwise_kv::truncate(*group.kv_swa, il_end);
    }

    new_layout();

    group.mem->seq_rm(0, n_tokens, -1);

    if (group.n_used() != n_tokens) {
        return false;
    }

    // a ring of cells may have overwritten what the next tokens' windows reach back to
    if (group.kv_swa && llama_layerwise_kv::n_layers(*group.kv_swa) > 0) {
        const llama_pos p0 = std::max<llama_pos>(0, (llama_pos) n_tokens - (llama_pos) model.hparams.n_swa);

        if (group.kv_swa->seq_pos_min(0) > p0 || group.kv_swa->seq_pos_max(0) != (llama_pos) n_tokens - 1) {
            return false;
        }
    }

    const uint32_t n_cells = n_cells_for(n_tokens + n_more, n_headroom);
    if (n_cells > group.n_cells()) {
        grow(group, n_cells);
    }

    return true;
}

llama_layerwise_group llama_kv_cache_layered::make_filled(
        int32_t il, int32_t first, const std::vector<llama_token> & tokens, uint32_t n_more, uint32_t n_headroom) {
    const uint32_t n_held = first + tokens.size();

    llama_layerwise_group res = make_group(il, il + 1, n_cells_for(n_held + n_more, n_headroom));

    // the cache without the layer gets cells too: what is found there is looked up in the cells
    for (auto * kv : { res.kv_base, res.kv_swa }) {
        if (kv) {
            llama_layerwise_kv::fill(*kv, first, tokens);
        }
    }

    return res;
}

const llama_kv_cache * llama_kv_cache_layered::like(int32_t il) const {
    return model.hparams.n_embd_k_gqa(il) == 0 ? nullptr : reserve.kv_of(il);
}

llama_layerwise_group llama_kv_cache_layered::take_first() {
    llama_layerwise_group res = std::move(groups.front());

    groups.erase(groups.begin());

    new_layout();

    return res;
}

void llama_kv_cache_layered::put_first(llama_layerwise_group && group) {
    groups.insert(groups.begin(), std::move(group));

    new_layout();
}

void llama_kv_cache_layered::compress(
        int32_t il, const std::vector<int32_t> & cells, uint32_t n_head_kv, uint32_t n_window, uint32_t n_headroom,
        ggml_backend_t backend) {
    auto & kv = *groups.back().kv_base;

    const uint32_t n_old  = kv.get_cells(0).get_used();
    const uint32_t n_kept = cells.size()/n_head_kv;

    pos_removable = kv.get_cells(0).pos_get(n_old - n_window);

    llama_layerwise_kv::compress(kv, n_cells_for(n_kept, n_headroom), cells, n_head_kv, n_window, backend,
            [this](size_t n_bytes) { note_peak(n_bytes); });

    compressed[il] = true;

    new_layout();
}

void llama_kv_cache_layered::grow(llama_layerwise_group & group, uint32_t n_cells) {
    const auto on_alloc = [this](size_t n_bytes) { note_peak(n_bytes); };

    // graphs hold views of the old buffers
    new_layout();

    if (group.kv_swa) {
        // as the constructor of llama_kv_cache_iswa sizes it
        const uint32_t n_seq = cparams.kv_unified ? cparams.n_seq_max : 1;
        const uint32_t n_swa = swa_full ? n_cells
            : GGML_PAD(std::min(n_cells, model.hparams.n_swa*n_seq + cparams.n_ubatch), CELLS_PAD);

        if (n_swa > group.kv_swa->get_size()) {
            llama_layerwise_kv::grow(*group.kv_swa, n_swa, on_alloc);
        }
    }

    llama_layerwise_kv::grow(*group.kv_base, n_cells, on_alloc);

    n_grow_++;
}

llama_memory_context_ptr llama_kv_cache_layered::init_batch(llama_batch_allocr & balloc, uint32_t n_ubatch, bool embd_all) {
    GGML_UNUSED(embd_all);

    const auto fail = [](llama_memory_status status) {
        return std::make_unique<llama_kv_cache_layered_context>(status);
    };

    if (is_prefilling()) {
        LLAMA_LOG_ERROR("%s: a layer-wise prefill is in progress\n", __func__);
        return fail(LLAMA_MEMORY_STATUS_FAILED_PREPARE);
    }

    balloc.split_reset();

    std::vector<llama_ubatch> ubatches;
    while (true) {
        auto ubatch = balloc.split_simple(n_ubatch);

        if (ubatch.n_tokens == 0) {
            break;
        }

        ubatches.push_back(std::move(ubatch)); // NOLINT
    }

    const uint32_t n_tokens = balloc.get_n_tokens();

    if (balloc.get_n_used() < n_tokens) {
        return fail(LLAMA_MEMORY_STATUS_FAILED_PREPARE);
    }

    try {
        if (groups.empty()) {
            push(make_group(0, n_layer_, n_cells_for(n_tokens, CELLS_PAD)));
        }

        std::vector<llama_memory_context_ptr> ctxs;
        std::vector<int32_t> il_groups(n_layer_, 0);

        for (auto & group : groups) {
            auto ctx = group.init(ubatches);

            // the cells ran out: enlarge by an eighth at least, so that growing stays rare
            const uint32_t n_used = group.n_used();
            const uint32_t n_next = n_cells_for(n_used, std::max(n_tokens + CELLS_PAD, n_used/8));
            if (!ctx && n_next > group.n_cells()) {
                grow(group, n_next);
                ctx = group.init(ubatches);
            }

            if (!ctx) {
                return fail(LLAMA_MEMORY_STATUS_FAILED_PREPARE);
            }

            std::fill(il_groups.begin() + group.il_begin, il_groups.begin() + group.il_end, (int32_t) ctxs.size());

            ctxs.push_back(std::move(ctx));
        }

        const size_t n_real = ctxs.size();

        return std::make_unique<llama_kv_cache_layered_context>(std::move(ctxs), std::move(il_groups), n_real, layout);
    } catch (const std::bad_alloc &) {
        LLAMA_LOG_ERROR("%s: out of memory while enlarging the KV cache for %u tokens\n", __func__, n_tokens);
        return fail(LLAMA_MEMORY_STATUS_FAILED_PREPARE);
    }
}

llama_memory_context_ptr llama_kv_cache_layered::init_pass(llama_layerwise_group & group, const llama_ubatch & ubatch) {
    std::vector<llama_memory_context_ptr> ctxs;

    ctxs.push_back(group.init({ ubatch }));
    if (!ctxs[0]) {
        return nullptr;
    }

    // the builder visits all layers before the range too; what it builds there is dropped
    ctxs.push_back(reserve.mem->init_full());

    std::vector<int32_t> il_groups(n_layer_, 1);
    std::fill(il_groups.begin() + group.il_begin, il_groups.begin() + group.il_end, 0);

    return std::make_unique<llama_kv_cache_layered_context>(std::move(ctxs), std::move(il_groups), 1, next_layout());
}

llama_memory_context_ptr llama_kv_cache_layered::init_full() {
    std::vector<llama_memory_context_ptr> ctxs;
    ctxs.push_back(reserve.mem->init_full());

    return std::make_unique<llama_kv_cache_layered_context>(
            std::move(ctxs), std::vector<int32_t>(n_layer_, 0), 1, next_layout());
}

llama_memory_context_ptr llama_kv_cache_layered::init_update(llama_context * lctx, bool optimize) {
    std::vector<llama_memory_context_ptr> ctxs;

    for (auto & group : groups) {
        auto ctx = group.mem->init_update(lctx, optimize);

        const auto status = ctx->get_status();
        if (llama_memory_status_is_fail(status)) {
            return std::make_unique<llama_kv_cache_layered_context>(status);
        }

        if (status != LLAMA_MEMORY_STATUS_NO_UPDATE) {
            ctxs.push_back(std::move(ctx));
        }
    }

    if (ctxs.empty()) {
        return std::make_unique<llama_kv_cache_layered_context>(LLAMA_MEMORY_STATUS_NO_UPDATE);
    }

    const size_t n_real = ctxs.size();

    return std::make_unique<llama_kv_cache_layered_context>(
            std::move(ctxs), std::vector<int32_t>(n_layer_, 0), n_real, next_layout());
}

bool llama_kv_cache_layered::get_can_shift() const {
    return pos_removable == 0 && reserve.mem->get_can_shift();
}

void llama_kv_cache_layered::clear(bool data) {
    GGML_UNUSED(data);

    if (interrupt()) {
        return;
    }

    groups.clear();

    compressed.assign(n_layer_, false);
    pos_removable = 0;

    new_layout();
}

bool llama_kv_cache_layered::seq_rm(llama_seq_id seq_id, llama_pos p0, llama_pos p1) {
    // the layers that are still to run would not agree
    if (is_prefilling()) {
        return false;
    }

    const bool is_all = p0 <= 0 && (p1 < 0 || p1 > seq_pos_max(0));

    // the heads of a compressed layer hold different tokens in the same cell
    if (p0 < pos_removable && !is_all) {
        return false;
    }

    forget_from(p0);

    bool res = true;

    for (auto & group : groups) {
        res = res & group.mem->seq_rm(seq_id, p0, p1);
    }

    // what is left of a pruned prompt serves no other one
    if ((groups.size() > 1 || pos_removable > 0) && is_empty()) {
        clear(true);
    }

    return res;
}

void llama_kv_cache_layered::seq_cp(llama_seq_id seq_id_src, llama_seq_id seq_id_dst, llama_pos p0, llama_pos p1) {
    if (is_prefilling()) {
        return;
    }

    for (auto & group : groups) {
        group.mem->seq_cp(seq_id_src, seq_id_dst, p0, p1);
    }
}

void llama_kv_cache_layered::seq_keep(llama_seq_id seq_id) {
    if (is_prefilling()) {
        return;
    }

    for (auto & group : groups) {
        group.mem->seq_keep(seq_id);
    }
}

void llama_kv_cache_layered::seq_add(llama_seq_id seq_id, llama_pos p0, llama_pos p1, llama_pos shift) {
    if (is_prefilling() || pos_removable > 0) {
        return;
    }

    forget_from(-1);

    for (auto & group : groups) {
        group.mem->seq_add(seq_id, p0, p1, shift);
    }
}

void llama_kv_cache_layered::seq_div(llama_seq_id seq_id, llama_pos p0, llama_pos p1, int d) {
    if (is_prefilling() || pos_removable > 0) {
        return;
    }

    forget_from(-1);

    for (auto & group : groups) {
        group.mem->seq_div(seq_id, p0, p1, d);
    }
}

llama_pos llama_kv_cache_layered::seq_pos_min(llama_seq_id seq_id) const {
    return groups.empty() ? -1 : groups[0].mem->seq_pos_min(seq_id);
}

llama_pos llama_kv_cache_layered::seq_pos_max(llama_seq_id seq_id) const {
    return groups.empty() ? -1 : groups[0].mem->seq_pos_max(seq_id);
}

std::map<ggml_backend_buffer_type_t, size_t> llama_kv_cache_layered::memory_breakdown() const {
    std::map<ggml_backend_buffer_type_t, size_t> res;

    for (const auto & group : groups) {
        for (const auto & [buft, size] : group.mem->memory_breakdown()) {
            res[buft] += size;
        }
    }

    return res;
}

void llama_kv_cache_layered::state_write(llama_io_write_i & io, llama_seq_id seq_id, llama_state_seq_flags flags) const {
    check_state_seq(seq_id);

    // a part of the cells would not do: reading begins with an empty cache
    flags &= ~LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY;

    llama_layerwise_write_state(io, [&](llama_io_write_i & out) {
        const uint32_t n_groups = groups.size();

        out.write(&n_groups,      sizeof(n_groups));
        out.write(&pos_removable, sizeof(pos_removable));

        for (int32_t il = 0; il < n_layer_; ++il) {
            const uint8_t is_compressed = compressed[il];

            out.write(&is_compressed, sizeof(is_compressed));
        }

        for (const auto & group : groups) {
            const uint32_t n_cells     = group.n_cells();
            const uint32_t n_cells_swa = group.kv_swa ? group.kv_swa->get_size() : 0;

            out.write(&group.il_begin, sizeof(group.il_begin));
            out.write(&group.il_end,   sizeof(group.il_end));
            out.write(&n_cells,        sizeof(n_cells));
            out.write(&n_cells_swa,    sizeof(n_cells_swa));

            group.mem->state_write(out, seq_id, flags);
        }
    });
}

void llama_kv_cache_layered::state_read(llama_io_read_i & io, llama_seq_id seq_id, llama_state_seq_flags flags) {
    check_state_seq(seq_id);

    flags &= ~LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY;

    if (interrupt()) {
        throw std::runtime_error("a layer-wise prefill is running");
    }

    clear(true);

    try {
        llama_layerwise_read_state(io, flags & LLAMA_STATE_SEQ_FLAGS_ON_DEVICE, [&](llama_io_read_i & in) {
            read_groups(in, seq_id, flags);
        });
    } catch (...) {
        clear(true);
        throw;
    }
}

void llama_kv_cache_layered::read_groups(llama_io_read_i & io, llama_seq_id seq_id, llama_state_seq_flags flags) {
    uint32_t n_groups;

    io.read(&n_groups,      sizeof(n_groups));
    io.read(&pos_removable, sizeof(pos_removable));

    for (int32_t il = 0; il < n_layer_; ++il) {
        uint8_t is_compressed;

        io.read(&is_compressed, sizeof(is_compressed));
        compressed[il] = is_compressed;
    }

    for (uint32_t ig = 0; ig < n_groups; ++ig) {
        int32_t  il_begin;
        int32_t  il_end;
        uint32_t n_cells;
        uint32_t n_cells_swa;

        io.read(&il_begin,    sizeof(il_begin));
        io.read(&il_end,      sizeof(il_end));
        io.read(&n_cells,     sizeof(n_cells));
        io.read(&n_cells_swa, sizeof(n_cells_swa));

        const int32_t il_prev = groups.empty() ? 0 : groups.back().il_end;

        if (il_begin != il_prev || il_end <= il_begin || il_end > n_layer_ || n_cells == 0 || n_cells > n_ctx || n_cells_swa > n_ctx) {
            throw std::runtime_error("the state's layers or cells do not match this context");
        }

        // the transposed V cannot grow later, see n_cells_for
        groups.push_back(make_group(il_begin, il_end, v_trans ? n_ctx : n_cells, n_cells_swa));
        new_layout();

        groups.back().mem->state_read(io, seq_id, flags);
    }

    if (n_groups > 0 && groups.back().il_end != n_layer_) {
        throw std::runtime_error("the state does not hold all layers");
    }
}

void llama_kv_cache_layered::reset_peak() {
    n_bytes_peak = bytes();
}

const llama_layerwise_group * llama_kv_cache_layered::group_of(int32_t il) const {
    for (const auto & group : groups) {
        if (group.has(il)) {
            return &group;
        }
    }

    return nullptr;
}

size_t llama_kv_cache_layered::bytes() const {
    size_t res = 0;

    for (const auto & group : groups) {
        res += group.bytes();
    }

    return res;
}

bool llama_kv_cache_layered::is_empty() const {
    for (const auto & group : groups) {
        if (group.n_used() > 0 || (group.kv_swa && group.kv_swa->get_cells(0).get_used() > 0)) {
            return false;
        }
    }

    return true;
}

void llama_kv_cache_layered::note_peak(size_t n_bytes_extra) {
    n_bytes_peak = std::max(n_bytes_peak, bytes() + n_bytes_extra);
}

void llama_kv_cache_layered::new_layout() {
    layout = next_layout();
}

//
// llama_kv_cache_layered_context
//

llama_kv_cache_layered_context::llama_kv_cache_layered_context(llama_memory_status status) : status(status) {}

llama_kv_cache_layered_context::llama_kv_cache_layered_context(
        std::vector<llama_memory_context_ptr> ctxs, std::vector<int32_t> il_groups, size_t n_real, uint64_t layout) :
    ctxs(std::move(ctxs)), il_groups(std::move(il_groups)), n_real(n_real), layout_(layout),
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
