#pragma once

#include "order.h"
#include "pace.h"

#include "ggml-backend-impl.h"

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

struct sgpu_device;

// How far a queue has come. It outlives the queue, for the events that were recorded on it.
struct sgpu_progress {
    std::mutex              mutex;
    std::condition_variable changed;

    uint64_t done = 0; // operations

    void wait(uint64_t number);
    bool is_done(uint64_t number);
};

struct sgpu_event {
    std::shared_ptr<sgpu_progress> progress; // NULL: never recorded
    uint64_t                       number = 0;
    sgpu_clock                     clock;
};

// What was asked of a device, in order, one after the other, on a thread of its own, each a little late.
class sgpu_queue {
public:
    explicit sgpu_queue(sgpu_device & dev);
    ~sgpu_queue();

    sgpu_device & dev;

    // seconds: that it takes, where operations take as long as on a card
    void push(const std::string & what, std::vector<sgpu_access> accesses, double seconds, std::function<void()> work);

    void record(sgpu_event & event);
    void wait(const sgpu_event & event);

    void drain();       // until it is done, which the host does not rely on
    void synchronize(); // and the host does

    static void synchronize(sgpu_device & dev, const sgpu_event & event);

    void compute(ggml_cgraph * graph);
    void set_n_threads(int n_threads);

private:
    struct task {
        uint64_t              number; // 0: nothing that anyone waits for
        double                seconds;
        sgpu_time             pushed;
        std::function<void()> work;
    };

    void run();

    const int id;

    std::shared_ptr<sgpu_progress> progress;
    uint64_t                       last = 0; // operation that was pushed

    ggml_backend_t cpu;
    int            n_threads = 1;

    std::mt19937 random;

    std::mutex              mutex;
    std::condition_variable changed;
    std::deque<task>        tasks;
    bool                    closing = false;

    std::thread thread;
};
