"""Finding a model's constants: generated prompts, every layer tried on each, and the rule that serves them best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ..engine.version import __version__
from ..files.fingerprint import model_fingerprint
from ..files.model_file import find_model
from ..llama.model_info import read_model_info
from ..selection.parameters import ChosenHeads
from . import head_search
from .ablation import OnLine, own, run_ablation
from .ablation_rules import tried
from .calibration_fit import Outcomes, Trials, fit, fit_layer, paper
from .head_search import Judged
from .kept_recordings import NOT_KEPT, KeptRecordings
from .lines import Line, read_lines
from .racing import Racing
from .ways import SENTENCES, SENTENCES_MAX, of_heads

TASKS = (
    *("niah_single_1", "niah_single_2", "niah_multikey_1", "niah_single_3", "passkey", "number_string"),
    *("niah_multivalue", "kv_retrieval", "vt"),
)
BUDGETS = ("1/4", "1/8")
SEED = 1_000_000
"""Of the prompts: one that no evaluation uses, so that it judges a calibration on other prompts."""
WAYS = ("sum", SENTENCES, SENTENCES_MAX)
"""Of choosing, see `way_named`: the paper's, and two in sentences; the chosen heads come to them."""
HEAD_PROMPTS = 12
"""That heads are chosen by; as many real questions, if there are some."""
LEAST = 6
"""Prompts answered rightly without which nothing is said about a model."""
LEAST_LAYERS = 10
"""Of a model: in fewer there is nothing to choose between the paper's l_min and its l_max."""
TRIES = 4
"""Prompts that are generated at most, for each that is wanted."""


@dataclass(frozen=True, eq=False)
class Found:
    """What was found, and on the same prompts the paper's constants and the best fixed layer."""

    best: Outcomes
    paper: Outcomes
    layer: Outcomes
    tasks: dict[str, int]
    lengths: tuple[int, ...]
    heads: HeadsFound | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What the file says beside policy and model."""
        rules = {"calibrated": self.best, "paper": self.paper, "fixed_layer": self.layer}
        return {
            "measured": {
                "date": date.today(),
                "version": __version__,
                "lengths": list(self.lengths),
                "budgets": list(BUDGETS),
                "prompts": self.tasks,
                **{name: _told(outcomes) for name, outcomes in rules.items()},
            },
            **({} if self.heads is None else {"heads": self.heads.facts}),
        }


@dataclass(frozen=True)
class HeadsFound:
    """The heads that look answers up, and what they keep by kind of prompt: see `head_search`."""

    chosen: ChosenHeads
    judged: tuple[Judged, ...]
    data: str | None

    @property
    def way(self) -> str:
        return of_heads(self.chosen)

    @property
    def facts(self) -> dict[str, Any]:
        """Share of the answers' tokens among 1/8, in sentences: [by these, by heads of other kinds, by all heads]."""
        kinds = {one.task: [round(v, 3) for v in (one.training, one.held_out, one.all_heads)] for one in self.judged}
        return {"chosen": self.way.split()[1], **({"data": self.data} if self.data else {}), "kept": kinds}


def find_heads(
    model: str | Path,
    *,
    length: int,
    data: Path | None = None,
    recordings: KeptRecordings = NOT_KEPT,
    on_prompt: Callable[[str], object] = lambda task: None,
    **llama_options: Any,
) -> HeadsFound | None:
    """The heads that look answers up in generated prompts, and in the questions of `data`, a file in SQuAD's form.

    None where the model's layers give no scores that would tell. `recordings`, `on_prompt` and errors as
    `head_search.search`.
    """
    prompts = head_search.search(
        find_model(model), length, head_search.TASKS, data, HEAD_PROMPTS,
        recordings=recordings, on_prompt=on_prompt, **llama_options,
    )  # fmt: skip
    if not prompts:
        return None
    chosen = head_search.choose(prompts)
    return HeadsFound(chosen, tuple(head_search.judge(prompts, chosen)), None if data is None else data.name)


def n_head_prompts(data: Path | None) -> int:
    """Prompts that `find_heads` runs."""
    return HEAD_PROMPTS if data is None else 2 * HEAD_PROMPTS


def _told(found: Outcomes) -> dict[str, Any]:
    told = {"policy": str(found.policy), "loss": found.loss.mean(), "work": found.work.mean()}
    return {name: value if isinstance(value, str) else round(float(value), 3) for name, value in told.items()}


def measure(
    model: str | Path,
    out: str | Path,
    *,
    n_prompts: int,
    length: int,
    tasks: Sequence[str] = TASKS,
    heads: HeadsFound | None = None,
    on_line: OnLine | None = None,
    **llama_options: Any,
) -> list[Line]:
    """Try layers on up to `n_prompts` prompts of `length` tokens that the model answers rightly; their lines in `out`.

    Tasks take turns. `heads` are tried too, beside `WAYS`. What is hopeless after a few prompts is not tried on the
    others, and it ends when they would tell nothing new: see `Racing`. Lines of the same model and length that are
    there count.

    Raises:
        ValueError: the model has too few layers.
        RuntimeError: a prompt failed; what was measured before stays in `out`.
    """
    path = find_model(model)
    n_layer = read_model_info(path).layers or 0
    if n_layer < LEAST_LAYERS:
        raise ValueError(f"{path.name} has {n_layer} layers, and {LEAST_LAYERS} are needed to choose one from")
    per_task = -(-TRIES * n_prompts // len(tasks))
    ways = (*WAYS, heads.way) if heads is not None else WAYS
    limits: dict[str, Any] = {"budgets": BUDGETS, "ways": ways, "windows": (), "kernels": (), "enough": n_prompts}
    limits["race"] = Racing(n_layer)

    def checked(line: Line) -> None:
        if "error" in line:
            raise RuntimeError(f"a prompt of {line['task']} failed: {line['error']}")
        if on_line is not None:
            on_line(line)

    run_ablation(
        path, tasks, length, out, n_samples=per_task, seeds=(SEED,), on_line=checked, **limits, **llama_options
    )  # fmt: skip
    return own(read_lines(out), model_fingerprint(path), length)


def settled(lines: Sequence[Line]) -> bool:
    """Whether these lines, of one model, leave nothing open that further prompts would decide."""
    race = Racing(max(line.get("n_layer", 0) for line in lines))
    for line in lines:
        race.add(line)
    return race.settled


def find(lines: Sequence[Line], heads: HeadsFound | None = None) -> Found:
    """The rule for the model that the lines are of.

    Raises:
        ValueError: it answered too few prompts rightly.
    """
    good = [line for line in lines if "budgets" in line]
    if len(good) < LEAST:
        raise ValueError(
            f"the model answers {len(good)} of {len(lines)} generated prompts rightly without any pruning, and "
            f"{LEAST} are needed: try shorter ones with --length, or a stronger model"
        )
    trials = Trials([one for budget in BUDGETS for one in tried(good, budget)])
    tasks = dict(Counter(line["task"] for line in good))
    lengths = tuple(sorted({line["length"] for line in good}))
    return Found(fit(trials), trials.outcomes(paper(trials.n_layer)), fit_layer(trials), tasks, lengths, heads)
