#include "noise.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <random>
#include <vector>

static constexpr size_t N = 1 << 16;

void sgpu_noise(ggml_type type, void * data, size_t size) {
    static const std::vector<float> block = [] {
        std::mt19937 random(1);
        std::uniform_real_distribution<float> uniform(0, 1);

        std::vector<float> res(N);
        for (auto & value : res) {
            value = uniform(random);
        }
        return res;
    }();

    static std::mutex mutex;
    static size_t     next = 0;

    if (type != GGML_TYPE_F32) {
        memset(data, 0, size);
        return;
    }

    std::lock_guard<std::mutex> lock(mutex);

    for (size_t done = 0; done < size; ) {
        const size_t n = std::min(size - done, (N - next)*sizeof(float));

        memcpy((char *) data + done, block.data() + next, n);

        done += n;
        next  = (next + n/sizeof(float) + 1237) % N; // prime: the blocks' parts come in another order each time
    }
}
