"""What the search of heads has recorded, in files until it is done: a run that was stopped goes on."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files.replace_file import replacing
from ..selection.arrays import Ints


@dataclass(frozen=True, eq=False)
class Recorded:
    """One prompt.

    added    float16 [n_layer, n_head, n - window], by layer up to `head_search.DEEPEST`: each head's contrast, averaged
             over the kernel, the sinks' scores as they are; 0 where a layer gives none
    answer   positions of the answer's tokens
    starts   int32 [n_units], the tokens that the prompt's units begin with
    """

    task: str
    added: NDArray[np.float16]
    answer: NDArray[np.int64]
    starts: Ints
    n_tokens: int

    @property
    def mass(self) -> NDArray[np.float64]:
        """What each head adds to an answer's token, mean: [n_layer, n_head]."""
        found: NDArray[np.float64] = self.added[:, :, self.answer].astype(np.float64).mean(axis=2)
        return found


class KeptRecordings:
    """Recordings in a folder of their own, a file each; None: nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def get(self, task: str, number: int, make: Callable[[], Recorded | None]) -> Recorded | None:
        """Prompt `number` of a task; `make` runs if it is not there. What is None is made again."""
        if self.folder is None:
            return make()
        path = self.folder / f"{task}-{number}.npz"
        try:
            with np.load(path) as there:
                return Recorded(task, there["added"], there["answer"], there["starts"], int(there["n_tokens"]))
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            made = make()
        if made is not None:
            with replacing(path) as file:
                np.savez(file, added=made.added, answer=made.answer, starts=made.starts, n_tokens=made.n_tokens)
        return made

    def remove(self) -> None:
        """Nothing is kept any more."""
        if self.folder is not None:
            for path in self.folder.glob("*.npz"):
                path.unlink(missing_ok=True)
            self.folder.rmdir()


NOT_KEPT = KeptRecordings(None)
