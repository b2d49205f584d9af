"""The wheels that `make wheel` left in dist/, where it was run: what they hold, and where they install."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from loaded_libraries import probe
from places import ROOT

from asl_llamacpp import __version__

DIST = ROOT / "dist"
LOAD = """
import ctypes, sys
ctypes.CDLL(sys.argv[1]).llama_backend_init()
print({line.split("libggml-cpu-")[1].strip() for line in open("/proc/self/maps") if "libggml-cpu-" in line})
"""
"""Without numpy, which needs more of a CPU than we do."""


def the_wheel(pattern: str) -> Path:
    found = list(DIST.glob(pattern))
    if not found:
        pytest.skip("`make wheel` was not run")
    assert len(found) == 1
    return found[0]


@pytest.fixture
def wheel() -> Path:
    return the_wheel(f"asl_llamacpp-{__version__}-*.whl")


def test_the_tag_says_which_systems_it_runs_on(wheel: Path) -> None:
    system = {"linux": "manylinux_2_", "darwin": "macosx_"}[sys.platform]
    assert wheel.name.startswith(f"asl_llamacpp-{__version__}-py3-none-{system}")
    bindings = the_wheel("llama_cpp_python-*.whl")
    assert bindings.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(bindings) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".so", ".dylib", ".dll"))]


def test_nothing_was_copied_into_it_or_renamed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        libraries = [Path(name) for name in archive.namelist() if ".so" in name or ".dylib" in name]
    assert {path.parent.as_posix() for path in libraries} == {"asl_llamacpp/lib"}
    assert {path.stem for path in libraries} >= {"libllama", "libggml", "libggml-base", "libggml-rpc"}
    assert all(path.suffix in {".so", ".dylib"} and "-." not in path.name for path in libraries)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_one_of_its_cpu_backends_is_loaded_from_its_own_folder(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    lib = tmp_path / "asl_llamacpp" / "lib"
    engine, mapped = probe(lib)
    assert engine
    assert {path.parent for path in mapped} == {lib}
    assert len([path for path in mapped if path.name.startswith("libggml-cpu")]) == 1


@pytest.mark.skipif(not shutil.which("qemu-x86_64") or platform.machine() != "x86_64", reason="needs qemu-user")
@pytest.mark.parametrize(
    ("cpu", "backend"),
    [("Conroe", "x64"), ("Nehalem", "sse42"), ("SandyBridge", "sandybridge"), ("Haswell", "haswell")],
)
def test_an_older_cpu_gets_the_backend_that_it_can_run(wheel: Path, tmp_path: Path, cpu: str, backend: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    library = tmp_path / "asl_llamacpp" / "lib" / "libllama.so"
    command = ["qemu-x86_64", "-cpu", cpu, sys.executable, "-I", "-c", LOAD, str(library)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"{{'{backend}.so'}}\n"
