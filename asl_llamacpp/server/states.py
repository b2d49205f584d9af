"""The states of documents, as .asldoc files in a folder of limited size."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from ..llama.opening import SAVED_SUFFIX


class States:
    """One file for each document, or documents that were asked together, and model; those used last are kept.

    limit      bytes, those of the documents included
    documents  bytes that the documents themselves take
    busy       ids of the documents that are being prefilled
    """

    def __init__(self, folder: Path, limit: int, documents: Callable[[], int]) -> None:
        self.folder, self.limit, self._documents = folder, limit, documents
        self._model = "none"
        self.busy: frozenset[str] = frozenset()
        folder.mkdir(parents=True, exist_ok=True)

    def use(self, model: str) -> None:
        """States of this model are meant from now on; `model` is a hash."""
        self._model = model
        (self.folder / model).mkdir(exist_ok=True)

    def path(self, documents: Sequence[str]) -> Path:
        return self.folder / self._model / f"{'+'.join(documents)}{SAVED_SUFFIX}"

    def has(self, documents: Sequence[str]) -> bool:
        return self.path(documents).is_file()

    def touch(self, documents: Sequence[str]) -> None:
        """It is used now, so that others are dropped before it."""
        with suppress(OSError):
            os.utime(self.path(documents))

    def room(self) -> int:
        """Bytes that a state may take, all others being dropped."""
        return max(self.limit - self._documents(), 0)

    def trim(self) -> None:
        """Drop the states used least recently until the rest fits the limit."""
        files = sorted(self._files(), key=lambda found: found[0])
        total = sum(size for _, size, _ in files)
        room = self.room()
        for _, size, path in files:
            if total <= room:
                return
            with suppress(OSError):
                path.unlink()
                total -= size

    def drop(self, document: str) -> None:
        """Drop every state that a document is part of."""
        for _, _, path in self._files():
            if document in path.name.removesuffix(SAVED_SUFFIX).split("+"):
                with suppress(OSError):
                    path.unlink()

    @property
    def n_bytes(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _files(self) -> list[tuple[float, int, Path]]:
        """When each was used, its size, and where it is."""
        found = []
        for path in self.folder.glob(f"*/*{SAVED_SUFFIX}"):
            with suppress(OSError):
                known = path.stat()
                found.append((known.st_mtime, known.st_size, path))
        return found
