"""Where a build with backends in files of their own, such as a wheel's, looks for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from asl_llamacpp.engine.library import LIB_DIR

LOAD = """
import ctypes, sys
ctypes.CDLL(sys.argv[1]).llama_layerwise_load_backends()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks glibc's loader which files it opens")
def test_backends_come_from_the_folder_of_libllama_alone(tmp_path: Path) -> None:
    lib, elsewhere = tmp_path / "lib", tmp_path / "elsewhere"
    shutil.copytree(LIB_DIR, lib)
    elsewhere.mkdir()
    for folder in (lib, elsewhere):
        shutil.copy(LIB_DIR / "libggml-rpc.so", folder / "libggml-vulkan.so")
    command = [sys.executable, "-c", LOAD, str(lib / "libllama.so")]
    environment = {**os.environ, "LD_DEBUG": "files"}
    result = subprocess.run(command, env=environment, cwd=elsewhere, capture_output=True, text=True, check=True)
    assert f"file={lib}/libggml-vulkan.so" in result.stderr
    assert f"{elsewhere}/" not in result.stderr
