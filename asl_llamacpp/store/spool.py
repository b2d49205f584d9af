"""Documents' states in files that vanish with them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray


class Spool:
    """Moves arrays into one file that vanishes with them, in `folder` (None: the system's for temporary files)."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._offsets: dict[int, int] = {}

    def __call__(self, array: NDArray[Any]) -> NDArray[Any]:
        if array.size == 0:
            return array
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  closed with the last mapping
        # written, then mapped: a full disk is an OSError here, where a write through the map would end the process
        offset = self._file.seek(0, os.SEEK_END)
        offset = self._file.seek(-(-offset // 64) * 64)
        self._file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        self._file.flush()
        mapped = np.memmap(self._file, dtype=array.dtype, mode="r", offset=offset, shape=array.shape)
        self._offsets[id(mapped)] = offset
        return mapped

    def gathered(self) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """What gives, for an array that was moved here, the same from one mapping; each one has a file descriptor."""
        offsets, self._offsets = self._offsets, {}
        if self._file is None or not offsets:
            return _same
        whole = np.memmap(self._file, dtype=np.uint8, mode="r")

        def view(array: NDArray[Any]) -> NDArray[Any]:
            if id(array) not in offsets:
                return array
            begin = offsets[id(array)]
            return whole[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)

        return view


def _same(array: NDArray[Any]) -> NDArray[Any]:
    return array
