#include "graph.h"

#include "buffer.h"
#include "fail.h"
#include "pace.h"

static constexpr size_t ALIGNMENT = 16; // what kernels load at once

static bool is_computed(const ggml_tensor * node) {
    return !ggml_op_is_empty(node->op) && (node->flags & GGML_TENSOR_FLAG_COMPUTE);
}

static std::string describe(const ggml_tensor * node) {
    return sgpu_format("node '%s' (%s)", node->name, ggml_op_desc(node));
}

sgpu_graph::sgpu_graph(sgpu_device & dev, const ggml_cgraph * from) : dev(dev) {
    what = sgpu_format("a graph of %d nodes from '%s' to '%s'", from->n_nodes, from->nodes[0]->name,
        from->nodes[from->n_nodes - 1]->name);

    for (int i = 0; i < from->n_nodes; ++i) {
        if (is_computed(from->nodes[i])) {
            n_nodes++;
            check(from->nodes[i]);
            if (dev.options.is_paced()) {
                seconds += sgpu_seconds_of(dev.options, from->nodes[i]);
            }
        }
        nodes.push_back(copy(from->nodes[i]));
    }

    const size_t n_slots = 2*from->n_nodes + 1;

    keys.resize(n_slots);
    used.resize(ggml_bitset_size(n_slots));
    use_counts.resize(n_slots);

    graph.size             = from->n_nodes;
    graph.n_nodes          = from->n_nodes;
    graph.nodes            = nodes.data();
    graph.use_counts       = use_counts.data();
    graph.visited_hash_set = { n_slots, used.data(), keys.data() };
    graph.order            = from->order;

    for (int i = 0; i < from->n_nodes; ++i) {
        use_counts[ggml_hash_find_or_insert(&graph.visited_hash_set, nodes[i])] = ggml_node_get_use_count(from, i);
    }
}

ggml_tensor * sgpu_graph::copy(const ggml_tensor * tensor) {
    if (!tensor) {
        return nullptr;
    }

    const auto it = copies.find(tensor);
    if (it != copies.end()) {
        return it->second;
    }

    tensors.push_back(*tensor);

    ggml_tensor * res = copies[tensor] = &tensors.back();

    const sgpu_buffer * buf = sgpu_buffer::of(tensor);
    if (buf) {
        res->data = buf->alias_of(tensor->data);
    }

    // where it lies is checked already, and the host may free it once it has waited
    res->buffer   = nullptr;
    res->view_src = copy(tensor->view_src);
    for (auto & src : res->src) {
        src = copy(src);
    }

    return res;
}

void sgpu_graph::touch(const ggml_tensor * tensor, const ggml_tensor * node, bool writes) {
    if (ggml_nelements(tensor) == 0) {
        return;
    }

    const auto refuse = [&](const std::string & why) {
        sgpu_fail(describe(node) + (writes ? " writes '" : " reads '") + tensor->name + "', " + why + " (" + dev.name + ")");
    };

    const sgpu_buffer * buf = sgpu_buffer::of(tensor);

    if (!tensor->data) {
        refuse("which was never allocated");
    } else if (!buf) {
        refuse("which lies in no memory of this device, or in a buffer that was freed");
    } else if (&buf->dev != &dev) {
        refuse("which lies in " + buf->label());
    }

    const size_t unit = ggml_is_quantized(tensor->type) ? 1 : ggml_type_size(tensor->type);

    if ((uintptr_t) tensor->data % (tensor->view_src ? unit : ALIGNMENT) != 0) {
        refuse("which is not aligned");
    }

    if (buf->ggml->usage == GGML_BACKEND_BUFFER_USAGE_WEIGHTS && !writes) {
        accesses.push_back({ (uintptr_t) buf->address, (uintptr_t) buf->address + buf->size, false, "weights" });
    } else {
        accesses.push_back(buf->access(tensor, 0, ggml_nbytes(tensor), writes));
    }
}

// what a node writes must not lie in what it reads, unless it works in place, or writes into a tensor that it names
static bool may_overlap(const ggml_tensor * node, int i_src) {
    if (ggml_op_can_inplace(node->op)) {
        return true;
    }

    switch (node->op) {
        case GGML_OP_CPY:      return i_src == 1;
        case GGML_OP_SET_ROWS: return i_src == 2;
        default:               return node->view_src != nullptr;
    }
}

void sgpu_graph::check(const ggml_tensor * node) {
    touch(node, node, true);

    const char * begin = (const char *) node->data;
    const char * end   = begin + ggml_nbytes(node);

    for (int i = 0; i < GGML_MAX_SRC; ++i) {
        const ggml_tensor * src = node->src[i];
        if (!src) {
            continue;
        }

        touch(src, node, false);

        const char * src_begin = (const char *) src->data;
        const char * src_end   = src_begin + ggml_nbytes(src);

        if (src_begin < end && begin < src_end && !may_overlap(node, i) && ggml_nelements(node) > 0 && ggml_nelements(src) > 0) {
            sgpu_fail(describe(node) + " overwrites '" + src->name + "', which it reads");
        }
    }

    if (!ggml_backend_dev_supports_op(&dev.ggml, node)) {
        sgpu_fail(describe(node) + " is no operation that " + dev.name + " supports");
    }
}
