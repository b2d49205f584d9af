#pragma once

#include "device.h"
#include "order.h"

#include <map>
#include <mutex>

// Memory of a device. Tensors point to addresses that nobody can touch; the device itself reaches the same bytes under
// an alias. With shared memory the two are one.
struct sgpu_buffer {
    sgpu_buffer(sgpu_device & dev, void * host_ptr, size_t size); // host_ptr: NULL, or memory that stays the host's
    ~sgpu_buffer();

    // NULL if the tensor lies in no buffer of a software GPU
    static sgpu_buffer * of(const ggml_tensor * tensor);

    // bytes of a tensor, where the host sees them; fails where they do not lie in the buffer, or are cut through
    sgpu_access access(const ggml_tensor * tensor, size_t offset, size_t size, bool writes) const;

    char * alias_of(const void * ptr) const { return alias + ((const char *) ptr - address); }

    std::string label() const;

    sgpu_device & dev;

    const size_t size;
    const bool   owned;

    char * address = nullptr;
    char * alias   = nullptr; // NULL: there is not enough memory

    ggml_backend_buffer_t ggml = nullptr;

    // what the fault handler says about an address; only tensors that stay are known by name
    void name(const ggml_tensor * tensor);
    std::string tensor_at(size_t offset) const;

private:
    const int number;

    std::map<size_t, std::string> names; // by offset
};

// fault.cpp: addresses whose use by the host is explained before the process ends
void sgpu_guard(const sgpu_buffer * buffer);
void sgpu_unguard(const sgpu_buffer * buffer); // the addresses stay taken for a while, and are explained as freed
