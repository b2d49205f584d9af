"""Accuracy of policies on long-context tasks: `asl-llamacpp eval`. docs/evaluation.md says what the tasks are."""

from __future__ import annotations

from .prompts import Prompts
from .registry import open_task, task_names
from .runner import run
from .sample import Sample, Task
from .variants import Variant, variants

__all__ = ["Prompts", "Sample", "Task", "Variant", "open_task", "run", "task_names", "variants"]
