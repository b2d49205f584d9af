#include "device.h"

#include "queue.h"

#include <algorithm>

static const char * get_name(ggml_backend_dev_t dev) {
    return sgpu_device::of(dev).name.c_str();
}

static const char * get_description(ggml_backend_dev_t dev) {
    return sgpu_device::of(dev).is_shared() ? "software GPU with shared memory" : "software GPU with memory of its own";
}

static void get_memory(ggml_backend_dev_t dev, size_t * free, size_t * total) {
    *free  = sgpu_device::of(dev).bytes_free();
    *total = sgpu_device::of(dev).options.bytes;
}

static enum ggml_backend_dev_type get_type(ggml_backend_dev_t) {
    return GGML_BACKEND_DEVICE_TYPE_GPU;
}

static void get_props(ggml_backend_dev_t dev, ggml_backend_dev_props * props) {
    const bool is_shared = sgpu_device::of(dev).is_shared();

    props->name        = get_name(dev);
    props->description = get_description(dev);
    props->type        = get_type(dev);
    get_memory(dev, &props->memory_free, &props->memory_total);

    props->caps = {
        /* .async                = */ true,
        /* .host_buffer          = */ !is_shared,
        /* .buffer_from_host_ptr = */ is_shared,
        /* .events               = */ true,
        /* .mmap_support         = */ true,
    };
}

static ggml_backend_buffer_type_t get_buffer_type(ggml_backend_dev_t dev) {
    return &sgpu_device::of(dev).buft;
}

static ggml_backend_buffer_type_t get_host_buffer_type(ggml_backend_dev_t dev) {
    return sgpu_device::of(dev).is_shared() ? nullptr : &sgpu_device::of(dev).buft_host;
}

static bool is_refused(const sgpu_options & options, const ggml_tensor * op) {
    const bool is_wide = op->op == GGML_OP_MUL_MAT && op->src[0]->view_src && (size_t) op->ne[1] > options.view_columns;

    return is_wide || options.refuse == ggml_op_name(op->op);
}

static bool supports_op(ggml_backend_dev_t dev, const ggml_tensor * op) {
    for (const auto * src : op->src) {
        if (src && src->buffer && sgpu_is_buft(src->buffer->buft) && src->buffer->buft->device != dev) {
            return false;
        }
    }

    static ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);

    if (is_refused(sgpu_device::of(dev).options, op)) {
        return false;
    }

    return sgpu_accepts(sgpu_device::of(dev).options.accept, op) && ggml_backend_dev_supports_op(cpu, op);
}

static bool supports_buft(ggml_backend_dev_t dev, ggml_backend_buffer_type_t buft) {
    return sgpu_is_buft(buft) && buft->device == dev;
}

// Work for so many tokens is worth the upload of weights that stay on the host: of any operation with CUDA, of products
// with Metal.
static bool offload_op(ggml_backend_dev_t dev, const ggml_tensor * op) {
    static constexpr int64_t N_MIN = 32;

    switch (op->op) {
        case GGML_OP_MUL_MAT:
            return op->ne[1] >= N_MIN;
        case GGML_OP_MUL_MAT_ID:
            return op->ne[2] >= N_MIN;
        case GGML_OP_GET_ROWS:
            return false;
        case GGML_OP_ROPE:
        case GGML_OP_ROPE_BACK:
            return !sgpu_device::of(dev).is_shared() && op->ne[2] >= N_MIN;
        default:
            return !sgpu_device::of(dev).is_shared() && ggml_nrows(op) >= N_MIN;
    }
}

static ggml_backend_device_i device_interface(const sgpu_options & options) {
    return {
        /* .get_name             = */ get_name,
        /* .get_description      = */ get_description,
        /* .get_memory           = */ get_memory,
        /* .get_type             = */ get_type,
        /* .get_props            = */ get_props,
        /* .init_backend         = */ sgpu_backend_init,
        /* .get_buffer_type      = */ get_buffer_type,
        /* .get_host_buffer_type = */ get_host_buffer_type,
        /* .buffer_from_host_ptr = */ options.memory == SGPU_MEMORY_SHARED ? sgpu_buffer_from_host_ptr : nullptr,
        /* .supports_op          = */ supports_op,
        /* .supports_buft        = */ supports_buft,
        /* .offload_op           = */ offload_op,
        /* .event_new            = */ sgpu_event_new,
        /* .event_free           = */ sgpu_event_free,
        /* .event_synchronize    = */ sgpu_event_synchronize,
    };
}

sgpu_device::sgpu_device(ggml_backend_reg_t reg, const sgpu_options & options, size_t index) :
    options(options), name("SGPU" + std::to_string(index)), host_name(name + "_Host"),
    ggml      { device_interface(options),             reg,   this },
    buft      { sgpu_buffer_type_interface(),      &ggml, this },
    buft_host { sgpu_host_buffer_type_interface(), &ggml, this } {}

size_t sgpu_device::bytes_free() {
    std::lock_guard<std::mutex> lock(counters.mutex);

    return options.bytes - std::min<size_t>(options.bytes, counters.bytes_live);
}

void sgpu_device::add_queue(sgpu_queue * queue) {
    std::lock_guard<std::mutex> lock(mutex);

    queues.push_back(queue);
}

void sgpu_device::remove_queue(sgpu_queue * queue) {
    std::lock_guard<std::mutex> lock(mutex);

    queues.erase(std::remove(queues.begin(), queues.end(), queue), queues.end());
}

void sgpu_device::drain() {
    std::lock_guard<std::mutex> lock(mutex);

    for (auto * queue : queues) {
        queue->drain();
    }
}
