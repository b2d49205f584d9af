// What has happened before what. The host and the queues of the devices are ordered only by what makes them wait for each
// other: operations of one queue come one after the other, events order queues, synchronizing orders a queue and the host.
// Two that touch the same memory, one of them writing, without such an order are a race, even if all went well this time.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

struct sgpu_device;

struct sgpu_access {
    uintptr_t begin; // addresses as the host sees them
    uintptr_t end;
    bool      writes;

    const char * tensor; // an interned name
};

// Of each queue, the last of its operations that is known to be done.
using sgpu_clock = std::map<int, uint64_t>;

void sgpu_join(sgpu_clock & clock, const sgpu_clock & other);

class sgpu_order {
public:
    static sgpu_order & get();

    int new_queue();

    // The queue's next operation. Returns its number, from 1 on.
    uint64_t enqueue(sgpu_device & dev, int queue, const std::string & what, std::vector<sgpu_access> accesses);

    // From here on the queue comes after all of `clock`.
    void queue_waits(int queue, const sgpu_clock & clock);

    // What has happened before the queue's next operation.
    sgpu_clock clock_of(int queue);

    // The host has waited for all of `clock`.
    void host_waited(const sgpu_clock & clock);

    // The host touches memory itself, or frees it.
    void host_touches(sgpu_device & dev, const std::string & what, std::vector<sgpu_access> accesses);

    const char * intern(const char * name);

private:
    struct operation {
        int         queue;
        uint64_t    number;
        std::string what;

        std::vector<sgpu_access> accesses; // without overlaps, sorted
    };

    void check(sgpu_device & dev, const sgpu_clock & clock, int queue, const std::string & what, const std::vector<sgpu_access> & accesses);

    std::mutex mutex;

    int n_queues = 0;

    sgpu_clock                host;
    std::map<int, sgpu_clock> queues;

    std::vector<std::shared_ptr<operation>> open; // that the host has not waited for

    std::map<std::string, std::unique_ptr<std::string>> names;
};
