#pragma once

#include "ggml.h"

#include <cstddef>

// What a device that computes nothing gives to the host: numbers between 0 and 1, other ones each time, and zeros where
// they would be no floats. A prefill that decides by them finds no two layers alike.
void sgpu_noise(ggml_type type, void * data, size_t size);
