#include "layerwise-graph.h"

#include "layerwise-inputs.h"

#include "llama-model.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

// the scores of a long prompt are computed a few window rows at a time, so that the side branch stays small
static constexpr int64_t MAX_KQ_BYTES = 64ll*1024*1024;

// but in no more steps than that, or the graph would grow with the prompt
static constexpr int64_t MAX_STEPS = 16;

// CUDA has a kernel for products of so many columns; for more it would first convert all of K to F32
static constexpr int64_t MAX_KQ_ROWS = 16;

// thrown out of the model's graph builder when the last layer of the range is built
struct llama_layerwise_stop {};

ggml_tensor * llama_layerwise_pass::hidden_view(ggml_context * ctx, int64_t n_tokens) const {
    return ggml_view_2d(ctx, hidden, hidden->ne[0], n_tokens, hidden->nb[1], i_hidden*hidden->nb[1]);
}

// let a tensor of the graph be a leaf: a part of one that lies elsewhere
static void make_leaf(ggml_tensor * cur, ggml_tensor * from, size_t offs) {
    cur->op        = GGML_OP_NONE;
    cur->view_src  = from;
    cur->view_offs = offs;
    cur->data      = from->data ? (char *) from->data + offs : nullptr;
    cur->buffer    = from->buffer;

    std::fill(cur->src, cur->src + GGML_MAX_SRC, nullptr);
}

void llama_layerwise_pass::on_tensor(const llm_graph_context & g, ggml_tensor * cur, const char * name, int il) {
    const bool is_begin = il == il_begin - 1;
    const bool is_end   = il == il_end   - 1 && il_end < n_layer;

    if ((!is_begin && !is_end) || strcmp(name, "l_out") != 0) {
        return;
    }

    if (cur->type != GGML_TYPE_F32 || !ggml_is_contiguous(cur) || ggml_nelements(cur) != hidden->ne[0]*g.n_tokens) {
        error = "the output of layer " + std::to_string(il) + " is not one row of floats per token";
        throw llama_layerwise_stop();
    }

    if (is_begin) {
        // all that led to the hidden states drops out of the graph
        make_leaf(cur, hidden, i_hidden*hidden->nb[1]);

        ggml_graph_clear(g.gf);

        seen_begin = true;
        return;
    }

    ggml_tensor * dst = hidden_view(g.ctx0, g.n_tokens);

    ggml_build_forward_expand(g.gf, ggml_cpy(g.ctx0, ggml_reshape_2d(g.ctx0, cur, dst->ne[0], dst->ne[1]), dst));

    seen_end = true;

    throw llama_layerwise_stop();
}

const llama_layerwise_pass::mask_t * llama_layerwise_pass::mask_of(int il) const {
    return masks.empty() || masks[il - il_begin].t == nullptr ? nullptr : &masks[il - il_begin];
}

ggml_tensor * llama_layerwise_pass::mask_rows(
        ggml_context * ctx, const mask_t & mask, int64_t n_kv, int64_t row, int64_t n_rows) const {
    return ggml_cont(ctx, ggml_view_2d(ctx, mask.t, n_kv, n_rows, mask.t->nb[1], mask_offs + row*mask.t->nb[1]));
}

ggml_tensor * llama_layerwise_pass::use_mask(ggml_context * ctx, const mask_t & mask, int64_t n_kv, int64_t n_tokens) {
    for (const auto & used : masks_used) {
        if (used.from.t == mask.t) {
            return used.t;
        }
    }

    // ggml_flash_attn_ext insists on rows that follow each other, its kernels do not: see build()
    ggml_tensor * res = mask.strided ? ggml_new_tensor_2d(ctx, GGML_TYPE_F16, n_kv, n_tokens) : mask_rows(ctx, mask, n_kv, 0, n_tokens);
    ggml_format_name(res, "%s (ubatch)", mask.t->name);

    masks_used.push_back({ mask, res });

    return res;
}

void llama_layerwise_pass::on_attn(
        const llm_graph_context & g,
              ggml_tensor * q,
              ggml_tensor * k,
              ggml_tensor * kq_b,
              ggml_tensor * & kq_mask,
              ggml_tensor * sinks,
                    float   kq_scale,
                      int   il) {
    if (il < il_begin || il >= il_end || g.hparams.is_swa(il)) {
        return;
    }

    const mask_t * mask = kq_b == nullptr ? mask_of(il) : nullptr;
    if (mask) {
        kq_mask = use_mask(g.ctx0, *mask, k->ne[1], g.n_tokens);
    }

    auto * scores = wanted_of(il);
    if (!scores) {
        return;
    }

    if (!scores->is_products() && (kq_b != nullptr || kq_mask == nullptr)) {
        error = "the attention of layer " + std::to_string(il) + " has a bias that window scores cannot include";
        throw llama_layerwise_stop();
    }

    build_scores(*scores, g, q, k, kq_mask, sinks, kq_scale, il);
}

llama_layerwise_wanted * llama_layerwise_pass::wanted_of(int il) {
    const auto it = std::find_if(wanted.begin(), wanted.end(), [il](const auto & w) { return w.what.il == il; });

    return i_window < 0 || it == wanted.end() ? nullptr : &*it;
}

static int64_t least_step(int64_t n_rows) {
    return (n_rows + MAX_STEPS - 1)/MAX_STEPS;
}

int64_t llama_layerwise_pass::n_score_tensors(int64_t n_rows, int64_t n_head) {
    // see llama_layerwise_add_rows
    const auto n_adding = [](int64_t n) {
        int64_t res = 2;
        for (; n > 1; n /= 2) {
            res += 5;
        }
        return res;
    };

    // a step: the rows of Q, their product, two soft caps of three, the mask's rows and their copy, the softmax, the sum of
    // the rows and that of the steps
    const int64_t n_step = 11 + n_adding(least_step(n_rows)) + 1;

    // the heads' numbers and their rows, these without the window, averages, maximum and what makes it no number
    return std::min(n_rows, MAX_STEPS)*n_step + 1 + 8 + n_adding(n_head);
}

void llama_layerwise_pass::build_scores(
              llama_layerwise_wanted & scores,
        const llm_graph_context & g,
              ggml_tensor * q,
              ggml_tensor * k,
              ggml_tensor * kq_mask,
              ggml_tensor * sinks,
                    float   kq_scale,
                      int   il) {
    ggml_context * ctx0 = g.ctx0;

    const auto & hparams = g.hparams;

    const int64_t n_kv   = k->ne[1];
    const int64_t n_head = q->ne[2];
    const int64_t n_rows = q->ne[1] - i_window;
    const int64_t n_least = least_step(n_rows);
    const int64_t n_most  = std::max(n_least, std::min(n_rows, MAX_KQ_ROWS));
    const int64_t n_step  = std::clamp<int64_t>(MAX_KQ_BYTES/(n_kv*n_head*(int64_t) sizeof(float)), n_least, n_most);

    // flash attention applies the scale before the soft cap, the plain path after it
    const bool  scale_first = hparams.attn_soft_cap && g.cparams.flash_attn;
    const float scale_in    = scale_first ? kq_scale : 1.0f;
    const float scale_out   = scale_first ? 1.0f : kq_scale;
    const float cap         = hparams.f_attn_logit_softcapping;

    ggml_tensor * sum = nullptr;

    for (int64_t i = 0; i < n_rows; i += n_step) {
        const int64_t n_cur = std::min(n_step, n_rows - i);
        const int64_t row   = i_window + i;

        ggml_tensor * q_cur = ggml_view_3d(ctx0, q, q->ne[0], n_cur, n_head, q->nb[1], q->nb[2], row*q->nb[1]);

        ggml_tensor * kq = ggml_mul_mat(ctx0, k, q_cur);
        ggml_prec_set_acc(kq, GGML_PREC_F32);

        if (!scores.is_products()) {
            // the same logit transformations as in build_attn_mha
            if (g.arch == LLM_ARCH_GROK) {
                kq = ggml_scale(ctx0, ggml_tanh(ctx0, ggml_scale(ctx0, kq, hparams.f_attn_out_scale/cap)), cap);
            }
            if (hparams.attn_soft_cap) {
                kq = ggml_scale(ctx0, ggml_tanh(ctx0, ggml_scale(ctx0, kq, scale_in/cap)), cap);
            }

            ggml_tensor * mask = mask_of(il) ? mask_rows(ctx0, *mask_of(il), n_kv, row, n_cur)
                : ggml_view_2d(ctx0, kq_mask, n_kv, n_cur, kq_mask->nb[1], row*kq_mask->nb[1]);

            kq = ggml_soft_max_ext(ctx0, kq, mask, scale_out, hparams.f_max_alibi_bias);
            ggml_soft_max_add_sinks(kq, sinks);
        }

        ggml_tensor * cur = llama_layerwise_add_rows(ctx0, kq);

        sum = sum ? ggml_add(ctx0, sum, cur) : cur;
    }

    scores.t = scores.combine(g, ggml_reshape_2d(ctx0, sum, n_kv, n_head));

    if (scores.t) {
        ggml_format_name(scores.t, "window_scores-%d", il);
        ggml_set_output(scores.t);

        scores.i_node_begin = ggml_graph_n_nodes(g.gf);
        ggml_build_forward_expand(g.gf, scores.t);
        scores.i_node_end   = ggml_graph_n_nodes(g.gf);
    }
}

void llama_layerwise_pass::use_inputs(llm_graph_result & res) const {
    // the graph input lets go of a tensor that is no longer its to set
    const auto use = [](ggml_tensor * & t, ggml_tensor * from, int64_t i) {
        if (t) {
            make_leaf(t, from, i*from->nb[0]);

            t->flags &= ~GGML_TENSOR_FLAG_INPUT;
            t         = nullptr;
        }
    };

    for (const auto & input : res.inputs) {
        if (auto * inp = dynamic_cast<llm_graph_input_pos *>(input.get())) {
            use(inp->pos, inputs->pos, i_token*inputs->n_pos);
        } else if (auto * inp = dynamic_cast<llm_graph_input_attn_kv *>(input.get())) {
            use(inp->self_k_idxs, inputs->idxs, i_token);
            use(inp->self_v_idxs, inputs->idxs, i_token);
        } else if (auto * inp = dynamic_cast<llm_graph_input_attn_kv_iswa *>(input.get())) {
            use(inp->self_k_idxs, inputs->idxs, i_token);
            use(inp->self_v_idxs, inputs->idxs, i_token);
        }
    }
}

bool llama_layerwise_pass::verify(ggml_cgraph * gf) {
    if (!error.empty()) {
        return false;
    }

    if ((il_begin > 0 && !seen_begin) || (il_end < n_layer && !seen_end)) {
        error = "its graph does not report the output of every layer";
        return false;
    }

    for (int i = 0; i < ggml_graph_n_nodes(gf); ++i) {
        const char * name = ggml_graph_node(gf, i)->name;
        const char * dash = strrchr(name, '-');

        if (dash == nullptr || dash[1] < '0' || dash[1] > '9') {
            continue;
        }

        const int il = atoi(dash + 1);
        if (il < il_begin) {
            error = "layer " + std::to_string(il_begin) + " needs more of layer " + std::to_string(il) + " than its output ("
                + name + ")";
            return false;
        }
    }

    return true;
}

ggml_cgraph * llama_layerwise_pass::build(const llama_model & model, const llm_graph_params & params) {
    for (auto & scores : wanted) {
        scores.t = nullptr;
    }

    masks_used.clear();
    error.clear();

    seen_begin = false;
    seen_end   = false;

    ggml_cgraph * gf = params.res->get_gf();

    try {
        gf = model.build_graph(params);
    } catch (const llama_layerwise_stop &) {
        // the graph ends behind the range's last layer
    }

    if (inputs) {
        use_inputs(*params.res);
    }

    for (const auto & [mask, t] : masks_used) {
        if (mask.strided) {
            make_leaf(t, mask.t, mask_offs);

            t->nb[1] = mask.t->nb[1];
            t->nb[2] = t->nb[1]*t->ne[1];
            t->nb[3] = t->nb[2];
        }
    }

    // see patches/0004-flash-attention-few-rows.patch
    for (int i = 0; few_rows && i < ggml_graph_n_nodes(gf); ++i) {
        if (ggml_graph_node(gf, i)->op == GGML_OP_FLASH_ATTN_EXT) {
            ggml_graph_node(gf, i)->op_params[4] = 1;
        }
    }

    return verify(gf) ? gf : nullptr;
}
