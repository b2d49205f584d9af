"""What C can take: numbers and arrays that are checked before they are passed."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt


def int32(value: int) -> int:
    """A Python integer that C can take; one that it cannot take is no valid argument of any function here."""
    value = index(value)
    if not -(2**31) <= value < 2**31:
        raise ValueError(f"{value} is no 32-bit integer")
    return value


def int32s(name: str, values: Sequence[int] | npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int32]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and not np.issubdtype(array.dtype, np.integer)):
        raise ValueError(f"{name} must be a list of integers, not {array.dtype} {list(array.shape)}")
    if array.size and not (int(array.min()) >= -(2**31) and int(array.max()) < 2**31):
        raise ValueError(f"{name} must be 32-bit integers, not up to {array.max()} and down to {array.min()}")
    return np.ascontiguousarray(array, dtype=np.int32)


def room(ffi: Any, name: str, array: npt.NDArray[Any], dtype: type[np.generic]) -> Any:
    """The array's memory, for C to write to."""
    if array.dtype != dtype or not array.flags.c_contiguous or not array.flags.writeable:
        kind = np.dtype(dtype).name
        raise ValueError(f"{name} is written to: it must be a writable, contiguous array of {kind}, not {array.dtype}")
    return ffi.from_buffer("float[]" if dtype is np.float32 else "uint8_t[]", array)
