"""What the build leaves: libraries that find each other anywhere, and a wheel that needs no compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import portalocker
import pytest
from loaded_libraries import probe
from places import ROOT

NATIVE = ROOT / "build" / "native"
LIB = ROOT / "asl_llamacpp" / "lib"
STOCK = Path(os.environ.get("ASL_STOCK_LIB", NATIVE / "stock" / "lib"))
TOOLS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


def test_libraries_find_each_other_after_a_move(tmp_path: Path) -> None:
    moved = tmp_path / "else where"
    shutil.copytree(LIB, moved)
    engine, mapped = probe(moved)
    assert engine
    assert {path.parent for path in mapped} <= {moved}
    if sys.platform == "linux":
        assert {path.name for path in mapped} >= {"libllama.so", "libggml.so", "libggml-base.so"}


@pytest.mark.skipif(not STOCK.is_dir() and "ASL_STOCK_LIB" not in os.environ, reason="`make test` builds it")
def test_stock_library_is_complete_and_unpatched() -> None:
    engine, mapped = probe(STOCK)
    assert not engine
    assert {path.parent for path in mapped} <= {STOCK.resolve()}


@pytest.mark.skipif(not shutil.which("cmake", path=TOOLS), reason="needs cmake")
def test_missing_compiler_is_one_clear_message(tmp_path: Path) -> None:
    environment = {**os.environ, "CC": "/nowhere/cc", "CXX": "/nowhere/c++", "PATH": TOOLS}
    configure = ["cmake", "-S", str(ROOT), "-B", str(tmp_path), "-G", "Ninja"]
    result = subprocess.run(configure, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert result.stderr.startswith("CMake Error") and result.stderr.count("CMake Error") == 1
    assert "No C++ compiler found" in result.stderr and "apt install g++" in result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, from the objects of the build that is there."""
    if not (NATIVE / "build.ninja").is_file():
        pytest.skip("`make libraries` has not been run")
    folder = tmp_path_factory.mktemp("dist")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    command = [*pip, "--wheel-dir", str(folder), f"--config-settings=build-dir={NATIVE}", str(ROOT)]
    # any other compiler than the one that made the objects would compile them all again
    cache = (NATIVE / "CMakeCache.txt").read_text()
    used = dict(re.findall(r"^CMAKE_(C|CXX)_COMPILER:\w+=(.*)$", cache, re.MULTILINE))
    environment = {**os.environ, "PATH": TOOLS, "CC": used["C"], "CXX": used["CXX"]}
    with portalocker.Lock(NATIVE / "wheel.lock", flags=portalocker.LockFlags.EXCLUSIVE):  # another worker of pytest's
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return next(folder.glob("*.whl"))


def test_wheel_holds_the_libraries_once_and_no_sources(wheel: Path) -> None:
    assert wheel.name.startswith("asl_llamacpp-") and "-py3-none-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if ".dist-info/" not in name]
    names = {name for name in files if not name.endswith(".py")}
    suffix = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
    libraries = {Path(name).name for name in names if name.startswith("asl_llamacpp/lib/")}
    assert {f"lib{name}{suffix}" for name in ("llama", "ggml", "ggml-base", "ggml-cpu", "ggml-rpc")} <= libraries
    assert {name for name in libraries if not name.endswith(suffix)} == {"LICENSE-llama-cpp.txt"}
    others = {name for name in names if not name.startswith("asl_llamacpp/lib/")}
    data = {
        f"asl_llamacpp/{name}"
        for name in ("engine/architectures.json", "llama/hacker-folklore.txt", "documents/heat_map.css")
    }
    data |= {"asl_llamacpp/engine/layerwise.h", "asl_llamacpp/py.typed"}
    page = ROOT / "asl_llamacpp" / "server" / "static"
    data |= {path.relative_to(ROOT).as_posix() for path in page.rglob("*") if path.is_file()}
    assert others == data


def test_wheel_works_in_a_clean_environment_without_compilers(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    scripts = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    python = str(scripts / "python")
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))"]
    site = Path(subprocess.run(where, capture_output=True, text=True, check=True).stdout.strip())
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # what the package depends on, without downloading it again
    packages = {Path(entry) for entry in sys.path if entry.endswith("site-packages")}
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in sorted(packages)))

    find = "import importlib.util as u; print(u.find_spec('asl_llamacpp').origin)"
    found = subprocess.run([python, "-c", find], cwd="/", capture_output=True, text=True, check=True).stdout
    assert Path(found.strip()).parent == site / "asl_llamacpp"
    engine, mapped = probe(site / "asl_llamacpp" / "lib", python, path=str(scripts))
    assert engine
    assert {path.parent for path in mapped} <= {site.resolve() / "asl_llamacpp" / "lib"}
