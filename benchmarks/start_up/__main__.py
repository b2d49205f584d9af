"""Seconds from the command to its end, for what a user waits for before any model is loaded.

    python -m benchmarks.start_up [--repeats 9]

The commands take turns, a process each. Prints the median and the fastest run of each; nothing is written.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from asl_llamacpp.files.model_file import default_model

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import asl_llamacpp": ["-c", "import asl_llamacpp"],
    "from asl_llamacpp import Llama": ["-c", "from asl_llamacpp import Llama"],
    "asl-llamacpp --help": ["-m", "asl_llamacpp.cli", "--help"],
    "asl-llamacpp ask --help": ["-m", "asl_llamacpp.cli", "ask", "--help"],
    "asl-llamacpp info MODEL": ["-m", "asl_llamacpp.cli", "info", str(default_model())],
}


def seconds_of(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for arguments in COMMANDS.values():
        seconds_of(arguments)  # the files' pages
    for _ in range(args.repeats):
        for name, arguments in COMMANDS.items():
            found[name].append(seconds_of(arguments))
    for name, seconds in found.items():
        print(f"{name:<32} {statistics.median(seconds):5.2f} s   fastest {min(seconds):5.2f} s")


if __name__ == "__main__":
    main()
