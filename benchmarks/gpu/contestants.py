"""Who takes part on a GPU."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contestant:
    """`spec`: the policy, {half} and {late} being layers; None: unpatched llama.cpp.

    `hidden`: where hidden states are kept. `reader`: a smaller shape that reads for others, to whose layers the policy
    applies.
    """

    name: str
    spec: str | None
    kv_budget: int | None = None
    n_ubatch: int = 512
    hidden: str = "device"
    reader: str | None = None

    def policy(self, n_layer: int) -> str:
        """For a model of n_layer layers."""
        return "stock" if self.spec is None else self.spec.format(half=n_layer // 2 - 1, late=round(0.75 * n_layer))


CONTESTANTS = (
    Contestant("llama.cpp", None),
    Contestant("llama.cpp, ubatch 2048", None, n_ubatch=2048),
    Contestant("full", "full"),
    # with a threshold that is never reached the rule sees every layer, and l_max forces the selection: asl at its worst
    Contestant("asl, at the latest", "asl:tau=1e-9,l_max={late}"),
    Contestant("asl, half way", "asl:layer={half}"),
    Contestant("asl, half way, ubatch 1024", "asl:layer={half}", n_ubatch=1024),
    Contestant("asl, half way, ubatch 2048", "asl:layer={half}", n_ubatch=2048),
    Contestant("asl, half way, kv_budget", "asl:layer={half}", kv_budget=2048),
    Contestant("asl, half way, hidden states on the host", "asl:layer={half}", n_ubatch=1024, hidden="host"),
    Contestant("read by 1B", "asl:layer={half}", n_ubatch=1024, reader="1B"),
)
