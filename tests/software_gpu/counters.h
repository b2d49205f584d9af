#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

// Seconds of CPU time that the calling thread has used.
double sgpu_thread_seconds();

// What one device has seen. Every member is guarded by `mutex`.
struct sgpu_counters {
    struct copies {
        uint64_t n     = 0;
        uint64_t bytes = 0;
    };

    std::mutex mutex;

    uint64_t graphs           = 0;
    uint64_t nodes            = 0; // without views
    uint64_t reservations     = 0; // of a scheduler's compute buffers, see note_divided
    uint64_t synchronizations = 0; // of a stream or an event by the host
    uint64_t waits            = 0; // of these, those that found unfinished work
    uint64_t blocking_copies  = 0; // between host and device that the host waited for
    uint64_t allocations      = 0;
    uint64_t races            = 0;

    std::map<std::string, copies> up;     // from the host, by tensor
    std::map<std::string, copies> down;   // to the host, by tensor
    std::map<std::string, copies> across; // from one place on devices to another, by tensor

    uint64_t bytes_live       = 0;
    uint64_t bytes_peak       = 0;
    uint64_t bytes_host_live  = 0; // pinned host memory
    uint64_t bytes_host_peak  = 0;

    double seconds_computing   = 0; // of the device's threads
    double seconds_device_cpu  = 0; // CPU time of the device's threads, whatever they do
    double seconds_waiting     = 0; // of the host, for the device
    double seconds_bookkeeping = 0; // CPU time of the host in this library

    std::vector<std::string> race_messages;

    void reset();

    void note_copy(std::map<std::string, copies> & where, const char * tensor, uint64_t bytes);
    void note_blocking_copy();
    void note_alloc(int64_t bytes, bool host);
    void note_race(const std::string & message);

    // Reservations show in the order of a scheduler's calls. It divides a graph and asks for the sizes of its tensors.
    // Then it places them; or, where they do not fit, it waits for all devices first, and reserves. When it is told to
    // reserve it places nothing: the next thing that it does is to wait, or to divide another graph.
    void note_divided();
    void note_sized();
    void note_placed();
    void note_synchronized();

    std::string json();

private:
    enum { NOTHING, DIVIDED, SIZED };

    std::atomic<int> step { NOTHING };
};

// Adds the CPU time of its scope to what is no work of the host.
struct sgpu_bookkeeping {
    explicit sgpu_bookkeeping(sgpu_counters & counters) : counters(counters), start(sgpu_thread_seconds()) {}
    ~sgpu_bookkeeping();

    sgpu_bookkeeping(const sgpu_bookkeeping &) = delete;

    sgpu_counters & counters;
    const double    start;
};
