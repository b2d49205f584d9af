#pragma once

#include "counters.h"
#include "options.h"

#include "ggml-backend-impl.h"

#include <mutex>
#include <string>
#include <vector>

class sgpu_queue;

// One device of a backend. It lives as long as the process: what was opened and closed may still be pointed to.
struct sgpu_device {
    sgpu_device(ggml_backend_reg_t reg, const sgpu_options & options, size_t index);

    const sgpu_options options;
    const std::string  name;
    const std::string  host_name;

    sgpu_counters counters;

    ggml_backend_device      ggml;
    ggml_backend_buffer_type buft;
    ggml_backend_buffer_type buft_host; // pinned host memory

    bool is_shared() const { return options.memory == SGPU_MEMORY_SHARED; }

    size_t bytes_free();

    // its queues, to wait for all of them where an error is only counted
    void add_queue(sgpu_queue * queue);
    void remove_queue(sgpu_queue * queue);
    void drain();

    static sgpu_device & of(ggml_backend_dev_t dev) { return *(sgpu_device *) dev->context; }
    static sgpu_device & of(ggml_backend_buffer_type_t buft) { return *(sgpu_device *) buft->context; }

private:
    std::mutex               mutex;
    std::vector<sgpu_queue *> queues;
};

// buffer.cpp
ggml_backend_buffer_type_i sgpu_buffer_type_interface();
ggml_backend_buffer_type_i sgpu_host_buffer_type_interface();

bool sgpu_is_buft(ggml_backend_buffer_type_t buft);

ggml_backend_buffer_t sgpu_buffer_from_host_ptr(ggml_backend_dev_t dev, void * ptr, size_t size, size_t max_tensor_size);

// backend.cpp
ggml_backend_t sgpu_backend_init(ggml_backend_dev_t dev, const char * params);
void sgpu_backend_set_n_threads(ggml_backend_t backend, int n_threads);

ggml_backend_event_t sgpu_event_new(ggml_backend_dev_t dev);
void sgpu_event_free(ggml_backend_dev_t dev, ggml_backend_event_t event);
void sgpu_event_synchronize(ggml_backend_dev_t dev, ggml_backend_event_t event);

// accept.cpp
bool sgpu_accepts(sgpu_accept_mode mode, const ggml_tensor * op);

// bytes that a tensor takes there, with what the backend adds for itself
size_t sgpu_alloc_size(sgpu_accept_mode mode, const ggml_tensor * tensor);
