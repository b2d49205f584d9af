"""Options that several commands have, each declared once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from ..budget.plan import parse_budget
from ..budget.text import Budget as Budget_
from ..documents import shelf
from ..files.model_file import find_model
from .defaults import MODEL_DEFAULT

BATCH = 512


class Place(str, Enum):
    device = "device"
    host = "host"


class OnOverflow(str, Enum):
    error = "error"
    sections = "sections"


class Positions(str, Enum):
    original = "original"
    compact = "compact"


Model: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        help="GGUF file; also in the environment, as ASL_MODEL.",
        envvar="ASL_MODEL",
        show_envvar=False,
        show_default=MODEL_DEFAULT,
    ),
]
Reader: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="GGUF file of a small model that reads long prompts for this one: the policy's layers are its layers.",
        show_default="none",
    ),
]
ReaderGpuLayers: TypeAlias = Annotated[
    int | None,
    typer.Option(min=-1, help="The reader's layers on the GPU; -1: all.", show_default="as --n-gpu-layers"),
]
ReaderThreads: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="The reader's CPU threads.", show_default="as --threads")
]
WithPositions: TypeAlias = Annotated[
    Positions,
    typer.Option(
        "--positions", help="Where the tokens that a reader chose stand: where they stood, or one behind the other."
    ),
]
PolicySpec: TypeAlias = Annotated[
    str, typer.Option(help="What to prune: asl, snapkv, full..., or a spec such as asl:tau=0.4,select_k=1024.")
]
Budget: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="What the KV cache may hold: 2048 (tokens), 10% (of the prompt) or 2GiB.", show_default="no limit"
    ),
]
Overflow: TypeAlias = Annotated[
    OnOverflow, typer.Option(help="A document longer than the context: refuse it, or ask it section by section.")
]
Sections: TypeAlias = Annotated[bool, typer.Option("--sections", help="Short for --overflow sections.")]
Password: TypeAlias = Annotated[str | None, typer.Option(help="What opens a document that is locked.")]
ReadTimeout: TypeAlias = Annotated[
    float, typer.Option(help="Seconds that a file, or a page of it, may take to be read.")
]
AllowPrivate: TypeAlias = Annotated[
    bool, typer.Option("--allow-private", help="URLs may lead to this machine and its network.")
]
MaxTokens: TypeAlias = Annotated[int, typer.Option(min=1, help="Longest answer, tokens.")]
Temperature: TypeAlias = Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")]
Seed: TypeAlias = Annotated[
    int | None,
    typer.Option(min=0, help="Makes answers at a temperature above 0 repeatable.", show_default="another each time"),
]
System: TypeAlias = Annotated[
    str, typer.Option(help="A system prompt, which stands before the document.", show_default="none")
]
Thinking: TypeAlias = Annotated[
    bool | None,
    typer.Option(
        "--thinking/--no-thinking",
        help="Whether a model that can do both thinks before it answers.",
        show_default="as its chat template has it",
    ),
]
GpuLayers: TypeAlias = Annotated[int, typer.Option(min=-1, help="Layers on the GPU, if there is one; -1: all.")]
Rpc: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT,...", help="RPC servers to put layers on.", show_default="this machine alone"),
]
HiddenPlace: TypeAlias = Annotated[
    Place, typer.Option("--hidden", help="Hidden states between layers: on a GPU, or on the host, to spare its memory.")
]
Threads: TypeAlias = Annotated[int | None, typer.Option(min=1, help="CPU threads.", show_default="by CPU count")]
Ubatch: TypeAlias = Annotated[int, typer.Option(min=1, help="Tokens evaluated at once.")]
UbatchOfDevice: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Tokens evaluated at once.", show_default="512; 1024 on a GPU that prunes")
]
TypeK: TypeAlias = Annotated[str, typer.Option(help="Type of K, such as f16 or q8_0.")]
TypeV: TypeAlias = Annotated[str, typer.Option(help="Type of V.")]


def size_of(option: str, text: str) -> int:
    """Bytes that the text of an option says. ValueError: it says none."""
    try:
        parsed = parse_budget(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.kind != "bytes":
        raise ValueError(f"{option} {text}: give bytes with a unit, such as 8GiB")
    return int(parsed.value)


def budget_of(text: str | None) -> Budget_ | None:
    """What --budget says. ValueError naming the option."""
    try:
        return parse_budget(text)
    except ValueError as error:
        raise ValueError(str(error).replace("kv_budget=", "--budget ", 1)) from None


def how_to_overflow(overflow: OnOverflow, sections: bool) -> shelf.Overflow:
    """What both options together say."""
    return "sections" if sections or overflow is OnOverflow.sections else "error"


def check_positions(reader: Path | None, positions: Positions) -> None:
    """ValueError: there is no reader that they could be for."""
    if reader is None and positions is not Positions.original:
        raise ValueError(f"--positions {positions.value} is for tokens that a reader chose: give --reader FILE too")


def reader_arguments(
    reader: Path | None, positions: Positions, n_gpu_layers: int | None, threads: int | None, llama: dict[str, Any]
) -> dict[str, Any]:
    """What `Llama` takes the reader's options as; `llama`: `llama_options`, which are the reader's too unless given.

    Raises:
        FileNotFoundError, ValueError: as `find_model`; ValueError for options of a reader where there is none.
    """
    check_positions(reader, positions)
    own = {"n_gpu_layers": n_gpu_layers, "n_threads": threads, "n_threads_batch": threads}
    own = {name: value for name, value in own.items() if value is not None}
    if reader is None:
        if own:
            raise ValueError("--reader-n-gpu-layers and --reader-threads are for a reader: give --reader FILE too")
        return {}
    return {"reader": find_model(reader), "reader_options": {**llama, **own}, "positions": positions.value}


def llama_options(n_gpu_layers: int, threads: int | None, ubatch: int | None) -> dict[str, Any]:
    """What `Llama` takes them as; it chooses an `ubatch` of None."""
    batches = {} if ubatch is None else {"n_batch": max(BATCH, ubatch), "n_ubatch": ubatch}
    return {"n_gpu_layers": n_gpu_layers, "n_threads": threads, "n_threads_batch": threads, **batches}
