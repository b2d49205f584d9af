// Which operations a real device would accept: the functions of ggml-cuda and ggml-metal themselves, see extract.py.

#include "device.h"

bool sgpu_cuda_accepts(const ggml_tensor * op);
bool sgpu_metal_accepts(const ggml_tensor * op);

size_t sgpu_cuda_alloc_size(const ggml_tensor * tensor);

bool sgpu_accepts(sgpu_accept_mode mode, const ggml_tensor * op) {
    switch (mode) {
        case SGPU_ACCEPT_CUDA:  return sgpu_cuda_accepts(op);
        case SGPU_ACCEPT_METAL: return sgpu_metal_accepts(op);
        default:                return true;
    }
}

size_t sgpu_alloc_size(sgpu_accept_mode mode, const ggml_tensor * tensor) {
    return mode == SGPU_ACCEPT_CUDA ? sgpu_cuda_alloc_size(tensor) : ggml_nbytes(tensor);
}
