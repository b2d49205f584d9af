// Device memory cannot be touched by the host. Where it tries, this says which tensor it was, and lets it crash.

#include "buffer.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <deque>

#include <sys/mman.h>
#include <unistd.h>

static constexpr size_t N_FREED = 64;

struct freed_range {
    char *      begin;
    char *      end;
    std::string label;
};

static std::mutex                       mutex;
static std::vector<const sgpu_buffer *> guarded;
static std::deque<freed_range>          freed;

static struct sigaction previous_segv;
static struct sigaction previous_bus;

static std::string explain(const char * ptr) {
    const auto with = [&](const std::string & where) {
        return "software GPU: the host touches device memory, " + where + "\n";
    };

    for (const auto * buffer : guarded) {
        if (ptr >= buffer->address && ptr < buffer->address + buffer->size) {
            const size_t offset = ptr - buffer->address;
            return with(buffer->tensor_at(offset) + "byte " + std::to_string(offset) + " of " + buffer->label());
        }
    }
    for (const auto & range : freed) {
        if (ptr >= range.begin && ptr < range.end) {
            return with("byte " + std::to_string(ptr - range.begin) + " of " + range.label + ", which was freed");
        }
    }

    return "";
}

// the process is lost already, so this may do what a handler should not
static void on_fault(int signal, siginfo_t * info, void *) {
    const std::string text = explain((const char *) info->si_addr);

    const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    (void) written;

    // the access is tried again, and ends as it would have without this handler
    sigaction(signal, signal == SIGSEGV ? &previous_segv : &previous_bus, nullptr);
}

void sgpu_guard(const sgpu_buffer * buffer) {
    std::lock_guard<std::mutex> lock(mutex);

    static const bool installed = [] {
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags     = SA_SIGINFO;
        sigaction(SIGSEGV, &action, &previous_segv);
        sigaction(SIGBUS,  &action, &previous_bus);
        return true;
    }();
    (void) installed;

    guarded.push_back(buffer);
}

void sgpu_unguard(const sgpu_buffer * buffer) {
    std::lock_guard<std::mutex> lock(mutex);

    guarded.erase(std::remove(guarded.begin(), guarded.end(), buffer), guarded.end());

    freed.push_back({ buffer->address, buffer->address + buffer->size, buffer->label() });
    if (freed.size() > N_FREED) {
        munmap(freed.front().begin, freed.front().end - freed.front().begin);
        freed.pop_front();
    }
}
