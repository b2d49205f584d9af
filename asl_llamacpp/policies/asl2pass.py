"""asl-2pass: ASL chooses the tokens, then the model runs again on just those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .asl import ASL
from .two_passes import TwoPasses


@dataclass(frozen=True)
class ASL2Pass(TwoPasses, ASL):
    """Like GemFilter (arXiv 2409.17422), but the layer and the set come from ASL (arXiv 2601.07667).

    The parameters are those of `ASL`. The answer is decoded from a prompt of `select_k` tokens at positions
    0..select_k-1: no layer holds more cells than that, and what the dropped tokens said is gone everywhere.
    """

    name: ClassVar[str] = "asl-2pass"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep != "all":
            raise ValueError(
                f"keep={self.keep!r}: asl-2pass keeps the selected tokens' cells in any case; leave it out"
            )
