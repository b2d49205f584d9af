"""Reads damaged files of all formats for some minutes: python tests/sources/fuzz/long_run.py MINUTES [SEED] [FOLDER].

A file may be read, or refused with an error that names it. Crashes, files that take more than 10 s or 1 GiB, and errors
of parsers that got out are counted as failures, and kept in FOLDER.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))

from damaged import damaged
from sample_files import SAMPLES

from asl_llamacpp.sources import Reading
from asl_llamacpp.sources.safely import SafeReader

BAD = ("the process that read it ended", "passed without a page", "takes more than")


def main(minutes: float, seed: int, folder: Path) -> int:
    chance, end = random.Random(seed), time.monotonic() + 60 * minutes
    counts: Counter[tuple[str, str]] = Counter()
    slowest: dict[str, float] = dict.fromkeys(SAMPLES, 0.0)
    with SafeReader() as reader:
        while time.monotonic() < end:
            name = chance.choice(list(SAMPLES))
            data = damaged(SAMPLES[name], chance)
            start, kind, said = time.monotonic(), "read", ""
            try:
                reader.read(data, name, Reading())
            except ValueError as error:
                said = str(error)
                kind = "failed" if any(bad in said for bad in BAD) or name not in said else "refused"
            except RuntimeError as error:
                kind, said = "failed", str(error)
            slowest[name] = max(slowest[name], time.monotonic() - start)
            counts[name, kind] += 1
            if kind == "failed":
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{counts[name, kind]}-{name}"
                path.write_bytes(data)
                print(f"{path}: {said}", flush=True)
    for name in SAMPLES:
        told = ", ".join(f"{counts[name, kind]} {kind}" for kind in ("read", "refused", "failed"))
        print(f"{name:10} {told}; slowest {slowest[name]:.2f} s")
    return sum(n for (_, kind), n in counts.items() if kind == "failed")


if __name__ == "__main__":
    arguments = sys.argv[1:] + ["1", "0", "build/fuzz"][len(sys.argv) - 1 :]
    sys.exit(main(float(arguments[0]), int(arguments[1]), Path(arguments[2])) > 0)
