"""A model, and tasks that make prompts of one length for it: what every search over generated prompts begins with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..llama.opening import CONTEXT_STEP
from .prompts import Prompts
from .registry import open_task
from .sample import Task
from .shared import SharedLlama, open_shared

LEAST_ROOM = 64
"""Tokens behind a prompt at least: a turn that asks nothing may run beside it."""


@contextmanager
def asking(
    path: str | Path, tasks: Sequence[str], length: int, data: Mapping[str, Path] | None = None, **llama_options: Any
) -> Iterator[tuple[SharedLlama, list[Task]]]:
    """The model at `path` with room for prompts of `length` tokens and their answers, and the tasks, in their order.

    data: files by task. Errors as `open_task` and `open_model`.
    """
    with Prompts(path) as prompts:
        opened = [open_task(task, prompts, data) for task in tasks]
        longest = max(LEAST_ROOM, *(task.max_tokens for task in opened))
        options = {"n_ctx": -(-(length + longest) // CONTEXT_STEP) * CONTEXT_STEP, "flash_attn": True}
        with open_shared(path, **{**options, **llama_options}) as shared:
            yield shared, opened
