"""The state of a sequence as llama.cpp writes it, taken apart and put together with cells of other types."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as C
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

HEADER = 8
"""Bytes before the cache's own: a magic number and the sequence."""

NewCells = Callable[[Bytes, bool], tuple[int, Bytes]]
"""From the cells of a layer, [m, bytes], and whether they are K: another type, and the cells in it."""


def read_state(context: Any) -> bytes:
    size = C.llama_state_seq_get_size(context, 0)
    data = (ctypes.c_uint8 * size)()
    assert C.llama_state_seq_get_data(context, data, size, 0) == size
    return bytes(data)


def write_state(context: Any, state: bytes) -> None:
    data = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
    assert C.llama_state_seq_set_data(context, data, len(state), 0) == len(state)


def with_cells(state: bytes, new_cells: NewCells) -> bytes:
    """The state with other cells, for a context of their types; of a cache without sliding windows."""
    n_stream, n_cells = struct.unpack_from("<II", state, HEADER)
    assert n_stream == 1
    at = HEADER + 8 + 12 * n_cells  # of each cell: position, number of sequences, the sequence
    v_trans, n_layer = struct.unpack_from("<II", state, at)
    assert not v_trans
    at += 8
    parts = [state[:at]]
    for i in range(2 * n_layer):
        _, size = struct.unpack_from("<iQ", state, at)
        at += 12
        cells = np.frombuffer(state, dtype=np.uint8, count=n_cells * size, offset=at).reshape(n_cells, size)
        at += n_cells * size
        kind, cells = new_cells(cells, i < n_layer)
        parts += [struct.pack("<iQ", kind, cells.shape[1]), cells.tobytes()]
    assert at == len(state)
    return b"".join(parts)
