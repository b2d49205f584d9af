#include "buffer.h"

#include "fail.h"
#include "noise.h"
#include "pace.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <unordered_set>

#include <sys/mman.h>

static constexpr int GARBAGE = 0xff; // NaN as f32 and as f16, -1 as an index: memory that was never written shows

static std::mutex                               live_mutex;
static std::unordered_set<ggml_backend_buffer_t> live;

static char * map_pages(size_t size, int protection) {
    void * res = mmap(nullptr, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return res == MAP_FAILED ? nullptr : (char *) res;
}

static int next_number() {
    static std::atomic<int> number { 0 };

    return number++;
}

sgpu_buffer::sgpu_buffer(sgpu_device & dev, void * host_ptr, size_t size) :
    dev(dev), size(size), owned(host_ptr == nullptr), number(next_number()) {
    if (!owned) {
        address = alias = (char *) host_ptr;
        return;
    }

    alias   = map_pages(size, PROT_READ | PROT_WRITE);
    address = dev.is_shared() ? alias : map_pages(size, PROT_NONE);

    if (!alias || !address) {
        alias = nullptr;
        return;
    }
    if (dev.options.compute) {
        memset(alias, GARBAGE, size);
    }

    dev.counters.note_alloc(size, false);

    sgpu_guard(this);
}

sgpu_buffer::~sgpu_buffer() {
    if (!owned || !alias) {
        return;
    }

    dev.counters.note_alloc(-(int64_t) size, false);

    munmap(alias, size);
    if (dev.is_shared()) {
        // nobody else gets these addresses as long as they are explained
        mmap(address, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    }

    sgpu_unguard(this);
}

std::string sgpu_buffer::label() const {
    static const std::map<ggml_backend_buffer_usage, const char *> usages = {
        { GGML_BACKEND_BUFFER_USAGE_ANY,     ""        },
        { GGML_BACKEND_BUFFER_USAGE_WEIGHTS, "weights " },
        { GGML_BACKEND_BUFFER_USAGE_COMPUTE, "compute " },
    };

    return sgpu_format("%sbuffer %d of %s, %zu bytes", usages.at(ggml ? ggml->usage : GGML_BACKEND_BUFFER_USAGE_ANY), number,
        dev.name.c_str(), size);
}

void sgpu_buffer::name(const ggml_tensor * tensor) {
    names[(char *) tensor->data - address] = tensor->name;
}

std::string sgpu_buffer::tensor_at(size_t offset) const {
    const auto it = names.upper_bound(offset);

    return it == names.begin() ? "" : "'" + std::prev(it)->second + "', ";
}

static ggml_backend_buffer_t buffer_of(const ggml_tensor * tensor) {
    return tensor->buffer || !tensor->view_src ? tensor->buffer : tensor->view_src->buffer;
}

sgpu_buffer * sgpu_buffer::of(const ggml_tensor * tensor) {
    ggml_backend_buffer_t buffer = buffer_of(tensor);

    std::lock_guard<std::mutex> lock(live_mutex);

    return live.count(buffer) ? (sgpu_buffer *) buffer->context : nullptr;
}

sgpu_access sgpu_buffer::access(const ggml_tensor * tensor, size_t offset, size_t n, bool writes) const {
    const char * begin = (const char *) tensor->data + offset;

    if (begin < address || begin + n > address + size) {
        sgpu_fail(sgpu_format("bytes %zu to %zu of '%s' do not lie in its buffer: ", offset, offset + n, tensor->name) + label());
    }

    const size_t unit = ggml_type_size(tensor->type);

    // a device copies words, or what the tensor's elements are
    if ((offset % 4 != 0 || n % 4 != 0) && (offset % unit != 0 || n % unit != 0)) {
        sgpu_fail(sgpu_format("unaligned copy: bytes %zu to %zu of '%s', whose elements take %zu", offset, offset + n, tensor->name, unit));
    }

    return { (uintptr_t) begin, (uintptr_t) begin + n, writes, sgpu_order::get().intern(tensor->name) };
}

//
// as ggml calls it
//

static sgpu_buffer & buffer_context(ggml_backend_buffer_t buffer) {
    return *(sgpu_buffer *) buffer->context;
}

static void free_buffer(ggml_backend_buffer_t buffer) {
    auto & buf = buffer_context(buffer);

    sgpu_order::get().host_touches(buf.dev, "freeing " + buf.label(),
        { { (uintptr_t) buf.address, (uintptr_t) buf.address + buf.size, true, "all of it" } });

    {
        std::lock_guard<std::mutex> lock(live_mutex);
        live.erase(buffer);
    }

    if (buf.dev.options.count) {
        buf.dev.drain();
    }

    delete &buf;
}

static void * get_base(ggml_backend_buffer_t buffer) {
    return buffer_context(buffer).address;
}

static ggml_status init_tensor(ggml_backend_buffer_t buffer, ggml_tensor * tensor) {
    auto & buf = buffer_context(buffer);

    if (buffer->usage == GGML_BACKEND_BUFFER_USAGE_COMPUTE) {
        buf.dev.counters.note_placed();
    } else if (!tensor->view_src) {
        buf.name(tensor);
    }

    return GGML_STATUS_SUCCESS;
}

// the host stands by while a card would copy
static void stand_by(sgpu_device & dev, size_t size) {
    if (dev.options.is_paced()) {
        sgpu_wait_until(sgpu_after(std::chrono::steady_clock::now(), sgpu_seconds_to_copy(dev.options, size)));
    }
}

static sgpu_access host_access(const void * data, size_t size, bool writes) {
    return { (uintptr_t) data, (uintptr_t) data + size, writes, "host memory" };
}

static void memset_tensor(ggml_backend_buffer_t buffer, ggml_tensor * tensor, uint8_t value, size_t offset, size_t size) {
    auto & buf = buffer_context(buffer);

    const sgpu_bookkeeping bookkeeping(buf.dev.counters);

    const auto access = buf.access(tensor, offset, size, true);
    sgpu_order::get().host_touches(buf.dev, "memset", { access });

    if (buf.dev.options.compute) {
        memset(buf.alias_of((void *) access.begin), value, size);
    }
}

static void set_tensor(ggml_backend_buffer_t buffer, ggml_tensor * tensor, const void * data, size_t offset, size_t size) {
    auto & buf = buffer_context(buffer);

    const sgpu_bookkeeping bookkeeping(buf.dev.counters);

    const auto access = buf.access(tensor, offset, size, true);
    sgpu_order::get().host_touches(buf.dev, "a copy from the host", { access, host_access(data, size, false) });

    buf.dev.counters.note_copy(buf.dev.counters.up, tensor->name, size);
    buf.dev.counters.note_blocking_copy();

    stand_by(buf.dev, size);

    if (buf.dev.options.compute) {
        memcpy(buf.alias_of((void *) access.begin), data, size);
    }
}

static void get_tensor(ggml_backend_buffer_t buffer, const ggml_tensor * tensor, void * data, size_t offset, size_t size) {
    auto & buf = buffer_context(buffer);

    const sgpu_bookkeeping bookkeeping(buf.dev.counters);

    const auto access = buf.access(tensor, offset, size, false);
    sgpu_order::get().host_touches(buf.dev, "a copy to the host", { access, host_access(data, size, true) });

    buf.dev.counters.note_copy(buf.dev.counters.down, tensor->name, size);
    buf.dev.counters.note_blocking_copy();

    stand_by(buf.dev, size);

    if (buf.dev.options.compute) {
        memcpy(data, buf.alias_of((void *) access.begin), size);
    } else {
        sgpu_noise(tensor->type, data, size);
    }
}

static bool cpy_tensor(ggml_backend_buffer_t buffer, const ggml_tensor * src, ggml_tensor * dst) {
    auto & buf = buffer_context(buffer);

    const sgpu_buffer * from = sgpu_buffer::of(src);
    if (!from) {
        return false;
    }

    const sgpu_bookkeeping bookkeeping(buf.dev.counters);

    const size_t size = ggml_nbytes(src);

    const auto read  = from->access(src, 0, size, false);
    const auto write = buf.access(dst, 0, size, true);

    if (read.begin < write.end && write.begin < read.end) {
        sgpu_fail(sgpu_format("overlapping copy: '%s' to '%s'", src->name, dst->name));
    }

    sgpu_order::get().host_touches(buf.dev, "a copy", { read, write });

    buf.dev.counters.note_copy(buf.dev.counters.across, dst->name, size);
    buf.dev.counters.note_blocking_copy();

    if (buf.dev.options.compute) {
        memcpy(buf.alias_of((void *) write.begin), from->alias_of((void *) read.begin), size);
    }

    return true;
}

static void clear(ggml_backend_buffer_t buffer, uint8_t value) {
    auto & buf = buffer_context(buffer);

    const sgpu_bookkeeping bookkeeping(buf.dev.counters);

    sgpu_order::get().host_touches(buf.dev, "clearing " + buf.label(),
        { { (uintptr_t) buf.address, (uintptr_t) buf.address + buf.size, true, "all of it" } });

    if (buf.dev.options.compute) {
        memset(buf.alias, value, buf.size);
    }
}

static const ggml_backend_buffer_i buffer_interface = {
    /* .free_buffer   = */ free_buffer,
    /* .get_base      = */ get_base,
    /* .init_tensor   = */ init_tensor,
    /* .memset_tensor = */ memset_tensor,
    /* .set_tensor    = */ set_tensor,
    /* .get_tensor    = */ get_tensor,
    /* .set_tensor_2d = */ nullptr,
    /* .get_tensor_2d = */ nullptr,
    /* .cpy_tensor    = */ cpy_tensor,
    /* .clear         = */ clear,
    /* .reset         = */ nullptr,
};

static ggml_backend_buffer_t wrap(ggml_backend_buffer_type_t buft, std::unique_ptr<sgpu_buffer> buf) {
    ggml_backend_buffer_t res = ggml_backend_buffer_init(buft, buffer_interface, buf.get(), buf->size);

    buf->ggml = res;
    buf.release();

    std::lock_guard<std::mutex> lock(live_mutex);
    live.insert(res);

    return res;
}

static ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t buft, size_t size) {
    auto & dev = sgpu_device::of(buft);

    const sgpu_bookkeeping bookkeeping(dev.counters);

    if (size > dev.bytes_free()) {
        return nullptr;
    }

    auto buf = std::make_unique<sgpu_buffer>(dev, nullptr, size);

    return buf->alias ? wrap(buft, std::move(buf)) : nullptr;
}

ggml_backend_buffer_t sgpu_buffer_from_host_ptr(ggml_backend_dev_t dev, void * ptr, size_t size, size_t) {
    return wrap(&sgpu_device::of(dev).buft, std::make_unique<sgpu_buffer>(sgpu_device::of(dev), ptr, size));
}

static const char * buft_name(ggml_backend_buffer_type_t buft) {
    return sgpu_device::of(buft).name.c_str();
}

static size_t buft_alignment(ggml_backend_buffer_type_t buft) {
    return sgpu_device::of(buft).is_shared() ? 32 : 128; // as Metal's and CUDA's
}

static size_t buft_alloc_size(ggml_backend_buffer_type_t buft, const ggml_tensor * tensor) {
    auto & dev = sgpu_device::of(buft);

    dev.counters.note_sized();

    return sgpu_alloc_size(dev.options.accept, tensor);
}

ggml_backend_buffer_type_i sgpu_buffer_type_interface() {
    return {
        /* .get_name       = */ buft_name,
        /* .alloc_buffer   = */ alloc_buffer,
        /* .get_alignment  = */ buft_alignment,
        /* .get_max_size   = */ nullptr,
        /* .get_alloc_size = */ buft_alloc_size,
        /* .is_host        = */ nullptr, // neither CUDA's nor Metal's is
    };
}

bool sgpu_is_buft(ggml_backend_buffer_type_t buft) {
    return buft->iface.get_name == buft_name;
}

//
// pinned host memory, which queued copies go from and to
//

static const char * host_buft_name(ggml_backend_buffer_type_t buft) {
    return sgpu_device::of(buft).host_name.c_str();
}

static void (*free_cpu_buffer)(ggml_backend_buffer_t) = nullptr;

static void free_host_buffer(ggml_backend_buffer_t buffer) {
    auto & dev = sgpu_device::of(buffer->buft);

    sgpu_order::get().host_touches(dev, "freeing pinned host memory",
        { host_access(ggml_backend_buffer_get_base(buffer), buffer->size, true) });

    dev.counters.note_alloc(-(int64_t) buffer->size, true);

    free_cpu_buffer(buffer);
}

static ggml_backend_buffer_t alloc_host_buffer(ggml_backend_buffer_type_t buft, size_t size) {
    ggml_backend_buffer_t res = ggml_backend_buft_alloc_buffer(ggml_backend_cpu_buffer_type(), size);
    if (res) {
        free_cpu_buffer = res->iface.free_buffer;

        res->buft              = buft;
        res->iface.free_buffer = free_host_buffer;

        sgpu_device::of(buft).counters.note_alloc(size, true);
    }

    return res;
}

static size_t host_buft_alignment(ggml_backend_buffer_type_t) {
    return ggml_backend_buft_get_alignment(ggml_backend_cpu_buffer_type());
}

ggml_backend_buffer_type_i sgpu_host_buffer_type_interface() {
    return {
        /* .get_name       = */ host_buft_name,
        /* .alloc_buffer   = */ alloc_host_buffer,
        /* .get_alignment  = */ host_buft_alignment,
        /* .get_max_size   = */ nullptr,
        /* .get_alloc_size = */ nullptr,
        /* .is_host        = */ [](ggml_backend_buffer_type_t) { return true; },
    };
}
