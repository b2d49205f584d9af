"""Seconds from the command to its end, for what a user waits for before any model is loaded.

    python -m benchmarks.start_up [--repeats 9]

The commands take turns, a process each. Prints the median and the fastest run of each, and the least CPU
time, which other programs on the machine lengthen less; nothing is written.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys

from asl_llamacpp.files.model_file import default_model

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import asl_llamacpp": ["-c", "import asl_llamacpp"],
    "from asl_llamacpp import Llama": ["-c", "from asl_llamacpp import Llama"],
    "asl-llamacpp --help": ["-m", "asl_llamacpp.cli", "--help"],
    "asl-llamacpp ask --help": ["-m", "asl_llamacpp.cli", "ask", "--help"],
    "asl-llamacpp info MODEL": ["-m", "asl_llamacpp.cli", "info", str(default_model())],
}


def seconds_of(arguments: list[str]) -> tuple[float, float]:
    """By the clock, and of the processor."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    processor = sum(after[2:4]) - sum(before[2:4])
    return after.elapsed - before.elapsed, processor


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for arguments in COMMANDS.values():
        seconds_of(arguments)  # the files' pages
    for _ in range(args.repeats):
        for name, arguments in COMMANDS.items():
            found[name].append(seconds_of(arguments))
    for name, runs in found.items():
        clock, processor = zip(*runs, strict=True)
        times = f"{statistics.median(clock):5.2f} s   fastest {min(clock):5.2f} s   CPU {min(processor):5.2f} s"
        print(f"{name:<32} {times}")


if __name__ == "__main__":
    main()
