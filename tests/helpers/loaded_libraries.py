"""Which libraries a process that imports llama_cpp runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROBE = """
import json, sys
import llama_cpp
llama_cpp.llama_backend_init()
llama_cpp.llama_print_system_info()
engine = hasattr(llama_cpp.llama_cpp._lib, "llama_layerwise_begin")
maps = open("/proc/self/maps").read().splitlines() if sys.platform == "linux" else []
paths = {line.split(maxsplit=5)[5] for line in maps if "libggml" in line or "libllama" in line}
print(json.dumps({"engine": engine, "paths": sorted(paths)}))
"""


def probe(lib: Path, python: str = sys.executable, path: str | None = None) -> tuple[bool, list[Path]]:
    """Load the libraries of a folder in a new process: is the engine in, and which files were mapped."""
    environment = {**os.environ, "LLAMA_CPP_LIB_PATH": str(lib), "PATH": path or os.environ["PATH"]}
    environment.pop("LD_LIBRARY_PATH", None)
    command = [python, "-c", PROBE]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/", check=False)
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout.splitlines()[-1])
    return answer["engine"], [Path(path) for path in answer["paths"]]
