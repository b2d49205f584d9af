#include "order.h"

#include "device.h"
#include "fail.h"

#include <algorithm>

void sgpu_join(sgpu_clock & clock, const sgpu_clock & other) {
    for (const auto & [queue, number] : other) {
        clock[queue] = std::max(clock[queue], number);
    }
}

static bool covers(const sgpu_clock & clock, int queue, uint64_t number) {
    const auto it = clock.find(queue);

    return it != clock.end() && it->second >= number;
}

// sorted, one writing and one reading list after the other, each without overlaps
static std::vector<sgpu_access> merged(std::vector<sgpu_access> accesses) {
    std::sort(accesses.begin(), accesses.end(), [](const sgpu_access & a, const sgpu_access & b) {
        return a.writes != b.writes ? a.writes : a.begin < b.begin;
    });

    std::vector<sgpu_access> res;
    for (const auto & access : accesses) {
        if (access.begin == access.end) {
            continue;
        }
        if (!res.empty() && res.back().writes == access.writes && access.begin < res.back().end) {
            res.back().end = std::max(res.back().end, access.end);
        } else {
            res.push_back(access);
        }
    }

    return res;
}

// the first two that overlap and do not both read
static bool conflict(
        const std::vector<sgpu_access> & as, const std::vector<sgpu_access> & bs, sgpu_access & a_found, sgpu_access & b_found) {
    const auto half = [](const std::vector<sgpu_access> & list, bool writes) {
        const auto mid = std::find_if(list.begin(), list.end(), [](const sgpu_access & access) { return !access.writes; });
        return writes ? std::make_pair(list.begin(), mid) : std::make_pair(mid, list.end());
    };

    for (const auto & [a_writes, b_writes] : { std::make_pair(true, true), std::make_pair(true, false), std::make_pair(false, true) }) {
        auto [a, a_end] = half(as, a_writes);
        auto [b, b_end] = half(bs, b_writes);

        while (a != a_end && b != b_end) {
            if (a->begin < b->end && b->begin < a->end) {
                a_found = *a;
                b_found = *b;
                return true;
            }
            if (a->end <= b->end) {
                ++a;
            } else {
                ++b;
            }
        }
    }

    return false;
}

sgpu_order & sgpu_order::get() {
    static sgpu_order order;

    return order;
}

int sgpu_order::new_queue() {
    std::lock_guard<std::mutex> lock(mutex);

    return n_queues++;
}

uint64_t sgpu_order::enqueue(sgpu_device & dev, int queue, const std::string & what, std::vector<sgpu_access> accesses) {
    std::lock_guard<std::mutex> lock(mutex);

    auto & clock = queues[queue];

    sgpu_join(clock, host);

    auto op = std::make_shared<operation>(operation { queue, clock[queue] + 1, what, merged(std::move(accesses)) });

    check(dev, clock, queue, what, op->accesses);

    clock[queue] = op->number;
    open.push_back(std::move(op));

    return clock[queue];
}

void sgpu_order::queue_waits(int queue, const sgpu_clock & clock) {
    std::lock_guard<std::mutex> lock(mutex);

    sgpu_join(queues[queue], clock);
}

sgpu_clock sgpu_order::clock_of(int queue) {
    std::lock_guard<std::mutex> lock(mutex);

    return queues[queue];
}

void sgpu_order::host_waited(const sgpu_clock & clock) {
    std::lock_guard<std::mutex> lock(mutex);

    sgpu_join(host, clock);

    open.erase(std::remove_if(open.begin(), open.end(), [this](const std::shared_ptr<operation> & op) {
        return covers(host, op->queue, op->number);
    }), open.end());
}

void sgpu_order::host_touches(sgpu_device & dev, const std::string & what, std::vector<sgpu_access> accesses) {
    std::lock_guard<std::mutex> lock(mutex);

    check(dev, host, -1, what, merged(std::move(accesses)));
}

void sgpu_order::check(
        sgpu_device & dev, const sgpu_clock & clock, int queue, const std::string & what, const std::vector<sgpu_access> & accesses) {
    for (const auto & op : open) {
        sgpu_access ours;
        sgpu_access theirs;

        if (op->queue == queue || covers(clock, op->queue, op->number) || !conflict(accesses, op->accesses, ours, theirs)) {
            continue;
        }

        const std::string message = "race: " + what + (ours.writes ? " writes '" : " reads '") + ours.tensor + "' while "
            + op->what + ", queued before and not waited for, " + (theirs.writes ? "writes '" : "reads '") + theirs.tensor + "'";

        if (!dev.options.count) {
            sgpu_fail(message);
        }
        dev.counters.note_race(message);
        return;
    }
}

const char * sgpu_order::intern(const char * name) {
    std::lock_guard<std::mutex> lock(mutex);

    auto & entry = names[name];
    if (!entry) {
        entry = std::make_unique<std::string>(name);
    }

    return entry->c_str();
}
