// Where K or V is quantized: a layer runs with both as they are computed, and is quantized once, when it has run. So
// attention is exact, and as fast as without: cells are not read from their blocks again for each ubatch.

#include "layerwise-prefill.h"

#include "llama-context.h"
#include "llama-model.h"

#include <algorithm>
#include <iterator>

void llama_layerwise::run_exact(
        llama_layerwise_group & group, int32_t il_begin, int32_t il_end, const std::vector<llama_layerwise_wanted> & scores,
        bool in_place) {
    const uint32_t n_cleared_from = n_before > 0 ? 0 : n_written();

    // as llama_context does for each of its own graphs
    for (const auto & [backend, set_n_threads] : ctx.set_n_threads_fns) {
        set_n_threads(backend, ctx.cparams.n_threads_batch);
    }

    // those of the group get the tokens with the first layer
    const llama_layerwise_group cells = mem.make_exact(0, 0, group, 0);

    for (int32_t il = il_begin; il < il_end; ++il) {
        llama_layerwise_group exact = mem.make_exact(il, il + 1, cells, n_cleared_from);

        mem.note_peak(exact.bytes() + (in_place ? 0 : group.bytes()));

        const auto * kv_kept  = group.kv_of(il);
        const auto * kv_exact = exact.kv_of(il);

        const auto convert = [&](const llama_kv_cache & src, const llama_kv_cache & dst, llama_pos first) {
            wait();

            llama_layerwise_kv::convert(src, dst, il, llama_layerwise_kv::cells_from(*kv_exact, first),
                    backend_of(ggml_backend_buffer_get_type(kv_exact->get_k_storage(il)->buffer)));
        };

        if (kv_kept && n_before > 0) {
            convert(*kv_kept, *kv_exact, 0);
        }

        std::vector<llama_layerwise_wanted> scores_il;
        std::copy_if(scores.begin(), scores.end(), std::back_inserter(scores_il), [il](const auto & w) { return w.what.il == il; });

        run_ubatches(exact, il, il + 1, std::move(scores_il));

        group.copy_cells(exact);

        // those of the held tokens stay as they are, however many prompts begin with them
        if (kv_kept) {
            convert(*kv_exact, *kv_kept, n_before);
        }
    }
}
