"""Whether one model file can read for another: it has layers, they can be run one by one, and it costs less."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..engine.gguf_header import GGUFHeader
from ..engine.kinds import LayerShape, UnsupportedModelError
from ..files.model_file import find_model
from ..policies import Policy
from ..policies.answers import Prompt
from .layer_work import read_layer_work
from .model_shape import ModelShape, read_shape
from .reader_work import ReaderWork, check_reader_work, reader_work


def open_reader_shape(path: str | Path) -> ModelShape:
    """The shape of the model file that is to read; its weights are not read.

    Raises:
        ValueError: a damaged file, or a vocabulary alone.
        FileNotFoundError: there is none.
        UnsupportedModelError: its architecture cannot be prefilled layer by layer (a ValueError too).
    """
    path = find_model(path)
    if not any(name.startswith("blk.") for name, _ in GGUFHeader(path).tensors()):
        raise ValueError(f"reader={path} is a vocabulary without layers, which cannot read: give a whole model")
    shape = read_shape(path)
    if shape.unsupported is not None:
        raise UnsupportedModelError(
            f"reader={path} cannot read, for it cannot be run layer by layer ({shape.unsupported}): take another model"
        )
    return shape


def pair_work(
    reader: str | Path,
    reader_shape: ModelShape,
    large: str | Path,
    layers: Sequence[LayerShape],
    policy: Policy,
    n: int,
) -> ReaderWork:
    """The work of a prompt of `n` tokens under `policy`, which selects in the reader as late as it may.

    `layers`: of the model that answers, whose file is `large`.
    """
    k = policy.select_k
    assert k is not None
    theirs = reader_shape.layers
    return reader_work(
        read_layer_work(reader, theirs),
        read_layer_work(large, layers),
        _latest(policy, theirs, n),
        _latest(policy, layers, n),
        n,
        k,
    )


def check_pair(reader: str | Path, large: str | Path, layers: Sequence[LayerShape], policy: Policy, n_ctx: int) -> None:
    """Refuse a reader that cannot serve prompts of up to `n_ctx` tokens, or costs more there than it saves.

    Raises as `open_reader_shape`, and ValueError with the arithmetic.
    """
    shape = open_reader_shape(reader)
    check_reader_work(pair_work(reader, shape, large, layers, policy, n_ctx))


def _latest(policy: Policy, layers: Sequence[LayerShape], n: int) -> int:
    """The deepest layer that may select; the last one where none need."""
    scored = tuple(il for il, layer in enumerate(layers) if layer.gives_scores)
    latest = policy.resolve(len(layers)).worst_case(Prompt(n, len(layers), scored)).latest
    return len(layers) - 1 if latest is None else min(latest, len(layers) - 1)
