#include "options.h"

#include "ggml.h"

#include <map>
#include <sstream>
#include <stdexcept>

template<typename T>
static T one_of(const std::string & key, const std::string & value, const std::map<std::string, T> & choices) {
    const auto it = choices.find(value);
    if (it == choices.end()) {
        throw std::invalid_argument("software GPU: " + key + " cannot be '" + value + "'");
    }

    return it->second;
}

static size_t number(const std::string & key, const std::string & value) {
    size_t end = 0;
    size_t res = 0;
    try {
        res = std::stoull(value, &end);
    } catch (const std::exception &) {
        end = 0;
    }
    if (end == 0 || end != value.size()) {
        throw std::invalid_argument("software GPU: " + key + " must be a number, not '" + value + "'");
    }

    return res;
}

static std::string operation(const std::string & key, const std::string & value) {
    for (int op = 0; op < GGML_OP_COUNT; ++op) {
        if (value == ggml_op_name((ggml_op) op)) {
            return value;
        }
    }

    throw std::invalid_argument("software GPU: " + key + " must be an operation of ggml, such as SOFT_MAX, not '" + value + "'");
}

static double rate(const std::string & key, const std::string & value) {
    size_t end = 0;
    double res = 0;
    try {
        res = std::stod(value, &end);
    } catch (const std::exception &) {
        end = 0;
    }
    if (end == 0 || end != value.size() || !(res > 0)) {
        throw std::invalid_argument("software GPU: " + key + " must be a rate, not '" + value + "'");
    }

    return res;
}

sgpu_options sgpu_options::parse(const std::string & text) {
    const std::map<std::string, bool> yes_no = { { "0", false }, { "1", true } };

    sgpu_options res;

    std::stringstream parts(text);
    for (std::string part; std::getline(parts, part, ','); ) {
        const size_t at = part.find('=');

        const std::string key   = part.substr(0, at);
        const std::string value = at == std::string::npos ? "" : part.substr(at + 1);

        if (key == "devices") {
            res.devices = number(key, value);
        } else if (key == "memory") {
            res.memory = one_of<sgpu_memory_mode>(key, value, { { "device", SGPU_MEMORY_DEVICE }, { "shared", SGPU_MEMORY_SHARED } });
        } else if (key == "accept") {
            res.accept = one_of<sgpu_accept_mode>(key, value,
                { { "cpu", SGPU_ACCEPT_CPU }, { "cuda", SGPU_ACCEPT_CUDA }, { "metal", SGPU_ACCEPT_METAL } });
        } else if (key == "refuse") {
            res.refuse = operation(key, value);
        } else if (key == "view_columns") {
            res.view_columns = number(key, value);
        } else if (key == "bytes") {
            res.bytes = number(key, value);
        } else if (key == "seed") {
            res.seed = number(key, value);
        } else if (key == "delay") {
            res.delay = number(key, value);
        } else if (key == "compute") {
            res.compute = one_of<bool>(key, value, yes_no);
        } else if (key == "count") {
            res.count = one_of<bool>(key, value, yes_no);
        } else if (key == "linear") {
            res.linear = rate(key, value);
        } else if (key == "attention") {
            res.attention = rate(key, value);
        } else if (key == "memory_gb") {
            res.memory_gb = rate(key, value);
        } else if (key == "bus_gb") {
            res.bus_gb = rate(key, value);
        } else {
            throw std::invalid_argument("software GPU: there is no option '" + key + "'");
        }
    }

    if (res.devices < 1 || res.devices > 8) {
        throw std::invalid_argument("software GPU: between 1 and 8 devices");
    }

    const bool some = res.linear > 0 || res.attention > 0 || res.memory_gb > 0 || res.bus_gb > 0;
    const bool all  = res.linear > 0 && res.attention > 0 && res.memory_gb > 0 && res.bus_gb > 0;
    if (some && (!all || res.compute)) {
        throw std::invalid_argument("software GPU: linear, attention, memory_gb and bus_gb go together, and with compute=0");
    }

    return res;
}
