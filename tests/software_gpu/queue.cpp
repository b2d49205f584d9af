#include "queue.h"

#include "device.h"
#include "fail.h"

#include <algorithm>
#include <chrono>

using steady = std::chrono::steady_clock;

static double seconds_since(steady::time_point start) {
    return std::chrono::duration<double>(steady::now() - start).count();
}

void sgpu_progress::wait(uint64_t number) {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return done >= number; });
}

bool sgpu_progress::is_done(uint64_t number) {
    std::lock_guard<std::mutex> lock(mutex);

    return done >= number;
}

sgpu_queue::sgpu_queue(sgpu_device & dev) :
    dev(dev), id(sgpu_order::get().new_queue()), progress(std::make_shared<sgpu_progress>()),
    cpu(ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr)), random(dev.options.seed + id),
    thread(&sgpu_queue::run, this) {
    dev.add_queue(this);
}

sgpu_queue::~sgpu_queue() {
    dev.remove_queue(this);

    drain();
    sgpu_order::get().host_waited(sgpu_order::get().clock_of(id));

    {
        std::lock_guard<std::mutex> lock(mutex);
        closing = true;
    }
    changed.notify_one();
    thread.join();

    ggml_backend_free(cpu);
}

void sgpu_queue::push(const std::string & what, std::vector<sgpu_access> accesses, double seconds, std::function<void()> work) {
    last = sgpu_order::get().enqueue(dev, id, what + " on " + dev.name, std::move(accesses));

    std::lock_guard<std::mutex> lock(mutex);
    tasks.push_back({ last, seconds, steady::now(), std::move(work) });
    changed.notify_one();
}

void sgpu_queue::record(sgpu_event & event) {
    event.progress = progress;
    event.number   = last;
    event.clock    = sgpu_order::get().clock_of(id);
}

void sgpu_queue::wait(const sgpu_event & event) {
    if (!event.progress) {
        return;
    }

    sgpu_order::get().queue_waits(id, event.clock);

    std::lock_guard<std::mutex> lock(mutex);
    tasks.push_back({ 0, 0, steady::now(), [progress = event.progress, number = event.number] { progress->wait(number); } });
    changed.notify_one();
}

// the host waits; counted as a synchronization
static void host_waits(sgpu_device & dev, sgpu_progress & progress, uint64_t number) {
    dev.counters.note_synchronized();

    const bool waits = !progress.is_done(number);
    const auto start = steady::now();

    progress.wait(number);

    std::lock_guard<std::mutex> lock(dev.counters.mutex);
    dev.counters.synchronizations++;
    dev.counters.waits           += waits;
    dev.counters.seconds_waiting += seconds_since(start);
}

void sgpu_queue::drain() {
    progress->wait(last);
}

void sgpu_queue::synchronize() {
    host_waits(dev, *progress, last);

    sgpu_order::get().host_waited(sgpu_order::get().clock_of(id));
}

void sgpu_queue::synchronize(sgpu_device & dev, const sgpu_event & event) {
    if (event.progress) {
        host_waits(dev, *event.progress, event.number);

        sgpu_order::get().host_waited(event.clock);
    }
}

void sgpu_queue::set_n_threads(int n) {
    n_threads = n;
}

// on the queue's thread
void sgpu_queue::compute(ggml_cgraph * graph) {
    const auto start = steady::now();

    const auto set_n_threads = (ggml_backend_set_n_threads_t) ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(ggml_backend_get_device(cpu)), "ggml_backend_set_n_threads");
    set_n_threads(cpu, n_threads);

    if (ggml_backend_graph_compute(cpu, graph) != GGML_STATUS_SUCCESS) {
        sgpu_fail("the CPU backend failed to compute a graph");
    }

    std::lock_guard<std::mutex> lock(dev.counters.mutex);
    dev.counters.seconds_computing += seconds_since(start);
}

void sgpu_queue::run() {
    double seconds_cpu = sgpu_thread_seconds();

    sgpu_time free_at; // when the card would be done with what came before

    while (true) {
        task next;
        {
            std::unique_lock<std::mutex> lock(mutex);
            changed.wait(lock, [&] { return closing || !tasks.empty(); });
            if (tasks.empty()) {
                return;
            }
            next = std::move(tasks.front());
            tasks.pop_front();
        }

        if (dev.options.delay > 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(random() % (dev.options.delay + 1)));
        }

        next.work();
        next.work = nullptr;

        if (dev.options.is_paced()) {
            const sgpu_time start = next.number > 0 ? std::max(next.pushed, free_at) : steady::now();

            free_at = sgpu_after(start, next.seconds);
            sgpu_wait_until(free_at);

            std::lock_guard<std::mutex> lock(dev.counters.mutex);
            dev.counters.seconds_computing += next.seconds;
        }

        // before anyone hears of it: who has waited finds it counted
        const double seconds_now = sgpu_thread_seconds();
        {
            std::lock_guard<std::mutex> lock(dev.counters.mutex);
            dev.counters.seconds_device_cpu += seconds_now - seconds_cpu;
        }
        seconds_cpu = seconds_now;

        if (next.number > 0) {
            std::lock_guard<std::mutex> lock(progress->mutex);
            progress->done = next.number;
            progress->changed.notify_all();
        }
    }
}
