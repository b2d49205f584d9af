"""Script: processes that save to one path and are killed meanwhile; prints how often which content was left, as JSON.

python asldoc_killed.py FOLDER ROUNDS
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from asl_llamacpp.files.asldoc import open_document_file, write_document_file

N_BYTES = 24 << 20


def save(path: Path, generation: int) -> None:
    """Two arrays full of the generation."""
    array = np.full(N_BYTES // 8, generation, dtype=np.int32)
    write_document_file(path, {"generation": generation}, {"a": array, "b": array})


def saved_generation(path: Path) -> int:
    """What the file holds, in all its parts."""
    opened = open_document_file(path)
    generation = int(opened.header["generation"])
    assert all((array == generation).all() for array in opened.arrays.values())
    return generation


def main(folder: Path, rounds: int) -> None:
    """Kill after random times, from at once to about the time that a save takes now, which is found on the way."""
    path, counts = folder / "document", Counter[str]()
    fork = multiprocessing.get_context("fork")
    save(path, 0)
    old, moments, longest = 0, random.Random(0), 0.1
    for generation in range(1, rounds + 1):
        process = fork.Process(target=save, args=(path, generation))
        process.start()
        time.sleep(moments.uniform(0, longest))
        process.kill()
        process.join()
        found = saved_generation(path)
        assert found in (old, generation), f"generation {found} after {old}, while saving {generation}"
        parts = [each for each in folder.iterdir() if each != path]
        assert len(parts) <= 1, parts
        counts["new" if found == generation else "old"] += 1
        counts["parts"] += len(parts)
        longest *= 0.8 if found == generation else 1.2
        old = found
    save(path, -1)
    assert saved_generation(path) == -1 and list(folder.iterdir()) == [path]
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
