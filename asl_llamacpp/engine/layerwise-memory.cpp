#include "layerwise-memory.h"

#include "layerwise-memory-context.h"
#include "layerwise-prefill.h"
#include "layerwise-state.h"

#include "llama-batch.h"
#include "llama-context.h"
#include "llama-impl.h"
#include "llama-io.h"
#include "llama-model.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <stdexcept>

// there is one sequence only; llama_kv_cache would end the process
static void check_state_seq(llama_seq_id seq_id) {
    if (seq_id != -1 && seq_id != 0) {
        throw std::runtime_error("there is no sequence " + std::to_string(seq_id));
    }
}

// what a layer computes with that keeps its K or V as this type
static ggml_type exact_type(ggml_type type) {
    return ggml_is_quantized(type) ? GGML_TYPE_F16 : type;
}

static uint64_t next_layout() {
    static std::atomic<uint64_t> layout { 0 };

    return ++layout;
}

llama_kv_cache_layered::llama_kv_cache_layered(llama_context & ctx, const llama_memory_params & params) :
    driver(std::make_shared<llama_layerwise>(ctx, *this)),
    model(ctx.get_model()), cparams(ctx.get_cparams()),
    type_k(params.type_k), type_v(params.type_v),
    v_trans(!cparams.flash_attn), swa_full(params.swa_full),
    n_layer_(model.hparams.n_layer()), n_ctx(cparams.n_ctx_seq),
    hparams_no_alloc(model.hparams) {
    hparams_no_alloc.no_alloc = true;

    const auto make_reserve = [this](ggml_type k, ggml_type v) {
        llama_layerwise_group res =
            make_empty(hparams_no_alloc, k, v, n_ctx, swa_full, [this](int32_t il) { return il < n_layer_; });

        res.il_begin = 0;
        res.il_end   = n_layer_;

        return res;
    };

    reserve = make_reserve(type_k, type_v);

    if (is_quantized()) {
        reserve_exact = make_reserve(exact_type(type_k), exact_type(type_v));
    }

    compressed.assign(n_layer_, false);

    new_layout();
}

llama_memory_context_ptr llama_kv_cache_layered::init_batch(llama_batch_allocr & balloc, uint32_t n_ubatch, bool embd_all) {
    GGML_UNUSED(embd_all);

    const std::lock_guard<llama_layerwise_mutex> lock(mutex);

    const auto fail = [](llama_memory_status status) {
        return std::make_unique<llama_kv_cache_layered_context>(status);
    };

    if (driver->active) {
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

            // the cells ran out: enlarge by an eighth, so that growing stays rare
            if (!ctx && grow(group, n_tokens, std::clamp(group.n_used()/8, CELLS_PAD, MAX_GROWTH))) {
                ctx = group.init(ubatches);
            }

            if (!ctx) {
                return fail(LLAMA_MEMORY_STATUS_FAILED_PREPARE);
            }

            std::fill(il_groups.begin() + group.il_begin, il_groups.begin() + group.il_end, (int32_t) ctxs.size());

            ctxs.push_back(std::move(ctx));
        }

        const size_t n_real = ctxs.size();

        return std::make_unique<llama_kv_cache_layered_context>(std::move(ctxs), std::move(il_groups), n_real, layout, mutex);
    } catch (const std::bad_alloc &) {
        LLAMA_LOG_ERROR("%s: out of memory while enlarging the KV cache for %u tokens\n", __func__, n_tokens);
        return fail(LLAMA_MEMORY_STATUS_FAILED_PREPARE);
    }
}

llama_memory_context_ptr llama_kv_cache_layered::with_others(const llama_layerwise_group & group, llama_memory_context_ptr ctx) {
    std::vector<llama_memory_context_ptr> ctxs;
    ctxs.push_back(std::move(ctx));
    ctxs.push_back(reserve.mem->init_full());

    std::vector<int32_t> il_groups(n_layer_, 1);
    std::fill(il_groups.begin() + group.il_begin, il_groups.begin() + group.il_end, 0);

    return std::make_unique<llama_kv_cache_layered_context>(std::move(ctxs), std::move(il_groups), 1, next_layout(), mutex);
}

llama_memory_context_ptr llama_kv_cache_layered::init_pass(llama_layerwise_group & group, const llama_ubatch & ubatch) {
    auto ctx = group.init({ ubatch });

    return ctx ? with_others(group, std::move(ctx)) : nullptr;
}

llama_memory_context_ptr llama_kv_cache_layered::init_reserve(llama_layerwise_group & group) {
    return with_others(group, group.mem->init_full());
}

llama_memory_context_ptr llama_kv_cache_layered::init_full() {
    std::vector<llama_memory_context_ptr> ctxs;
    ctxs.push_back(reserve.mem->init_full());

    return std::make_unique<llama_kv_cache_layered_context>(
            std::move(ctxs), std::vector<int32_t>(n_layer_, 0), 1, next_layout(), mutex);
}

llama_memory_context_ptr llama_kv_cache_layered::init_update(llama_context * lctx, bool optimize) {
    const std::lock_guard<llama_layerwise_mutex> lock(mutex);

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
            std::move(ctxs), std::vector<int32_t>(n_layer_, 0), n_real, next_layout(), mutex);
}

uint32_t llama_kv_cache_layered::n_graph_nodes(uint32_t n_tokens) const {
    // the masks, and views of the hidden states
    constexpr uint32_t N_OTHERS = 64;

    uint32_t n_head = 1;
    for (int32_t il = 0; il < n_layer_; ++il) {
        n_head = std::max(n_head, model.hparams.n_head(il));
    }

    return LLAMA_LAYERWISE_MAX_SCORED*llama_layerwise_pass::n_score_tensors(n_tokens, n_head) + N_OTHERS;
}

bool llama_kv_cache_layered::get_can_shift() const {
    return pos_removable == 0 && reserve.mem->get_can_shift();
}

void llama_kv_cache_layered::clear(bool data) {
    GGML_UNUSED(data);

    std::unique_lock<llama_layerwise_mutex> lock(mutex, std::defer_lock);

    if (!driver->interrupt(lock)) {
        drop_groups();
    }
}

void llama_kv_cache_layered::drop_groups() {
    driver->wait();

    groups.clear();

    compressed.assign(n_layer_, false);
    pos_removable = 0;

    new_layout();
}

bool llama_kv_cache_layered::seq_rm(llama_seq_id seq_id, llama_pos p0, llama_pos p1) {
    const std::lock_guard<llama_layerwise_mutex> lock(mutex);

    // the layers that are still to run would not agree
    if (driver->active) {
        return false;
    }

    const bool is_all = p0 <= 0 && (p1 < 0 || p1 > seq_pos_max(0));

    // the heads of a compressed layer hold different tokens in the same cell
    if (p0 < pos_removable && !is_all) {
        return false;
    }

    driver->forget_from(p0);

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
    const std::lock_guard<llama_layerwise_mutex> lock(mutex);

    if (driver->active) {
        return;
    }

    for (auto & group : groups) {
        group.mem->seq_cp(seq_id_src, seq_id_dst, p0, p1);
    }
}

void llama_kv_cache_layered::seq_keep(llama_seq_id seq_id) {
    const std::lock_guard<llama_layerwise_mutex> lock(mutex);

    if (driver->active) {
        return;
    }

    for (auto & group : groups) {
        group.mem->seq_keep(seq_id);
    }
}

void llama_kv_cache_layered::seq_add(llama_seq_id seq_id, llama_pos p0, llama_pos p1, llama_pos shift) {
    const std::lock_guard<llama_layerwise_mutex> lock(mutex);

    if (driver->active || pos_removable > 0) {
        return;
    }

    driver->forget_from(-1);

    for (auto & group : groups) {
        group.mem->seq_add(seq_id, p0, p1, shift);
    }
}

void llama_kv_cache_layered::seq_div(llama_seq_id seq_id, llama_pos p0, llama_pos p1, int d) {
    const std::lock_guard<llama_layerwise_mutex> lock(mutex);

    if (driver->active || pos_removable > 0) {
        return;
    }

    driver->forget_from(-1);

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
    const std::lock_guard<llama_layerwise_mutex> lock(mutex);

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

    const std::lock_guard<llama_layerwise_mutex> lock(mutex);

    // llama_state_get_size does not, and the checksum needs the data even then
    driver->wait();

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

    std::unique_lock<llama_layerwise_mutex> lock(mutex, std::defer_lock);

    if (driver->interrupt(lock)) {
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

bool llama_kv_cache_layered::is_empty() const {
    for (const auto & group : groups) {
        if (group.n_used() > 0 || (group.kv_swa && group.kv_swa->get_cells(0).get_used() > 0)) {
            return false;
        }
    }

    return true;
}

void llama_kv_cache_layered::new_layout() {
    layout = next_layout();
}
