#include "layerwise-state.h"

#include "ggml-backend.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

static constexpr uint32_t STATE_MAGIC = 0x6c61796d;

static constexpr size_t READ_SIZE = 1 << 20;

// FNV-1a in words of 8 bytes, folded so that the high bits count
struct checksum {
    uint64_t value = 0xcbf29ce484222325;

    void add(const uint8_t * data, size_t size) {
        for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
            uint64_t word = 0;
            memcpy(&word, data + i, std::min(sizeof(word), size - i));

            value = (value ^ word)*0x100000001b3;
            value ^= value >> 32;
        }
    }

    // the data of a tensor, from where they are if the host can read them
    void add(const ggml_tensor * tensor, size_t offset, size_t size) {
        if (ggml_backend_buffer_is_host(tensor->view_src ? tensor->view_src->buffer : tensor->buffer)) {
            add((const uint8_t *) tensor->data + offset, size);
            return;
        }

        std::vector<uint8_t> data(size);
        ggml_backend_tensor_get(tensor, data.data(), offset, size);
        add(data.data(), size);
    }
};

//
// write
//

// keeps all but the data of tensors
class meta_writer : public llama_io_write_i {
public:
    void write(const void * src, size_t size) override {
        const auto * bytes = (const uint8_t *) src;

        meta.insert(meta.end(), bytes, bytes + size);
    }

    void write_tensor(ggml_tensor *, size_t, size_t) override {}

    size_t n_bytes() override { return meta.size(); }

    std::vector<uint8_t> meta;
};

// writes only the data of tensors
class data_writer : public llama_io_write_i {
public:
    explicit data_writer(llama_io_write_i & io) : io(io) {}

    void write(const void *, size_t) override {}

    void write_tensor(ggml_tensor * tensor, size_t offset, size_t size) override {
        sum.add(tensor, offset, size);
        io.write_tensor(tensor, offset, size);
    }

    size_t n_bytes() override { return io.n_bytes(); }

    checksum sum;

private:
    llama_io_write_i & io;
};

void llama_layerwise_write_state(llama_io_write_i & io, const std::function<void(llama_io_write_i &)> & write) {
    meta_writer first;
    write(first);

    checksum sum;
    sum.add(first.meta.data(), first.meta.size());

    const uint64_t n_meta = first.meta.size();

    io.write(&STATE_MAGIC, sizeof(STATE_MAGIC));
    io.write(&n_meta,      sizeof(n_meta));
    io.write(&sum.value,   sizeof(sum.value));
    io.write(first.meta.data(), first.meta.size());

    data_writer second(io);
    write(second);

    io.write(&second.sum.value, sizeof(second.sum.value));
}

//
// read
//

class state_reader : public llama_io_read_i {
public:
    state_reader(llama_io_read_i & io, std::vector<uint8_t> && meta, bool on_device) :
        io(io), meta(std::move(meta)), on_device(on_device) {}

    void read(void * dst, size_t size) override {
        if (size > meta.size() - i_meta) {
            throw std::runtime_error("the state holds less than it should");
        }
        memcpy(dst, meta.data() + i_meta, size);
        i_meta += size;
    }

    void read_tensor(ggml_tensor * tensor, size_t offset, size_t size) override {
        if (on_device) {
            io.read_tensor(tensor, offset, size);
            return;
        }

        data.resize(size);
        io.read(data.data(), size);
        sum.add(data.data(), size);
        ggml_backend_tensor_set(tensor, data.data(), offset, size);
    }

    void discard() override { io.discard(); }

    size_t n_bytes() override { return io.n_bytes(); }

    bool is_at_end() const { return i_meta == meta.size(); }

    checksum sum;

private:
    llama_io_read_i & io;

    const std::vector<uint8_t> meta;
    size_t                     i_meta = 0;

    const bool           on_device;
    std::vector<uint8_t> data;
};

void llama_layerwise_read_state(llama_io_read_i & io, bool on_device, const std::function<void(llama_io_read_i &)> & read) {
    uint32_t magic;
    uint64_t n_meta;
    uint64_t expected;

    io.read(&magic, sizeof(magic));
    if (magic != STATE_MAGIC) {
        throw std::runtime_error("the state is not one of a layered KV cache");
    }
    io.read(&n_meta,   sizeof(n_meta));
    io.read(&expected, sizeof(expected));

    // piece by piece: the length may be wrong, and then the data end before that much is allocated
    std::vector<uint8_t> meta;
    while (meta.size() < n_meta) {
        const size_t n = std::min<uint64_t>(READ_SIZE, n_meta - meta.size());

        meta.resize(meta.size() + n);
        io.read(meta.data() + meta.size() - n, n);
    }

    checksum sum;
    sum.add(meta.data(), meta.size());
    if (sum.value != expected) {
        throw std::runtime_error("the state was damaged");
    }

    state_reader reader(io, std::move(meta), on_device);
    read(reader);

    io.read(&expected, sizeof(expected));
    if (!reader.is_at_end() || (!on_device && reader.sum.value != expected)) {
        throw std::runtime_error("the state was damaged");
    }
}
