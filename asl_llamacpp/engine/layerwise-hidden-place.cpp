// Where the hidden states between the layers lie: on the device of the layers that run next, or on the host.

#include "layerwise-prefill.h"

#include "llama-context.h"
#include "llama-model.h"

static bool is_cpu(ggml_backend_dev_t dev) {
    return ggml_backend_dev_type(dev) == GGML_BACKEND_DEVICE_TYPE_CPU;
}

void llama_layerwise::keep_hidden(bool on_host) {
    require_idle();

    for (int32_t il = 0; on_host && il < n_layer(); ++il) {
        const auto dev = ctx.model.dev_layer(il);

        // Metal and integrated GPUs use the host's memory, other machines have none that would be near
        const bool is_apart = ggml_backend_dev_host_buffer_type(dev) && ggml_backend_dev_type(dev) != GGML_BACKEND_DEVICE_TYPE_IGPU;

        if (!is_cpu(dev) && !is_apart) {
            throw llama_layerwise_exception(LLAMA_LAYERWISE_STATUS_UNSUPPORTED,
                std::string("hidden states cannot be kept on the host: layer ") + std::to_string(il) + " lies on "
                + ggml_backend_dev_name(dev) + ", which has no memory apart from the host's, or is another machine",
                /*unchanged =*/ true);
        }
    }

    hidden_on_host = on_host;
}

ggml_backend_buffer_type_t llama_layerwise::hidden_buft(int32_t il, bool on_host) const {
    if (!on_host) {
        return ggml_backend_dev_buffer_type(ctx.model.dev_layer(il));
    }

    // of all devices the same, so that nothing is copied on the way from one to another
    for (int32_t i = 0; i < n_layer(); ++i) {
        const auto dev = ctx.model.dev_layer(i);

        if (!is_cpu(dev)) {
            return ggml_backend_dev_host_buffer_type(dev);
        }
    }

    return ggml_backend_cpu_buffer_type();
}

int64_t llama_layerwise::n_hidden_before() const {
    return hidden_before.t ? n_prompt - hidden.t->ne[1] : 0;
}

void llama_layerwise::join_hidden() {
    if (!hidden_before.t) {
        return;
    }

    ggml_backend_sched_synchronize(ctx.sched.get());

    const int64_t n_first = n_hidden_before();

    llama_layerwise_hidden res;
    res.alloc(hidden.buft(), hidden.t->ne[0], n_prompt);

    hidden_before.copy_rows(0, res, 0, n_first);
    hidden.copy_rows(0, res, n_first, hidden.t->ne[1]);

    hidden        = std::move(res);
    hidden_before = llama_layerwise_hidden();
}

void llama_layerwise::place_hidden(llama_layerwise_hidden & states, int32_t il_begin, int32_t il_end, int64_t n, bool on_host) {
    const bool is_last = il_end == n_layer();

    if (!states.t) {
        if (!is_last) {
            states.alloc(hidden_buft(il_end - 1, on_host), ctx.model.hparams.n_embd, n);
        }
        return;
    }

    const auto buft = hidden_buft(il_begin, on_host);

    if (states.buft() != buft || (states.shares(held.hidden) && !is_last)) {
        ggml_backend_sched_synchronize(ctx.sched.get());

        states = states.copy_to(buft);
    }
}

llama_layerwise_staging llama_layerwise::stage_hidden(int32_t il, int64_t n_rows) {
    const auto buft = ggml_backend_dev_buffer_type(ctx.model.dev_layer(il));

    const bool is_staged = hidden.t && ggml_backend_buft_is_host(hidden.buft()) && !ggml_backend_buft_is_host(buft);

    // rows of the run before may still be on their way to the host
    if (is_staged || hidden_staged.t) {
        ggml_backend_sched_synchronize(ctx.sched.get());
    }

    if (!is_staged) {
        hidden_staged = llama_layerwise_hidden();
        return {};
    }

    if (!hidden_staged.t || hidden_staged.buft() != buft || hidden_staged.t->ne[1] < 2*n_rows) {
        hidden_staged = llama_layerwise_hidden(); // first, so that there is never more than one
        hidden_staged.alloc(buft, hidden.t->ne[0], 2*n_rows);
        ggml_set_name(hidden_staged.t, "layerwise_hidden_staged");
    }

    llama_layerwise_staging res;

    res.backend = backend_of(buft);
    res.host    = hidden.t;
    res.device  = hidden_staged.t;

    return res;
}
