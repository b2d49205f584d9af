#pragma once

// What test-llama-archs.cpp needs of llama.cpp's common/common.h, which is not built here. Only its `--out DIR` is of
// use: that evaluates nothing, so a batch needs no content.

#include "llama.h"

#include <algorithm>

inline void common_init() {}

struct common_batch {
    common_batch(llama_context *) { GGML_ABORT("run the generator with --out DIR"); }

    llama_batch_ext * get() { return nullptr; }

    void clear() {}
    void add(llama_token, llama_pos, llama_seq_id, bool) {}
};
