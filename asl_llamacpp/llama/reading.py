"""A second, small model beside a `Llama`, which reads its prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..budget.reader_pair import check_pair, open_reader_shape
from ..documents.reader import Reader
from ..engine.binding import model_layers
from ..engine.names import check_names
from ..engine.vocabulary import Vocabulary
from ..policies.read_by import ReadBy
from ..store.settings import store_arguments
from .model_info import read_model_info

ROOM = 2
"""A reader's context, in those of the model that answers: its vocabulary may need more tokens for the same text."""

_SLOWER = "allow_slower"
"""Of the reader's options: take it although it costs more than it saves, as an experiment does."""

_OWN = (
    "model_path",
    "vocab_only",
    "kv_policy",
    "kv_budget",
    "reader",
    "reader_options",
    "positions",
    "calibration",
    "on_progress",
)


def check_reader_options(options: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, Any]:
    """The options of the reader's `Llama`; TypeError for one that there is not, or that the other model decides."""
    if not isinstance(options, Mapping | None):
        raise TypeError(f"reader_options must be a dict of arguments for the reader's Llama, not {options!r}")
    given = dict(options or {})
    check_names("reader_options", given, [*(name for name in names if name not in _OWN), _SLOWER])
    return given


def open_reader(llm: Any, path: str, options: Mapping[str, Any]) -> Reader:
    """Open the model at `path` for the prompts of `llm`, whose policy is a `ReadBy`.

    Raises as `Llama`, and ValueError for a file that cannot read, or one that costs more than it saves.
    """
    policy = llm.kv_policy
    assert isinstance(policy, ReadBy)
    given = dict(options)
    if given.pop(_SLOWER, False):
        open_reader_shape(path)
    else:
        check_pair(path, llm.model_path, model_layers(llm._model.model), policy.policy, llm.n_ctx())
    trained = read_model_info(path).context
    n_ctx = min(ROOM * llm.n_ctx(), trained or ROOM * llm.n_ctx())
    given = {"verbose": llm.verbose, "n_threads": llm.n_threads, "n_ctx": n_ctx, **given}
    given = {**store_arguments(llm.store_options), **given}
    small = type(llm)(path, kv_policy=policy.reading, calibration=None, **given)
    return Reader(small, Vocabulary(llm._ctx.ctx), options)


def arguments_of(llm: Any) -> dict[str, Any]:
    """The arguments that open `llm` again with its reader, if it has one."""
    policy = llm.kv_policy
    if llm.reader is None:
        return {"kv_policy": policy}
    assert isinstance(policy, ReadBy)
    reads = {"reader": llm.reader.llm.model_path, "reader_options": llm.reader.options}
    return {"kv_policy": policy.policy, "positions": policy.positions, **reads}
