// Preloaded into a process of its own, so that allocations fail there on request. Needs glibc.
//
// What libggml-base allocates for its own bookkeeping (malloc, calloc: tables of a graph's nodes, some 100 kB at most)
// always succeeds: ggml ends the process if it does not. Its buffers (posix_memalign) may fail.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

void * __libc_malloc(size_t size);
void * __libc_calloc(size_t n, size_t size);
void * __libc_realloc(void * data, size_t size);
void * __libc_memalign(size_t alignment, size_t size);

static size_t min_size = (size_t) -1; // smaller ones always succeed
static long   n_seen;
static long   first_bad; // of those that were seen, from 0
static long   n_bad;

// from now on: of the allocations of at least `size` bytes, n fail after `first` that succeed
void fail_allocations(size_t size, long first, long n) {
    n_seen    = 0;
    first_bad = first;
    n_bad     = n;
    min_size  = size;
}

long n_allocations(void) {
    return n_seen;
}

static int fails(size_t size, const void * caller) {
    if (size < min_size) {
        return 0;
    }

    Dl_info info;
    if (caller && dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "libggml-base")) {
        return 0;
    }

    const long i = __atomic_fetch_add(&n_seen, 1, __ATOMIC_RELAXED);

    return i >= first_bad && i - first_bad < n_bad;
}

void * malloc(size_t size) {
    if (fails(size, __builtin_return_address(0))) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_malloc(size);
}

void * calloc(size_t n, size_t size) {
    if (fails(n*size, __builtin_return_address(0))) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_calloc(n, size);
}

void * realloc(void * data, size_t size) {
    if (fails(size, __builtin_return_address(0))) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(data, size);
}

void * aligned_alloc(size_t alignment, size_t size) {
    if (fails(size, __builtin_return_address(0))) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_memalign(alignment, size);
}

int posix_memalign(void ** data, size_t alignment, size_t size) {
    if (fails(size, NULL)) {
        return ENOMEM;
    }
    *data = __libc_memalign(alignment, size);
    return *data == NULL ? ENOMEM : 0;
}
