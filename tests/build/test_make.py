"""The Makefile: what it offers, and what it says when a tool is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from places import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_target_is_explained() -> None:
    phony = re.search(r"^\.PHONY:((?:.*\\\n)*.*)", MAKEFILE, re.MULTILINE)
    assert phony is not None
    targets = set(phony[1].replace("\\", "").split()) - {"help", "FORCE"}
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    untold = {name for name in targets if not re.search(rf"make {name}\b", shown)}
    assert untold <= {"stock"}  # it only changes `libraries`
    assert targets == {name for name in targets if re.search(rf"^([\w-]+ )*{name}( [\w-]+)*:", MAKEFILE, re.MULTILINE)}


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("cuda-check", "no nvcc in PATH; install the CUDA toolkit"),
        ("windows-check", "apt install g++-mingw-w64-x86-64-posix"),
    ],
)
def test_a_missing_compiler_is_named(tmp_path: Path, target: str, told: str) -> None:
    for name in ("sh", "make", "sed", "uname", "getconf"):
        (tmp_path / name).symlink_to(shutil.which(name) or pytest.skip(f"no {name}"))
    sdist = re.search(r'^sdist = "(.*)"', (ROOT / "vendor" / "llama_cpp_pin.toml").read_text(), re.MULTILINE)
    assert sdist is not None
    command = ["make", "-s", f"VENV={tmp_path}/no", "-o", f"build/{sdist[1]}", target]
    environment = {**os.environ, "PATH": str(tmp_path)}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert result.stdout.startswith("error: ") and told in result.stdout and result.stdout.count("\n") == 1
