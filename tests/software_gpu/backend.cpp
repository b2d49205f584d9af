// The functions of a ggml backend: each becomes an operation of a queue.

#include "buffer.h"
#include "fail.h"
#include "graph.h"
#include "noise.h"
#include "queue.h"

#include <cstring>

static sgpu_queue & queue_of(ggml_backend_t backend) {
    return *(sgpu_queue *) backend->context;
}

static sgpu_buffer & own_buffer(const sgpu_queue & queue, const ggml_tensor * tensor) {
    sgpu_buffer * res = sgpu_buffer::of(tensor);
    if (!res || &res->dev != &queue.dev) {
        sgpu_fail(sgpu_format("'%s' is copied on %s, which it does not lie on", tensor->name, queue.dev.name.c_str()));
    }

    return *res;
}

static const char * get_name(ggml_backend_t backend) {
    return queue_of(backend).dev.name.c_str();
}

static void free_backend(ggml_backend_t backend) {
    delete &queue_of(backend);
    delete backend;
}

static uint64_t checksum(const void * data, size_t size) {
    uint64_t res = 1469598103934665603u; // FNV-1a, a word at a time

    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, (const char *) data + i, 8);
        res = (res ^ word)*1099511628211u;
    }
    for (; i < size; ++i) {
        res = (res ^ ((const uint8_t *) data)[i])*1099511628211u;
    }

    return res;
}

static sgpu_access host_access(const void * data, size_t size, bool writes) {
    return { (uintptr_t) data, (uintptr_t) data + size, writes, "host memory" };
}

static void set_tensor_async(ggml_backend_t backend, ggml_tensor * tensor, const void * data, size_t offset, size_t size) {
    auto & queue = queue_of(backend);
    auto & dev   = queue.dev;

    const sgpu_bookkeeping bookkeeping(dev.counters);

    const auto & buf    = own_buffer(queue, tensor);
    const auto   access = buf.access(tensor, offset, size, true);
    char *       to     = buf.alias_of((void *) access.begin);

    dev.counters.note_copy(dev.counters.up, tensor->name, size);

    const std::string what    = sgpu_format("a queued copy of '%s' from the host", tensor->name);
    const double      seconds = sgpu_seconds_to_copy(dev.options, size);

    if (!dev.options.compute) {
        queue.push(what, { access, host_access(data, size, false) }, seconds, [] {});
    } else if (dev.is_shared()) {
        // Metal takes the data at once
        auto copy = std::make_shared<std::string>((const char *) data, size);
        queue.push(what, { access }, seconds, [=] { memcpy(to, copy->data(), size); });
    } else {
        // the host must leave it alone until the device has read it
        const uint64_t sum = checksum(data, size);
        queue.push(what, { access, host_access(data, size, false) }, seconds, [=] {
            if (checksum(data, size) != sum) {
                sgpu_fail(what + ": the host has changed the data before the device read it");
            }
            memcpy(to, data, size);
        });
    }
}

static void get_tensor_async(ggml_backend_t backend, const ggml_tensor * tensor, void * data, size_t offset, size_t size) {
    auto & queue = queue_of(backend);
    auto & dev   = queue.dev;

    const sgpu_bookkeeping bookkeeping(dev.counters);

    const auto & buf    = own_buffer(queue, tensor);
    const auto   access = buf.access(tensor, offset, size, false);
    const char * from   = buf.alias_of((void *) access.begin);

    dev.counters.note_copy(dev.counters.down, tensor->name, size);

    const auto type = tensor->type;
    if (dev.options.compute) {
        memset(data, 0xff, size); // NaN, for a host that does not wait
    }

    const std::string what    = sgpu_format("a queued copy of '%s' to the host", tensor->name);
    const double      seconds = sgpu_seconds_to_copy(dev.options, size);

    queue.push(what, { access, host_access(data, size, true) }, seconds, [=, &dev] {
        if (dev.options.compute) {
            memcpy(data, from, size);
        } else {
            sgpu_noise(type, data, size);
        }
    });
}

static bool cpy_tensor_async(ggml_backend_t backend_src, ggml_backend_t backend_dst, const ggml_tensor * src, ggml_tensor * dst) {
    const sgpu_buffer * from = sgpu_buffer::of(src);
    const sgpu_buffer * to   = sgpu_buffer::of(dst);

    if (!from || !to || backend_src->iface.get_name != get_name || backend_dst->iface.get_name != get_name) {
        return false;
    }

    auto & queue_src = queue_of(backend_src);
    auto & queue_dst = queue_of(backend_dst);

    if (&from->dev != &queue_src.dev || &to->dev != &queue_dst.dev) {
        return false;
    }

    const sgpu_bookkeeping bookkeeping(queue_dst.dev.counters);

    const size_t size = ggml_nbytes(src);

    const auto read  = from->access(src, 0, size, false);
    const auto write = to->access(dst, 0, size, true);

    queue_dst.dev.counters.note_copy(queue_dst.dev.counters.across, dst->name, size);

    // As Metal does, the copy waits for what the other device still does. CUDA does not: there llama.cpp's scheduler, which
    // keeps four copies of such a tensor, relies on no device being four ubatches ahead of the next.
    if (&queue_src != &queue_dst) {
        sgpu_event used;
        queue_dst.record(used);
        queue_src.wait(used);
    }

    const bool compute   = queue_dst.dev.options.compute;
    char *       to_ptr   = to->alias_of((void *) write.begin);
    const char * from_ptr = from->alias_of((void *) read.begin);

    const std::string what    = sgpu_format("a queued copy of '%s' to another device", src->name);
    const double      seconds = sgpu_seconds_to_copy(queue_src.dev.options, size);

    queue_src.push(what, { read, write }, seconds, [=] {
        if (compute) {
            memcpy(to_ptr, from_ptr, size);
        }
    });

    if (&queue_src != &queue_dst) {
        sgpu_event copied;
        queue_src.record(copied);
        queue_dst.wait(copied);
    }

    return true;
}

static void synchronize(ggml_backend_t backend) {
    queue_of(backend).synchronize();
}

static ggml_status graph_compute(ggml_backend_t backend, ggml_cgraph * cgraph) {
    auto & queue = queue_of(backend);
    auto & dev   = queue.dev;

    if (cgraph->n_nodes == 0) {
        return GGML_STATUS_SUCCESS;
    }

    const sgpu_bookkeeping bookkeeping(dev.counters);

    auto graph = std::make_shared<sgpu_graph>(dev, cgraph);

    {
        std::lock_guard<std::mutex> lock(dev.counters.mutex);
        dev.counters.graphs += 1;
        dev.counters.nodes  += graph->n_nodes;
    }

    auto accesses = std::move(graph->accesses);

    queue.push(graph->what, std::move(accesses), graph->seconds, [&queue, graph] {
        if (queue.dev.options.compute) {
            queue.compute(graph->get());
        }
    });

    return GGML_STATUS_SUCCESS;
}

static void event_record(ggml_backend_t backend, ggml_backend_event_t event) {
    queue_of(backend).record(*(sgpu_event *) event->context);
}

static void event_wait(ggml_backend_t backend, ggml_backend_event_t event) {
    queue_of(backend).wait(*(sgpu_event *) event->context);
}

static void graph_optimize(ggml_backend_t backend, ggml_cgraph *, ggml_backend_graph_optimize_params *) {
    queue_of(backend).dev.counters.note_divided();
}

static const ggml_backend_i backend_interface = {
    /* .get_name            = */ get_name,
    /* .free                = */ free_backend,
    /* .set_tensor_async    = */ set_tensor_async,
    /* .get_tensor_async    = */ get_tensor_async,
    /* .set_tensor_2d_async = */ nullptr,
    /* .get_tensor_2d_async = */ nullptr,
    /* .cpy_tensor_async    = */ cpy_tensor_async,
    /* .synchronize         = */ synchronize,
    /* .graph_plan_create   = */ nullptr,
    /* .graph_plan_free     = */ nullptr,
    /* .graph_plan_update   = */ nullptr,
    /* .graph_plan_compute  = */ nullptr,
    /* .graph_compute       = */ graph_compute,
    /* .event_record        = */ event_record,
    /* .event_wait          = */ event_wait,
    /* .graph_optimize      = */ graph_optimize,
};

ggml_backend_t sgpu_backend_init(ggml_backend_dev_t dev, const char *) {
    static ggml_guid guid = { 0x73, 0x6f, 0x66, 0x74, 0x77, 0x61, 0x72, 0x65, 0x2d, 0x67, 0x70, 0x75, 0x2d, 0x30, 0x30, 0x31 };

    return new ggml_backend { &guid, backend_interface, dev, new sgpu_queue(sgpu_device::of(dev)) };
}

void sgpu_backend_set_n_threads(ggml_backend_t backend, int n_threads) {
    queue_of(backend).set_n_threads(n_threads);
}

ggml_backend_event_t sgpu_event_new(ggml_backend_dev_t dev) {
    return new ggml_backend_event { dev, new sgpu_event };
}

void sgpu_event_free(ggml_backend_dev_t, ggml_backend_event_t event) {
    delete (sgpu_event *) event->context;
    delete event;
}

void sgpu_event_synchronize(ggml_backend_dev_t dev, ggml_backend_event_t event) {
    sgpu_queue::synchronize(sgpu_device::of(dev), *(sgpu_event *) event->context);
}
