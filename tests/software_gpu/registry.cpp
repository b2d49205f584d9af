#include "software-gpu.h"

#include "device.h"

#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

struct registry_context {
    sgpu_accept_mode accept;

    std::vector<std::unique_ptr<sgpu_device>> devices;
};

static registry_context & context_of(ggml_backend_reg_t reg) {
    return *(registry_context *) reg->context;
}

// the backend whose operations it accepts: the engine may know its kernels
static const char * get_name(ggml_backend_reg_t reg) {
    switch (context_of(reg).accept) {
        case SGPU_ACCEPT_CUDA:  return "CUDA";
        case SGPU_ACCEPT_METAL: return "MTL";
        default:                return "software GPU";
    }
}

static size_t get_device_count(ggml_backend_reg_t reg) {
    return context_of(reg).devices.size();
}

static ggml_backend_dev_t get_device(ggml_backend_reg_t reg, size_t index) {
    return &context_of(reg).devices.at(index)->ggml;
}

static void * get_proc_address(ggml_backend_reg_t, const char * name) {
    return strcmp(name, "ggml_backend_set_n_threads") == 0 ? (void *) sgpu_backend_set_n_threads : nullptr;
}

static std::string error;

ggml_backend_reg_t software_gpu_open(const char * options) {
    try {
        const auto parsed = sgpu_options::parse(options);

        auto context = std::make_unique<registry_context>();
        context->accept = parsed.accept;

        auto reg = std::make_unique<ggml_backend_reg>(ggml_backend_reg {
            GGML_BACKEND_API_VERSION, { get_name, get_device_count, get_device, get_proc_address }, context.get() });

        for (size_t i = 0; i < parsed.devices; ++i) {
            context->devices.push_back(std::make_unique<sgpu_device>(reg.get(), parsed, i));
        }

        ggml_backend_register(reg.get());

        context.release();

        return reg.release();
    } catch (const std::invalid_argument & e) {
        error = e.what();
        return nullptr;
    }
}

size_t software_gpu_close(ggml_backend_reg_t reg) {
    ggml_backend_unload(reg);

    size_t res = 0;
    for (const auto & dev : context_of(reg).devices) {
        std::lock_guard<std::mutex> lock(dev->counters.mutex);
        res += dev->counters.bytes_live + dev->counters.bytes_host_live;
    }

    return res;
}

const char * software_gpu_error(void) {
    return error.c_str();
}

const char * software_gpu_counters(ggml_backend_reg_t reg, size_t index) {
    static std::string json;

    json = context_of(reg).devices.at(index)->counters.json();

    return json.c_str();
}

void software_gpu_reset(ggml_backend_reg_t reg) {
    for (const auto & dev : context_of(reg).devices) {
        dev->counters.reset();
    }
}

bool software_gpu_accepts(const char * backend, const ggml_tensor * op) {
    return sgpu_accepts(strcmp(backend, "cuda") == 0 ? SGPU_ACCEPT_CUDA : SGPU_ACCEPT_METAL, op);
}
