#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

enum sgpu_memory_mode {
    SGPU_MEMORY_DEVICE, // as CUDA's: the host cannot touch it
    SGPU_MEMORY_SHARED, // as Metal's: the host can touch it, while the device works on it
};

enum sgpu_accept_mode {
    SGPU_ACCEPT_CPU,   // every operation of the CPU backend
    SGPU_ACCEPT_CUDA,  // of these, those that ggml-cuda accepts
    SGPU_ACCEPT_METAL, // of these, those that ggml-metal accepts
};

struct sgpu_options {
    size_t           devices = 1;
    sgpu_memory_mode memory  = SGPU_MEMORY_DEVICE;
    sgpu_accept_mode accept  = SGPU_ACCEPT_CPU;

    // of these, not the one of this name, "SOFT_MAX" for instance; and no products of views, such as the keys, with more
    // columns than that
    std::string refuse;
    size_t      view_columns = SIZE_MAX;

    size_t   bytes = (size_t) 1 << 36; // of memory that a device has
    uint32_t seed  = 1;                // of the delays
    uint32_t delay = 50;               // the longest delay before a queued operation, in microseconds

    bool compute = true;  // false: nothing is computed or copied; what is read is noise
    bool count   = false; // true: races are counted and the first ones are kept, instead of ending the process

    // Rates of a card. Where they are given nothing is computed, but everything takes as long as it would take there:
    // graphs and queued copies on the queue, other copies while the host waits. See pace.h.
    double linear    = 0; // TFLOP/s of matrix products
    double attention = 0; // TFLOP/s of flash attention
    double memory_gb = 0; // GB/s of the device's memory
    double bus_gb    = 0; // GB/s between host and device

    bool is_paced() const { return linear > 0; }

    // throws std::invalid_argument
    static sgpu_options parse(const std::string & text);
};
