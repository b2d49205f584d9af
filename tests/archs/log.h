#pragma once

// What test-llama-archs.cpp needs of llama.cpp's common/log.h, which is not built here: errors go to stderr, the rest
// is dropped.

#include "ggml.h"

#include <cstdio>

enum { LOG_LEVEL_ERROR = 1, LOG_LEVEL_DEBUG = 5 };

#define LOG(...)     printf(__VA_ARGS__)
#define LOG_ERR(...) fprintf(stderr, __VA_ARGS__)
#define LOG_INF(...) do { if (false) { printf(__VA_ARGS__); } } while (false)

struct common_log;

inline common_log * common_log_main() { return nullptr; }

inline void common_log_flush(common_log *) {}
inline void common_log_set_verbosity_thold(int) {}

inline int common_log_get_verbosity(ggml_log_level level) {
    return level == GGML_LOG_LEVEL_ERROR ? LOG_LEVEL_ERROR : LOG_LEVEL_DEBUG;
}
