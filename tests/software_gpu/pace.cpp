#include "pace.h"

#include <algorithm>
#include <thread>

static constexpr double SECONDS_LAUNCH = 2e-6;  // of a kernel
static constexpr double SECONDS_COPY   = 10e-6; // of a copy between host and device, beside its bytes

static double bytes_of(const ggml_tensor * tensor) {
    return tensor ? (double) ggml_nelements(tensor)*ggml_type_size(tensor->type)/ggml_blck_size(tensor->type) : 0;
}

static double n_columns(const ggml_tensor * tensor) {
    return (double) tensor->ne[1]*tensor->ne[2]*tensor->ne[3];
}

double sgpu_seconds_of(const sgpu_options & options, const ggml_tensor * node) {
    double n_bytes = bytes_of(node);
    for (const auto * src : node->src) {
        n_bytes += bytes_of(src);
    }

    double arithmetic = 0;

    switch (node->op) {
        case GGML_OP_MUL_MAT:
        case GGML_OP_MUL_MAT_ID:
            arithmetic = 2*(double) node->src[0]->ne[0]*ggml_nelements(node)/(1e12*options.linear);
            break;
        case GGML_OP_FLASH_ATTN_EXT:
            // QK and PV of all queries and cells
            arithmetic = 2*n_columns(node->src[0])*node->src[1]->ne[1]*(node->src[1]->ne[0] + node->src[2]->ne[0])/(1e12*options.attention);
            break;
        case GGML_OP_GET_ROWS:
            n_bytes = 2*bytes_of(node);
            break;
        case GGML_OP_SET_ROWS:
        case GGML_OP_CPY:
            n_bytes = 2*bytes_of(node->src[0]);
            break;
        default:
            break;
    }

    return SECONDS_LAUNCH + std::max(arithmetic, n_bytes/(1e9*options.memory_gb));
}

double sgpu_seconds_to_copy(const sgpu_options & options, size_t n_bytes) {
    return options.is_paced() ? SECONDS_COPY + n_bytes/(1e9*options.bus_gb) : 0;
}

sgpu_time sgpu_after(sgpu_time time, double seconds) {
    return time + std::chrono::duration_cast<sgpu_time::duration>(std::chrono::duration<double>(seconds));
}

void sgpu_wait_until(sgpu_time time) {
    static constexpr auto ALMOST = std::chrono::microseconds(150);

    std::this_thread::sleep_until(time - ALMOST);
    while (std::chrono::steady_clock::now() < time) {
    }
}
