#pragma once

// The state of a layered KV cache on its way to and from llama_state_get_data and its kind.
//
// llama.cpp trusts what it reads: a cell at a negative position or a length that is wrong would be noticed much later,
// if at all. So everything but the data of tensors is kept together, with a checksum that is verified before any of it
// is used; the data follow, with a checksum of their own.

#include "llama-io.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

// calls write twice: for what is written by llama_io_write_i::write, then for the data of tensors
void llama_layerwise_write_state(llama_io_write_i & io, const std::function<void(llama_io_write_i &)> & write);

// calls read once the checksum has been verified; throws std::runtime_error if the data are not what was written
//   on_device: the data of tensors never left the device, and carry no checksum
void llama_layerwise_read_state(llama_io_read_i & io, bool on_device, const std::function<void(llama_io_read_i &)> & read);
