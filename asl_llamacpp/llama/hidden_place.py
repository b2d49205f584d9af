"""Where `Llama` keeps the hidden states between the layers."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from ..engine.binding import Engine, UnsupportedModelError
from ..policies import Policy

Hidden: TypeAlias = Literal["device", "host"]


def check_hidden(hidden: str, policy: Policy) -> Hidden:
    """The place. ValueError for another one, or for the host where the policy keeps no hidden states."""
    if hidden not in get_args(Hidden):
        raise ValueError(f"hidden must be 'device' or 'host', not {hidden!r}")
    if hidden == "host" and not policy.prunes:
        raise ValueError(
            f"kv_policy={str(policy)!r} keeps no hidden states between layers: leave hidden='host' out, or prune"
        )
    return "host" if hidden == "host" else "device"


def place_hidden(engine: Engine, hidden: Hidden) -> None:
    """Let the engine keep them there. ValueError where that makes no sense for a device."""
    try:
        engine.keep_hidden(hidden == "host")
    except UnsupportedModelError as error:
        raise ValueError(f"{error}: leave hidden='host' out") from None
