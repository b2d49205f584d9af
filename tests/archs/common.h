#pragma once

// What test-llama-archs.cpp needs of llama.cpp's common/common.h, which is not built here. Only its `--out DIR` is of
// use: that evaluates nothing, so a batch needs no content.

#include "gguf.h"
#include "llama.h"

#include "llama-model.h"

#include <algorithm>
#include <string>

inline void common_init() {}

struct common_batch {
    common_batch(llama_context *) { GGML_ABORT("run the generator with --out DIR"); }

    llama_batch_ext * get() { return nullptr; }

    void clear() {}
    void add(llama_token, llama_pos, llama_seq_id, bool) {}
};

// in place of llama_model_saver, which gets the metadata from the model and cannot do that for all architectures
inline void save_model(const gguf_context * metadata, const llama_model * model, const std::string & path) {
    gguf_context * file = gguf_init_empty();

    gguf_set_kv(file, metadata);

    for (const auto & [name, tensor] : llama_internal_get_tensor_map(model)) {
        if (gguf_find_tensor(file, name.c_str()) < 0) { // layers may share one
            gguf_add_tensor(file, tensor);
        }
    }

    gguf_write_to_file(file, path.c_str(), /*only_meta =*/ false);
    gguf_free(file);
}
