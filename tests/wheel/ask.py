"""What somebody does who has only the wheels: asks the default model about some text, under asl.

Run by the Python of a fresh environment, outside the checkout; see check.py.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from asl_llamacpp import EXAMPLE, Llama
from asl_llamacpp.engine.library import LIB_DIR

POLICY = "asl:select_k=512,l_min=15,l_max=21,score_layers=4"
LENGTH = 4000  # characters, from the end: about a thousand tokens, which an emulated CPU can bear


def mapped_libraries() -> list[Path]:
    """The files of llama.cpp and ggml that this process runs; empty where the system does not tell."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text(encoding="utf-8").splitlines() if maps.exists() else []
    names = {line.split(maxsplit=5)[5] for line in lines if "libllama" in line or "libggml" in line}
    return sorted(Path(name) for name in names)


def main() -> None:
    """Ask, print the answer, and fail if anything came from elsewhere or nothing was pruned."""
    site = Path(sysconfig.get_path("platlib")).resolve()
    assert site in LIB_DIR.resolve().parents, f"{LIB_DIR} is not in {site}"
    llm = Llama(n_ctx=2048, kv_policy=POLICY, n_threads=1, n_threads_batch=1, verbose=False)
    text = EXAMPLE.read_text(encoding="utf-8")[-LENGTH:]
    answer = llm.read(text=text).ask("What is the number of the RFC about carrier pigeons?", max_tokens=24)
    print(answer, answer.report, sep="\n")
    assert "1149" in answer.text, "the answer is wrong"
    assert answer.report.selection_layer is not None, "nothing was pruned"
    for path in mapped_libraries():
        assert path.parent == LIB_DIR.resolve(), f"{path} is not of the wheel"
        print(path.name)


if __name__ == "__main__":
    sys.exit(main())
