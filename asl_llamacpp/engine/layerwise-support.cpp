// Which models can be prefilled layer by layer, and which contexts get the layered KV cache.

#include "layerwise.h"

#include "layerwise-prefill.h"
#include "layerwise-sizes.h"

#include "llama-arch.h"
#include "llama-context.h"
#include "llama-model.h"

#include <stdexcept>
#include <string>

std::string llama_layerwise_refusal(const llama_model & model) {
    const auto & hparams = model.hparams;

    const std::string name = std::string("architecture '") + llm_arch_name(model.arch) + "' ";

    switch (model.arch) {
        case LLM_ARCH_BERT:
        case LLM_ARCH_JINA_BERT_V2:
        case LLM_ARCH_JINA_BERT_V3:
        case LLM_ARCH_NOMIC_BERT:
        case LLM_ARCH_NOMIC_BERT_MOE:
        case LLM_ARCH_NEO_BERT:
        case LLM_ARCH_EUROBERT:
        case LLM_ARCH_MODERN_BERT:
        case LLM_ARCH_GEMMA_EMBEDDING:
        case LLM_ARCH_LLAMA_EMBED:
        case LLM_ARCH_WAVTOKENIZER_DEC:
        case LLM_ARCH_T5:
        case LLM_ARCH_T5ENCODER:
            return name + "is an encoder or an embedding model";
        case LLM_ARCH_DREAM:
        case LLM_ARCH_LLADA:
        case LLM_ARCH_LLADA_MOE:
        case LLM_ARCH_RND1:
            return name + "is a diffusion model";
        case LLM_ARCH_MINIMAX_M3:
        case LLM_ARCH_GLM_DSA:
        case LLM_ARCH_DEEPSEEK32:
        case LLM_ARCH_DEEPSEEK4:
        case LLM_ARCH_GLM5_NEXT:
        case LLM_ARCH_HY_V4:
        case LLM_ARCH_DOTS3NOTE:
        case LLM_ARCH_QWEN4EXP:
            return name + "has a sparse-attention cache of its own";
        case LLM_ARCH_DFLASH:
        case LLM_ARCH_EAGLE3:
        case LLM_ARCH_GEMMA4_ASSISTANT:
            return name + "is a draft model";
        case LLM_ARCH_GEMMA3N:
        case LLM_ARCH_GEMMA4:
            return name + "reuses the KV of earlier layers";
        case LLM_ARCH_KIMI_K3:
        case LLM_ARCH_HRM_TEXT:
        case LLM_ARCH_NANBEIGE:
        case LLM_ARCH_PLAMO2:
            return name + "carries more than one hidden state from layer to layer";
        case LLM_ARCH_CLIP:
        case LLM_ARCH_QWEN3TTS:
        case LLM_ARCH_POCKETTTS:
        case LLM_ARCH_UNKNOWN:
            return name + "is not a text model";
        default:
            break;
    }

    if (llm_arch_is_recurrent(model.arch) || llm_arch_is_hybrid(model.arch)) {
        return name + "has recurrent layers";
    }
    if (hparams.is_mla()) {
        return name + "uses multi-head latent attention";
    }
    if (hparams.n_layer_kv_from_start >= 0) {
        return name + "reuses the KV of earlier layers";
    }
    if (hparams.router_layer >= 0) {
        return name + "has a router layer beside its other layers";
    }
    if (!hparams.causal_attn) {
        return name + "has non-causal attention";
    }
    if (hparams.n_layer() < 2) {
        return "the model has fewer than two layers";
    }
    if (model.split_mode() == LLAMA_SPLIT_MODE_TENSOR) {
        return "split_mode=LLAMA_SPLIT_MODE_TENSOR puts parts of each layer on every device: use LLAMA_SPLIT_MODE_LAYER";
    }

    return "";
}

static thread_local bool g_defer_kv    = false;
static thread_local bool g_all_outputs = false;

llama_memory_i * llama_layerwise_create_memory(llama_context & ctx, const llama_memory_params & params) {
    const auto & model   = ctx.get_model();
    const auto & cparams = ctx.get_cparams();

    if (!g_defer_kv) {
        return model.create_memory(params, cparams);
    }

    const std::string refusal = llama_layerwise_refusal(model);
    if (!refusal.empty()) {
        throw std::runtime_error(refusal + ": it cannot be prefilled layer by layer");
    }
    if (cparams.n_seq_max > 1 || params.mem_other != nullptr || params.ctx_type != LLAMA_CONTEXT_TYPE_DEFAULT) {
        throw std::runtime_error("a context for layer-wise prefill holds one sequence");
    }

    if (!g_all_outputs) {
        llama_layerwise::set_one_output(ctx);
    }

    return new llama_kv_cache_layered(ctx, params);
}

const char * llama_layerwise_model_error(const llama_model * model) {
    static thread_local std::string refusal;

    refusal = model ? llama_layerwise_refusal(*model) : "the model is NULL";

    return refusal.empty() ? nullptr : refusal.c_str();
}

int32_t llama_layerwise_model_layer(const llama_model * model, int32_t il, llama_layerwise_shape * shape) {
    if (model == nullptr || shape == nullptr || il < 0 || il >= (int32_t) model->hparams.n_layer()) {
        return LLAMA_LAYERWISE_STATUS_INVALID;
    }

    const auto & hparams = model->hparams;

    *shape = {
        /*.n_head    =*/ (int32_t) hparams.n_head(il),
        /*.n_head_kv =*/ (int32_t) hparams.n_head_kv(il),
        /*.n_embd_k  =*/ (int32_t) hparams.n_embd_k_gqa(il),
        /*.n_embd_v  =*/ (int32_t) hparams.n_embd_v_gqa(il),
        /*.n_swa     =*/ hparams.is_swa(il) ? (int32_t) hparams.n_swa : 0,
        /*.device    =*/ llama_layerwise_device_index(*model, model->dev_layer(il)),
    };

    return LLAMA_LAYERWISE_STATUS_OK;
}

void llama_layerwise_defer_kv(bool defer, bool all_outputs) {
    g_defer_kv    = defer;
    g_all_outputs = all_outputs;
}
