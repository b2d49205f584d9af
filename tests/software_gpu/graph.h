#pragma once

#include "order.h"

#include "ggml-impl.h"

#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

struct sgpu_device;

// A graph as it was when the device was asked to compute it: the host builds the next one in the same place. Its tensors
// point to where the device reaches its memory.
class sgpu_graph {
public:
    // Fails, naming the node, where the device could not compute it.
    sgpu_graph(sgpu_device & dev, const ggml_cgraph * graph);

    std::string              what;     // for messages
    std::vector<sgpu_access> accesses;
    size_t                   n_nodes = 0; // without views
    double                   seconds = 0; // that a card would take

    ggml_cgraph * get() { return &graph; }

private:
    void check(const ggml_tensor * node);
    void touch(const ggml_tensor * tensor, const ggml_tensor * node, bool writes);

    ggml_tensor * copy(const ggml_tensor * tensor);

    sgpu_device & dev;

    ggml_cgraph graph = {};

    std::deque<ggml_tensor>                                tensors;
    std::unordered_map<const ggml_tensor *, ggml_tensor *> copies;

    // what `graph` points to
    std::vector<ggml_tensor *> nodes;
    std::vector<ggml_tensor *> keys;
    std::vector<ggml_bitset_t> used;
    std::vector<int32_t>       use_counts;
};
