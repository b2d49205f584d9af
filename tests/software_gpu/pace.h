// How long a card would take, by what has to be multiplied and moved: a model of a device, no measurement of one.

#pragma once

#include "options.h"

#include "ggml.h"

#include <chrono>

using sgpu_time = std::chrono::steady_clock::time_point;

// Of one node: the longer of its arithmetic and its memory traffic, and what it takes to start a kernel.
double sgpu_seconds_of(const sgpu_options & options, const ggml_tensor * node);

double sgpu_seconds_to_copy(const sgpu_options & options, size_t n_bytes);

sgpu_time sgpu_after(sgpu_time time, double seconds);

// More exact than a sleep: the last part is spent looking at the clock.
void sgpu_wait_until(sgpu_time time);
