"""What a prefill tells about itself: `Progress` while it runs, `PrefillReport` when it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_RANGES = 6


@dataclass(frozen=True)
class Progress:
    """One step of a prefill: `tokens` of `n_tokens` done at layer `layer` (0-based) of `layers`, in `phase`.

    `phase` is "shallow" (up to the selection layer), "deep" (after it; `n_tokens` is then the number of selected
    tokens), "second" (the second pass of a policy that has two, over the selected tokens), or "full" (a prompt that
    is not pruned, batch by batch through all layers). With a reader: "reading", whose layers are the reader's, then
    "answering", which is like "second".
    """

    layer: int
    layers: int
    tokens: int
    n_tokens: int
    phase: str


OnProgress = Callable[[Progress], object]


@dataclass(eq=False)
class PrefillReport:
    """What one prefill pruned, why there, and what that saved. Printing it gives a short table.

    policy             the policy's text form, as `parse_policy` reads it
    calibration        the file that the policy's constants come from; None: they are the paper's, or chosen by hand
    n_prompt           prompt tokens
    n_layer            layers of the model
    selection_layer    layer (0-based) after which only the selected tokens went on; None: nothing was pruned
    reason             why that layer, or why nothing was pruned
    forced             selection was forced by `layer` or `l_max`, not chosen by the rule
    selected           int32 [n_selected], positions that went on, sorted, the window included; None as above
    scores             float32 [n_prompt - window], what the past tokens were ranked by: their pooled attention at
                       scores_layer, summed over the heads, or heads and layers combined as the policy says (for
                       gemfilter inner products with the last token's query, [n_prompt - 1]); None: nothing
                       was selected. Not part of `to_dict`
    scores_layer       the layer whose scores decided: the selection layer, or one before it if a document had run on
    shown              float32 [n_prompt - window], what a document's passages are ranked by: the window's attention,
                       summed over the heads of shown_layer and some layers before it, or over the chosen ones up to
                       it; None: not a document, or no layer gives scores. Not part of `to_dict`
    shown_layer        the deepest layer of these
    contrasted         twice what a turn that asks nothing looks at was subtracted from them
    relative_variance  V_l / V_ref by layer, as far as the rule was evaluated (arXiv 2601.07667)
    tau                threshold on it; None if the policy has none
    keep               KV cells that each layer and KV head was compressed to, if it had more; None: no compression
    limit_bytes        what `kv_budget` allows `kv_bytes` to be; None: nothing was said in bytes
    reused             tokens of the prompt whose state was there: of a document, or from an earlier prompt
    reused_layers      layers that these had run through; of a completed document all of them. Deeper layers ran on
                       them again, as far as they were selected
    run                tokens that each layer was run on, both passes together, a turn that asks nothing included:
                       what the prefill cost, [n_layer]
    position_shift     a second pass put the selected tokens at positions 0..; the next token's position is
                       n_prompt - position_shift
    cells              KV cells in use, by layer
    kv_bytes           bytes of all KV buffers, allocated
    kv_bytes_full      the same, had nothing been pruned
    peak_kv_bytes      largest kv_bytes during the prefill
    host_bytes         K and V that waited in the host's memory for the selection, all layers together
    seconds            wall time by phase: "shallow", "selection", "deep", "total"; where there is one, "compression",
                       "copying" (a document's state, or layers to the host and back) and "second"
    read               of the model that read the prompt for this one (`Llama(reader=...)`): its layers are those of
                       relative_variance, scores_layer, shown_layer and reused_layers, its selection_layer is where it
                       stopped, and here that is -1, since every layer ran on the selected tokens. None: no reader
    notes              what will not go as one might expect: a document's state that is larger than `document_limit`
    """

    policy: str
    n_prompt: int
    n_layer: int
    selection_layer: int | None = None
    reason: str = ""
    forced: bool = False
    selected: NDArray[np.int32] | None = None
    scores: NDArray[np.float32] | None = None
    scores_layer: int | None = None
    shown: NDArray[np.float32] | None = None
    shown_layer: int | None = None
    contrasted: bool = False
    relative_variance: dict[int, float] = field(default_factory=dict)
    tau: float | None = None
    keep: int | None = None
    limit_bytes: int | None = None
    position_shift: int = 0
    reused: int = 0
    reused_layers: int = 0
    run: list[int] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    kv_bytes: int = 0
    kv_bytes_full: int = 0
    peak_kv_bytes: int = 0
    host_bytes: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    calibration: str | None = None
    read: PrefillReport | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def n_selected(self) -> int:
        """Tokens that every layer was run on: all of them if nothing was pruned."""
        return self.n_prompt if self.selected is None else len(self.selected)

    @property
    def selection(self) -> PrefillReport:
        """The report of the model that selected: the reader's, if there is one."""
        return self.read or self

    @property
    def place(self) -> str:
        """Where the tokens were selected, in words."""
        made, whose = self.selection, "" if self.read is None else " of the reader"
        return f"after layer {made.selection_layer} of {made.n_layer}{whose}"

    def repeated(self, seconds: float) -> PrefillReport:
        """The same of a prompt that came again, of which nothing was run: that took `seconds`."""
        again = replace(self, seconds={"total": seconds}, notes=list(self.notes))
        again.reused, again.reused_layers, again.run = self.n_prompt, self.n_layer, [0] * self.n_layer
        return again

    def to_dict(self, include_selected: bool = True) -> dict[str, Any]:
        """The same fields for `json.dumps`; without the positions if `include_selected` is False."""
        values = asdict(replace(self, read=None))
        selected = values.pop("selected")
        for name in ("scores", "shown"):
            del values[name]
        values["read"] = None if self.read is None else self.read.to_dict(include_selected=False)
        values["n_selected"] = self.n_selected
        values["relative_variance"] = {str(layer): float(r) for layer, r in self.relative_variance.items()}
        values["cells"] = [int(count) for count in self.cells]
        values["run"] = [int(count) for count in self.run]
        if include_selected:
            values["selected"] = None if selected is None else selected.tolist()
        return values

    def __str__(self) -> str:
        share = _percent(self.n_selected, self.n_prompt, " ({:.1f} %)")
        layer = "none" if self.selection_layer is None else self.place.removeprefix("after ")
        saved = _percent(self.kv_bytes_full - self.kv_bytes, self.kv_bytes_full, ", {:.1f} % saved")
        limit = "" if self.limit_bytes is None else f"; limit {_size(self.limit_bytes)}"
        waited = f"; {_size(self.host_bytes)} waited on the host" if self.host_bytes else ""
        layers = f"{self.reused_layers} of {self.selection.n_layer} layers"
        known = f", {self.reused} of them known in {layers}" if self.reused else ""
        rows = {
            "policy": self.policy + (f", calibrated by {self.calibration}" if self.calibration else ""),
            "prompt": f"{self.n_prompt} tokens{known}",
            "selection": f"{layer}: {self.reason}" if self.reason else layer,
            **(
                {"run": _percent(sum(self.run), self.n_prompt * self.n_layer, "{:.1f} % of the tokens and layers")}
                if self.run
                else {}
            ),
            "kept": f"{self.n_selected} of {self.n_prompt} tokens{share}",
            "cells": _cell_ranges(self.cells),
            "KV memory": f"{_size(self.kv_bytes)} of {_size(self.kv_bytes_full)} in full{saved}{limit}",
            "KV peak": _size(self.peak_kv_bytes) + waited,
            "seconds": ", ".join(f"{phase} {value:.2f}" for phase, value in self.seconds.items()),
        }
        lines = [*rows.items(), *(("note", note) for note in self.notes)]
        return "\n".join(f"{title:<10} {text or '-'}" for title, text in lines)


def _percent(part: int, whole: int, form: str) -> str:
    return form.format(100 * part / whole) if whole else ""


def _size(n_bytes: int) -> str:
    for unit, scale in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.1f} {unit}"
    return f"{n_bytes} B"


def _cell_ranges(cells: list[int]) -> str:
    """As "layers 0-14: 7000, 15-29: 1024"; by cell count where layers alternate too often for ranges."""
    ranges, start = [], 0
    for count, run in groupby(cells):
        end = start + len(list(run)) - 1
        ranges.append(f"{start}-{end}: {count}" if end > start else f"{start}: {count}")
        start = end + 1
    if len(ranges) > MAX_RANGES:
        return ", ".join(f"{count} in {layers} layers" for count, layers in Counter(cells).most_common())
    return f"layers {', '.join(ranges)}" if ranges else ""
