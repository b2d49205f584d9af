// ggml-metal's own answer, for a GPU of Apple silicon.

#include "ggml-impl.h"

struct ggml_metal_device_props {
    bool   has_simdgroup_mm           = true;
    bool   has_simdgroup_reduction    = true;
    bool   has_bfloat                 = true;
    size_t max_theadgroup_memory_size = 32*1024;
};

struct ggml_metal_device {
    ggml_metal_device_props props;
};

typedef const ggml_metal_device * ggml_metal_device_t;

#include "metal.inc"

bool sgpu_metal_accepts(const ggml_tensor * op) {
    static const ggml_metal_device device;

    return ggml_metal_device_supports_op(&device, op);
}
