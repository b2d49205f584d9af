"""Whether a model that reads for another one is worth it: multiply-adds of both against those of the other alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .layer_work import LayerWork


@dataclass(frozen=True)
class ReaderWork:
    """Multiply-adds of one prompt.

    n_tokens   of the prompt, in both models' tokens
    select_k   of them that the model which answers runs on
    reading    the reader's layers up to its selection, over the whole prompt
    answering  all layers of the model that answers, over `select_k` tokens
    alone      the same model without a reader: its layers up to its own selection, then the others over `select_k`
    layers     how many layers read, of how many
    own        how many layers the model that answers runs over the whole prompt without a reader, of how many
    """

    n_tokens: int
    select_k: int
    reading: float
    answering: float
    alone: float
    layers: tuple[int, int]
    own: tuple[int, int]

    @property
    def together(self) -> float:
        return self.reading + self.answering

    @property
    def share(self) -> float:
        """Of the work of the model that answers alone, with the same policy."""
        return self.together / self.alone

    def __str__(self) -> str:
        def tera(work: float) -> str:
            return f"{work / 1e12:,.3g}"

        return (
            f"for {self.n_tokens:,} tokens {self.layers[0]} of the reader's {self.layers[1]} layers take "
            f"{tera(self.reading)} trillion multiply-adds, and {self.select_k:,} tokens through the other model "
            f"{tera(self.answering)}: {tera(self.together)} together. Alone, with the first {self.own[0]} of its "
            f"{self.own[1]} layers on all tokens, it takes {tera(self.alone)}"
        )


def reader_work(
    reader: Sequence[LayerWork],
    large: Sequence[LayerWork],
    reader_latest: int,
    own_latest: int,
    n_tokens: int,
    select_k: int,
) -> ReaderWork:
    """The work of a prompt in the worst case.

    reader, large               the layers of both models
    reader_latest, own_latest   the layer after which the policy selects at the latest, in each of them
    """
    k = min(select_k, n_tokens)
    read, own = reader_latest + 1, own_latest + 1
    return ReaderWork(
        n_tokens=n_tokens,
        select_k=k,
        reading=sum(layer.of(n_tokens) for layer in reader[:read]),
        answering=sum(layer.of(k) for layer in large),
        alone=sum(layer.of(n_tokens) for layer in large[:own]) + sum(layer.of(k) for layer in large[own:]),
        layers=(min(read, len(reader)), len(reader)),
        own=(min(own, len(large)), len(large)),
    )


def check_reader_work(work: ReaderWork) -> None:
    """ValueError with the arithmetic, if both models together take no less than the one alone.

    Where every prompt fits `select_k` nothing is read, and nothing refused.
    """
    if work.n_tokens <= work.select_k or work.share < 1:
        return
    raise ValueError(
        f"this reader costs more than it saves: {work}. Take a smaller reader, a lower select_k, or leave reader= out"
    )
