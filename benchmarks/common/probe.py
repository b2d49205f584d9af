"""What the benchmarks need to know about the model, the document and the machine."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from gguf import GGUFReader

from asl_llamacpp.engine.library import LIB_DIR
from asl_llamacpp.files import calibration
from asl_llamacpp.llama.models import default_model as _default_model
from asl_llamacpp.llama.opening import EXAMPLE

__all__ = [
    "LIB_DIR",
    "RESULTS",
    "Model",
    "build_conditions",
    "calibrated",
    "default_model",
    "document_tokens",
    "ideal",
    "processor_name",
    "prompt",
    "write_results",
]

RESULTS = Path(__file__).resolve().parent.parent / "results"
QUESTION = "\n\nQuestion: Who published this document?\nAnswer:"


def default_model() -> str:
    """Path of the installed default model."""
    return str(_default_model())


def calibrated(model: str, select_k: int) -> str:
    """What `asl-llamacpp calibrate` found for a model, in results/NAME.asl.toml; the paper's if there is no file."""
    path = RESULTS / f"{Path(model).stem}{calibration.SUFFIX}"
    policy, _ = calibration.calibrated(f"asl:select_k={select_k}", model, path if path.exists() else None)
    return str(policy)


def ideal(n_layer: int, whole: int, deep: int, n: int, k: int) -> float:
    """Share of an unpruned prefill's tokens times layers: `whole` layers run on n tokens, `deep` ones on k."""
    return (whole * n + deep * min(k, n)) / (n_layer * n)


class Model:
    """Layers and bytes of an f16 KV cell of a GGUF model without sliding-window layers."""

    def __init__(self, path: str) -> None:
        fields = GGUFReader(path).fields

        def number(key: str) -> int:
            return int(fields[f"{arch}.{key}"].contents())

        arch = str(fields["general.architecture"].contents())
        head = number("embedding_length") // number("attention.head_count")
        self.n_layer = number("block_count")
        self.cell_bytes = 2 * 2 * head * number("attention.head_count_kv")  # K and V, two bytes each

    def stock_kv_bytes(self, n_ctx: int) -> int:
        """What stock llama.cpp allocates for a context of n_ctx cells, padded to 256."""
        return self.n_layer * self.cell_bytes * -(-n_ctx // 256) * 256


def document_tokens(model: str) -> list[int]:
    """The demo's document and the question, tokenized by the model, as (document + question); see `prompt`."""
    code = (
        "import sys, json, asl_llamacpp as a; l = a.Llama(sys.argv[1], vocab_only=True, verbose=False); "
        "print(json.dumps([l.tokenize(t.encode(), add_bos=False) for t in json.load(sys.stdin)]))"
    )
    texts = json.dumps([EXAMPLE.read_text(encoding="utf-8"), QUESTION])
    out = subprocess.run([sys.executable, "-c", code, model], input=texts, capture_output=True, text=True, check=True)
    document, question = json.loads(out.stdout)
    return [*document, *question]


def prompt(tokens: list[int], n: int) -> list[int]:
    """n tokens: the document, from its start as often as it takes, and its last 32 tokens, the question."""
    document, question = tokens[:-32], tokens[-32:]
    repeated = document * (n // len(document) + 1)
    return [*repeated[: n - len(question)], *question]


def processor_name() -> str:
    """The processor as the system names it, fit for a file name."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        name = found.group(1) if found else name
    elif sys.platform == "darwin":
        name = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True).stdout
    return re.sub(r"[^A-Za-z0-9]+", "-", name.strip()).strip("-") + f"-{os.cpu_count()}-cores"


def build_conditions() -> dict[str, Any]:
    """What tells one machine and one build of the libraries from another."""
    libraries = sorted(path for path in LIB_DIR.iterdir() if path.suffix in (".so", ".dylib", ".dll"))
    times = [int(path.stat().st_mtime) for path in libraries]
    return {"processor": processor_name(), "libraries": times}


def version() -> str:
    """Of the package, and of the llama.cpp under it."""
    import llama_cpp

    import asl_llamacpp

    return f"asl_llamacpp {asl_llamacpp.__version__}, llama-cpp-python {llama_cpp.__version__}"


def write_results(kind: str, args: Any, rows: list[dict[str, Any]], table: str, note: str = "", **more: Any) -> None:
    """Write results/KIND-NAME.json and .md, and print the latter. `args`: with name, model and threads."""
    name = args.name or processor_name()
    machine = {"processor": processor_name(), "threads": args.threads, "system": platform.platform()}
    model = Path(args.model).name
    text = f"{machine['processor']}, {args.threads} threads, {model}{note}\n\n{table}\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{kind}-{name}.md").write_text(text, encoding="utf-8")
    raw = {"machine": machine, "model": model, **more, "rows": rows}
    (RESULTS / f"{kind}-{name}.json").write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    print(text)
