// Contrast: tokens that ask nothing, run beside the prompt's own, so that it can be told what any question would look at.

#include "layerwise-prefill.h"

#include "llama-batch.h"
#include "llama-context.h"
#include "llama-model.h"

#include <algorithm>

// the sequences of a group's cells: the prompt has the first one to itself but while the contrast runs
static constexpr llama_seq_id SEQ_PROMPT   = 0;
static constexpr llama_seq_id SEQ_CONTRAST = 1;

// while it lives, the cells of the prompt's first n_seen tokens are the contrast's too. Afterwards its own are free again,
// and the next tokens get the cells that they would have got
struct llama_layerwise_shared_cells {
    llama_layerwise_shared_cells(const llama_layerwise_group & group, llama_pos n_seen, llama_pos n_swa) :
        kvs { group.kv_base, group.kv_swa } {
        for (size_t i = 0; i < 2; ++i) {
            if (kvs[i]) {
                heads[i] = llama_layerwise_kv::head(*kvs[i]);

                // of a ring only what is looked at: older cells may be taken, and shared ones may not
                kvs[i]->seq_cp(SEQ_PROMPT, SEQ_CONTRAST, i == 0 ? 0 : std::max(0, n_seen - n_swa), n_seen);
            }
        }
    }

    ~llama_layerwise_shared_cells() {
        for (size_t i = 0; i < 2; ++i) {
            if (kvs[i]) {
                kvs[i]->seq_rm(SEQ_CONTRAST, -1, -1);

                llama_layerwise_kv::set_head(*kvs[i], heads[i]);
            }
        }
    }

    llama_kv_cache * kvs[2];
    uint32_t         heads[2] = {};
};

void llama_layerwise::set_contrast(int32_t n_seen, const llama_token * tokens_inp, int32_t n_tokens) {
    require_active();

    if (il_next > 0) {
        llama_layerwise_invalid("layers have run already: the contrast begins with the first one");
    }
    if ((int32_t) pos.size() != n_prompt - n_before) {
        llama_layerwise_invalid("tokens were dropped already: the contrast follows a whole prompt");
    }
    if (n_seen < std::max(1, n_before) || n_seen > n_prompt) {
        llama_layerwise_invalid("the contrast follows between " + std::to_string(std::max(1, n_before)) + " and " + std::to_string(n_prompt)
            + " of the prompt's tokens, not " + std::to_string(n_seen));
    }

    const int32_t n_ubatch = ctx.cparams.n_ubatch;

    if (tokens_inp == nullptr || n_tokens < 1 || n_tokens > n_ubatch || n_seen + n_tokens > (int32_t) ctx.cparams.n_ctx_seq
        || n_prompt + n_tokens > (int32_t) ctx.cparams.n_ctx_seq) {
        llama_layerwise_invalid("the contrast must have between 1 and n_ubatch = " + std::to_string(n_ubatch)
            + " tokens, and fit n_ctx = " + std::to_string(ctx.cparams.n_ctx_seq) + " behind the prompt");
    }

    check_vocabulary(tokens_inp, n_tokens, " of the contrast");

    // a ring of cells holds a ubatch more than the window
    if (mem.has_rings() && n_prompt - n_seen + n_tokens > n_ubatch) {
        llama_layerwise_invalid("the sliding-window layers have forgotten what " + std::to_string(n_prompt - n_seen + n_tokens)
            + " tokens would follow: at most n_ubatch = " + std::to_string(n_ubatch));
    }

    contrast_t res;
    res.n_seen = n_seen;
    res.tokens.assign(tokens_inp, tokens_inp + n_tokens);

    n_headroom = std::max(n_headroom, n_tokens);

    if (n_before > 0) {
        reopen_held(n_before, tokens.size(), n_headroom);
    }

    contrast = std::move(res);
}

void llama_layerwise::run_contrast(llama_layerwise_group & group, llama_layerwise_pass & pass) {
    const size_t n = contrast.tokens.size();

    std::vector<llama_layerwise_wanted> wanted;
    for (const auto & of_prompt : pass.wanted) {
        if (of_prompt.what.contrast) {
            wanted.push_back(of_prompt.of_contrast(contrast.n_seen));
        }
    }

    if (wanted.empty() && pass.il_end == pass.n_layer) {
        return;
    }

    // few enough to stay on the device
    place_hidden(contrast.hidden, pass.il_begin, pass.il_end, n, /*on_host =*/ false);

    pass.hidden   = contrast.hidden.t;
    pass.i_token  = 0;
    pass.i_hidden = 0;
    pass.i_window = wanted.empty() ? -1 : 0;
    pass.wanted   = std::move(wanted);
    pass.few_rows = has_long_ubatches();

    pass.inputs    = nullptr;
    pass.mask_offs = 0;

    // its own, since what the contrast sees is not what lies before it
    const int64_t n_past = group.n_used();

    pass.masks.clear();

    if (ctx.cparams.flash_attn && llama_layerwise_kv::in_order(*group.kv_base)) {
        if (!contrast.mask.is_for(n_past)) {
            ggml_backend_sched_synchronize(ctx.sched.get());
            contrast.mask = llama_layerwise_contrast_mask(n_past, contrast.n_seen, n);
        }

        place_masks(group, pass, n, [this](ggml_backend_buffer_type_t buft) { return contrast.mask.on(buft); });
    }

    const llama_layerwise_shared_cells shared(group, contrast.n_seen, ctx.model.hparams.n_swa);

    std::vector<llama_pos> pos_contrast(n);
    for (size_t i = 0; i < n; ++i) {
        pos_contrast[i] = contrast.n_seen + i;
    }

    run_ubatch(group, pass, make_ubatch(contrast.tokens.data(), pos_contrast.data(), n, SEQ_CONTRAST, false), false);

    if (!pass.wanted.empty()) {
        ggml_backend_sched_synchronize(ctx.sched.get());
    }
    for (auto & scores : pass.wanted) {
        scores.read(true, true);
    }
}
