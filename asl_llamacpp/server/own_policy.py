"""What requests may say of policy and budget: what the server runs, and nothing else."""

from __future__ import annotations

import reprlib
from typing import Any

from ..budget.text import parse_budget
from ..policies import parse_policy
from .errors import APIError
from .settings import ModelSettings


def check_policy(model: ModelSettings, **wanted: Any) -> None:
    """APIError, by name, for a policy or a budget in a request that are not the server's. None: nothing was said."""
    budget = parse_budget(model.options.get("kv_budget"))
    for name, value in wanted.items():
        if value is None or _is_own(model.policy, budget, name, value):
            continue
        own = "no kv_budget" if budget is None else f"kv_budget={str(budget)!r}"
        raise APIError(
            400,
            f"{name}={reprlib.repr(value)}: the server runs kv_policy={model.policy!r} and {own} for all requests, "
            "since its KV cache is laid out for them; leave this out, or start another server",
            param=name,
            code="other_policy",
        )


def _is_own(policy: str, budget: Any, name: str, value: Any) -> bool:
    try:
        if name == "kv_budget":
            return bool(parse_budget(value) == budget)
        return bool(parse_policy(value) == parse_policy(policy))
    except (TypeError, ValueError):  # of nobody's
        return False
