#include "counters.h"

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <sstream>

static constexpr size_t N_MESSAGES = 20;

double sgpu_thread_seconds() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);

    return t.tv_sec + 1e-9*t.tv_nsec;
}

sgpu_bookkeeping::~sgpu_bookkeeping() {
    const double seconds = sgpu_thread_seconds() - start;

    std::lock_guard<std::mutex> lock(counters.mutex);
    counters.seconds_bookkeeping += seconds;
}

void sgpu_counters::reset() {
    std::lock_guard<std::mutex> lock(mutex);

    graphs = nodes = reservations = synchronizations = waits = blocking_copies = allocations = races = 0;

    up.clear();
    down.clear();
    across.clear();

    bytes_peak      = bytes_live;
    bytes_host_peak = bytes_host_live;

    seconds_computing = seconds_device_cpu = seconds_waiting = seconds_bookkeeping = 0;

    race_messages.clear();

    step = NOTHING;
}

// "GPU0#mask#0", a scheduler's copy of an input, counts as "mask"
static std::string plain_name(const char * tensor) {
    const std::string name = tensor;

    const size_t first = name.find('#');
    const size_t last  = name.rfind('#');

    return first == last ? name : name.substr(first + 1, last - first - 1);
}

void sgpu_counters::note_copy(std::map<std::string, copies> & where, const char * tensor, uint64_t bytes) {
    std::lock_guard<std::mutex> lock(mutex);

    auto & entry = where[plain_name(tensor)];
    entry.n     += 1;
    entry.bytes += bytes;
}

void sgpu_counters::note_blocking_copy() {
    std::lock_guard<std::mutex> lock(mutex);

    blocking_copies++;
}

void sgpu_counters::note_alloc(int64_t bytes, bool host) {
    std::lock_guard<std::mutex> lock(mutex);

    uint64_t & live = host ? bytes_host_live : bytes_live;
    uint64_t & peak = host ? bytes_host_peak : bytes_peak;

    allocations += !host && bytes > 0;

    live += bytes;
    peak  = std::max(peak, live);
}

void sgpu_counters::note_race(const std::string & message) {
    std::lock_guard<std::mutex> lock(mutex);

    races++;
    if (race_messages.size() < N_MESSAGES) {
        race_messages.push_back(message);
    }
}

void sgpu_counters::note_divided() {
    if (step.exchange(DIVIDED) == SIZED) {
        std::lock_guard<std::mutex> lock(mutex);
        reservations++;
    }
}

void sgpu_counters::note_sized() {
    int expected = DIVIDED;
    step.compare_exchange_strong(expected, SIZED);
}

void sgpu_counters::note_placed() {
    step = NOTHING;
}

void sgpu_counters::note_synchronized() {
    if (step.exchange(NOTHING) != NOTHING) {
        std::lock_guard<std::mutex> lock(mutex);
        reservations++;
    }
}

static std::string quoted(const std::string & text) {
    std::string res = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') {
            res += '\\';
        }
        res += (unsigned char) c < ' ' ? ' ' : c;
    }

    return res + "\"";
}

static std::string json(const std::map<std::string, sgpu_counters::copies> & all) {
    std::stringstream out;

    const char * separator = "";
    for (const auto & [tensor, copies] : all) {
        out << separator << quoted(tensor) << ": [" << copies.n << ", " << copies.bytes << "]";
        separator = ", ";
    }

    return "{" + out.str() + "}";
}

std::string sgpu_counters::json() {
    // nothing came after it: it was a reservation
    note_synchronized();

    std::lock_guard<std::mutex> lock(mutex);

    std::stringstream out;

    out << "{";
    for (const auto & [name, value] : std::initializer_list<std::pair<const char *, uint64_t>> {
            { "graphs",           graphs           },
            { "nodes",            nodes            },
            { "reservations",     reservations     },
            { "synchronizations", synchronizations },
            { "waits",            waits            },
            { "blocking_copies",  blocking_copies  },
            { "allocations",      allocations      },
            { "races",            races            },
            { "bytes_live",       bytes_live       },
            { "bytes_peak",       bytes_peak       },
            { "bytes_host_live",  bytes_host_live  },
            { "bytes_host_peak",  bytes_host_peak  } }) {
        out << quoted(name) << ": " << value << ", ";
    }
    out.precision(9);
    for (const auto & [name, value] : std::initializer_list<std::pair<const char *, double>> {
            { "seconds_computing",   seconds_computing   },
            { "seconds_device_cpu",  seconds_device_cpu  },
            { "seconds_waiting",     seconds_waiting     },
            { "seconds_bookkeeping", seconds_bookkeeping } }) {
        out << quoted(name) << ": " << value << ", ";
    }

    out << "\"up\": " << ::json(up) << ", \"down\": " << ::json(down) << ", \"across\": " << ::json(across);

    out << ", \"race_messages\": [";
    for (size_t i = 0; i < race_messages.size(); ++i) {
        out << (i > 0 ? ", " : "") << quoted(race_messages[i]);
    }
    out << "]}";

    return out.str();
}
