"""Which ways and layers are still worth trying on the next prompt, by what they lost on those before.

Trying all of them on every prompt takes ten times as long as the prompt itself, and most are hopeless after a few.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .calibration_fit import LAST, NOTHING, Floats
from .lines import Line

LEAST = 4
"""Prompts that everything is tried on."""
DEEPER = 4
"""Layers behind the first good one of a way that are tried further, in case it turns out not to be good."""
SETTLED = 12
"""Prompts that the race takes at least."""

Pair = tuple[str, int]
"""A way of choosing, and a layer."""


class Race(Protocol):
    """settled: further prompts would tell nothing."""

    @property
    def settled(self) -> bool: ...
    def wants(self, way: str, layer: int) -> bool: ...
    def add(self, line: Line) -> None: ...


class TryAll:
    """No race."""

    settled = False

    def wants(self, way: str, layer: int) -> bool:
        return True

    def add(self, line: Line) -> None:
        """Nothing is made of it."""


class Racing:
    """A race of every other layer, for each way.

    Those end it that lose more than the best by two standard errors, and those more than `DEEPER` layers behind one
    of the same way that loses no more than the best. It is settled once the best is sure: all that would be cheaper
    have ended it.

    Args:
        n_layer: of the model.
    """

    def __init__(self, n_layer: int) -> None:
        self._parity = round(LAST[0] * n_layer) % 2
        self._lost: dict[Pair, list[float]] = {}
        self._ended: set[Pair] = set()
        self.n = 0
        """Prompts so far."""

    def wants(self, way: str, layer: int) -> bool:
        return layer % 2 == self._parity and (way, layer) not in self._ended

    def add(self, line: Line) -> None:
        """The line of a prompt; one that was skipped tells nothing."""
        if "budgets" not in line:
            return
        self.n += 1
        budgets = list(line["budgets"].values())
        full = np.exp(line["full"][0] / line["n_answer"])
        for way, layers in budgets[0]["tried"].items():
            for layer in layers:
                if self.wants(way, int(layer)):
                    found = [budget["tried"][way][layer][0] for budget in budgets if layer in budget["tried"][way]]
                    lost = full - np.mean(np.exp(np.array(found) / line["n_answer"]))
                    self._lost.setdefault((way, int(layer)), []).append(float(lost))
        if self.n >= LEAST:
            self._end_some()

    @property
    def settled(self) -> bool:
        if self.n < SETTLED:
            return False
        worse = self._worse()
        good = [layer for (_, layer), more in worse.items() if more.mean() <= NOTHING]
        return min(good) <= min(layer for _, layer in worse)

    def _worse(self) -> dict[Pair, Floats]:
        """What each that is in the race loses more than the best, by prompt."""
        running = {pair: lost for pair, lost in self._lost.items() if pair not in self._ended and len(lost) == self.n}
        best = np.array(min(running.values(), key=lambda lost: float(np.mean(lost))))
        return {pair: np.array(lost) - best for pair, lost in running.items()}

    def _end_some(self) -> None:
        worse = self._worse()
        for pair, more in worse.items():
            if more.mean() - 2 * _error(more) > NOTHING:
                self._ended.add(pair)
        for way in {way for way, _ in worse}:
            good = [layer for (one, layer), more in worse.items() if one == way and more.mean() <= NOTHING]
            if good:
                self._ended |= {(one, layer) for one, layer in worse if one == way and layer > min(good) + DEEPER}


def _error(values: Floats) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


EVERYTHING: Race = TryAll()
