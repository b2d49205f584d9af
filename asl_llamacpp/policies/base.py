"""What every policy answers: all that the rest of the package asks of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import Field, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

from ..engine.kinds import LayerShape
from ..selection.parameters import Heads
from ..selection.selectors import Deciding, NoSelection
from .answers import Fewer, Pass, Prompt, WorstCase

if TYPE_CHECKING:
    from typing_extensions import Self

_WORDS = {"none": None, "true": True, "false": False}

POLICIES: dict[str, type[Policy]] = {}
"""The policies by name, in the order in which they were defined."""


class Policy:
    """What becomes of a long prompt. A policy is a frozen dataclass derived from this, and known by its `name`.

    It says how tokens are chosen (`selector`), and beside that what differs from the answers here: those of a policy
    that drops no token and compresses no layer. Its fields, each with a default, are the options of its text form.

    name        of its text form, such as "asl" of "asl:tau=0.4"; lower case
    prunes      long prompts are prefilled layer by layer, and tokens or KV cells are dropped
    two_passes  the first pass only chooses tokens; the model then runs again on just those, at positions 0..k-1: see
                `TwoPasses`
    """

    name: ClassVar[str]
    prunes: ClassVar[bool] = True
    two_passes: ClassVar[bool] = False

    def __init_subclass__(cls, listed: bool = True) -> None:
        """Make it known by its name. ValueError if that is taken, or could not be read in a text form.

        listed: False: it has no text form, other parts of the package make it.
        """
        super().__init_subclass__()
        name = cls.__dict__.get("name")
        if name is None or not listed:
            return
        known = POLICIES.get(name)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"{cls.__qualname__} cannot be called {name!r}: {known.__qualname__} is")
        if name != name.strip().lower() or not name or set(name) & set(":,="):
            raise ValueError(f"a policy cannot be called {name!r}: use lower case, without ':', ',' and '='")
        POLICIES[name] = cls

    # ---- what it does --------------------------------------------------------------------------------------------

    @property
    def window(self) -> int:
        """The last so many prompt tokens act as queries, and are always kept."""
        return 1

    @property
    def kernel(self) -> int:
        """Width of the average pooling of scores over positions, odd."""
        return 1

    @property
    def select_k(self) -> int | None:
        """Tokens that go on after the selection; prompts of at most so many stay whole. None: none are dropped."""
        return None

    @property
    def heads(self) -> Heads:
        """How the heads' scores are combined, or which are chosen: see `ByAttention`."""
        return "sum"

    def check_heads(self, shapes: Sequence[LayerShape]) -> None:
        """ValueError if a head that it looks at is not in a model of such layers, or gives no scores there."""

    @property
    def contrast(self) -> bool:
        """The set is chosen by what the prompt's end looks at more than a turn that asks nothing would."""
        return False

    @property
    def budget(self) -> int | None:
        """Cells that every layer and KV head is compressed to; None: only if a `kv_budget` demands it."""
        return None

    @property
    def keep(self) -> str:
        """What stays of the layers before the selection: see `Selecting`."""
        return "all"

    @property
    def threshold(self) -> float | None:
        """What the relative variance has to fall below for the selection; None: it is not looked at."""
        return None

    def resolve(self, n_layer: int) -> Self:
        """This policy for a model of `n_layer` layers: "auto" replaced by numbers; ValueError if they do not fit."""
        return self

    def selector(self, prompt: Prompt) -> Deciding:
        """What decides during one prefill, shown the layers in turn: the scores that it wants, and the selection."""
        return NoSelection()

    def asked_in(self, n: int) -> Self:
        """This policy for a prompt whose question is its last `n` tokens: no earlier ones are queries.

        A document's end would else look for what is like itself.
        """
        return self if n >= self.window else replace(self, window=n)  # type: ignore[type-var]

    # ---- how much it keeps ---------------------------------------------------------------------------------------

    @property
    def size(self) -> str | None:
        """The option that says how much is kept of a prompt: "select_k" or "budget"; None: there is none."""
        names = ("select_k", "budget")
        return next((name for name in names if getattr(self, name) is not None), None)

    def keeping(self, n: int) -> Self:
        """This policy with another `size`."""
        if self.size is None:
            raise ValueError(f"{self.name} has no option that says how much is kept")
        return replace(self, **{self.size: n})  # type: ignore[type-var]

    # ---- what that takes at most ---------------------------------------------------------------------------------

    @property
    def latest_layer(self) -> int | None:
        """The layer (0-based) after which tokens are dropped at the latest; None: perhaps never.

        If it gives no scores, the first later one that does. ValueError for an unresolved policy.
        """
        return None

    def worst_case(self, prompt: Prompt, keep: int | None = None) -> WorstCase:
        """What a prompt takes under the resolved policy; `keep`: cells that layers are compressed to."""
        n, n_layer, latest = prompt.n_tokens, prompt.n_layer, self.latest_layer
        if self.select_k is None or n <= self.select_k:
            return WorstCase(None, (Pass((n,) * n_layer, keep),))
        if latest is None or not prompt.scored:
            return WorstCase(n_layer, (Pass((n,) * n_layer, keep),))
        latest = max(latest, prompt.scored[0])
        n_deep = n_layer - latest - 1
        return WorstCase(latest, (Pass((n,) * (latest + 1) + (self.select_k,) * n_deep, keep),))

    # ---- what a kv_budget makes of it ----------------------------------------------------------------------------

    def without_budget(self, prompt: Prompt) -> Choice:
        """What is done if there is none."""
        return Choice(self, self.budget)

    def within_tokens(self, prompt: Prompt, cells: int) -> Choice | None:
        """What is done so that no layer and KV head holds more than `cells`, > window; None: nothing will do."""
        return self._compressed(cells)

    def within_bytes(self, prompt: Prompt, fewer: Fewer) -> Iterator[Choice]:
        """What can be done so that the KV takes fewer bytes, what gives up least first."""
        n = prompt.n_tokens
        if self.budget is None:
            yield Choice(self, None)
        else:
            yield Choice(replace(self, budget=max(n, self.window + 1)), n, "the whole prompt fits the budget")  # type: ignore[type-var]
        yield from self.earlier(prompt)
        for cells in fewer(n):
            yield self._compressed(cells, ", to fit the budget")

    def earlier(self, prompt: Prompt) -> Iterator[Choice]:
        """The same with an earlier selection, latest first, before layers are compressed: by default at none."""
        return iter(())

    def selecting_by(self, layer: int) -> Self:
        """This policy, made to drop tokens after `layer` at the latest: for one whose `latest_layer` may be None."""
        raise NotImplementedError(f"{type(self).__name__} may never select, and cannot be made to")

    def _compressed(self, cells: int, why: str = "") -> Choice:
        policy = self if self.budget is None else replace(self, budget=cells)  # type: ignore[type-var]
        return Choice(policy, cells, f"every layer and KV head keeps at most {cells} cells{why}")

    # ---- its text form -------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        """The name, then whatever differs from the defaults: "asl:tau=0.4,select_k=1024"."""
        values = [(field, getattr(self, field.name)) for field in self.options()]
        changed = [f"{field.name}={self.option_text(field.name)}" for field, value in values if value != field.default]
        return ":".join(filter(None, (self.name, ",".join(changed))))

    @classmethod
    def read_option(cls, name: str, text: str) -> Any:
        """The value of an option that its text form gives: a word, a number, or else the text as it is."""
        if text in _WORDS:
            return _WORDS[text]
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                pass
        return text

    def option_text(self, name: str) -> str:
        """What `read_option` makes the option's value of."""
        return str(getattr(self, name)).lower()

    @classmethod
    def options(cls) -> list[Field[Any]]:
        """The fields: its own, then those that policies share."""
        return sorted(fields(cls), key=lambda field: bool(field.kw_only))  # type: ignore[arg-type]

    def _set_checked(self, checked: dict[str, Any]) -> None:
        """Plain int and float in the place of what was given, so that policies compare and print alike."""
        for name, value in checked.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Choice:
    """One way to prefill a prompt within a budget.

    policy        the policy to run
    keep          cells per layer and KV head that layers are compressed to; None: no compression
    reason        what the budget changed; empty if nothing
    forced_layer  the layer after which tokens are dropped at the latest, because of the budget
    """

    policy: Policy
    keep: int | None
    reason: str = ""
    forced_layer: int | None = None
