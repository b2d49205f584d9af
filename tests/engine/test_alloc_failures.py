"""Every allocation of a prefill fails once: MemoryError, and the object answers as before when there is memory again.

What is not covered, because the process ends there, in llama.cpp as it comes: allocations of ggml's own bookkeeping
(`GGML_ASSERT`, some 100 kB at most), and those of `llama_decode`, from which `std::bad_alloc` cannot be caught.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from places import HELPERS
from raw_llama import F16, Q8_0

pytestmark = pytest.mark.slow

MIN_SIZE = 4096  # below it are ggml's contexts and numpy's scratch, which end the process

ASL = "asl:layer=2,l_min=2,l_obs=2,select_k=64,window=16"
SNAPKV = "snapkv:budget=64,window=16"  # every layer is compressed


@pytest.fixture(scope="module")
def failing_malloc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared library that makes allocations fail."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("preload") / "failing_malloc.so"
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    command = [compiler, *flags, "-o", str(library), str(HELPERS / "failing_malloc.c"), "-ldl"]
    subprocess.run(command, check=True)
    # libc.so.6 on glibc alone: other C libraries have no __libc_malloc, and the preloaded library would not load
    check = subprocess.run(["true"], env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, check=False)
    if check.returncode != 0 or check.stderr:
        pytest.skip("the C library has no __libc_malloc")
    return library


@pytest.mark.parametrize(
    ("name", "policy", "kv_type"),
    [
        ("tiny-llama", ASL, F16),
        ("tiny-llama", SNAPKV, F16),
        ("tiny-gemma2", ASL, F16),
        ("tiny-gpt-oss", ASL, F16),
        ("tiny-llama", ASL, Q8_0),
    ],
    ids=["asl", "snapkv", "sliding window", "mixture of experts", "quantized"],
)
def test_every_allocation_may_fail(
    tiny_path: Callable[[str], Path], failing_malloc: Path, name: str, policy: str, kv_type: int
) -> None:
    arguments = [str(tiny_path(name)), policy, str(MIN_SIZE), str(kv_type)]
    command = [sys.executable, str(HELPERS / "alloc_failures.py"), *arguments]
    environment = {**os.environ, "LD_PRELOAD": str(failing_malloc), "GGML_NO_BACKTRACE": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}{result.stderr[-3000:]}"


def test_growth_makes_do_with_less(tiny_path: Callable[[str], Path], failing_malloc: Path) -> None:
    """Where there is no memory for many cells more, there may be for a few; without any, what is there stays."""
    command = [sys.executable, str(HELPERS / "alloc_growth.py"), str(tiny_path("tiny-llama"))]
    environment = {**os.environ, "LD_PRELOAD": str(failing_malloc)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}{result.stderr[-3000:]}"
