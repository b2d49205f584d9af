"""What generating needs to know that the parent does not: whether the cache may serve a prompt, and what comes next."""

from __future__ import annotations

import inspect
import random
from collections.abc import Generator, Sequence
from typing import Any

import llama_cpp

from ..documents.chat_prompt import IMAGE_HANDLERS
from .grammar import check_grammar
from .handles import GuardedHandles

_GENERATE = inspect.signature(llama_cpp.Llama.generate)
_COMPLETION = inspect.signature(llama_cpp.Llama._create_completion)


class Closed:
    """Stands for the model and the context of an object that was closed."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError("this Llama was closed: make a new one")


class GuardedGeneration(GuardedHandles):
    """llama-cpp-python's generation, for a cache that may be pruned.

    The parent assumes that cell i holds token i and reuses whatever prefix matches; here `_may_reuse` decides.
    """

    _stage: str | None = None
    """Within generate: "prompt" until that is evaluated, then "decode"."""
    _echo_logprobs = False
    _seeded = True
    """Whether the object has a seed; else each answer has one of its own."""
    _answer_seed: int | None = None

    def _prunes(self, n_tokens: int) -> bool:
        """Whether a prompt of n_tokens is prefilled layer by layer."""
        raise NotImplementedError

    def _may_reuse(self, tokens: list[int]) -> bool:
        """Whether the parent's prefix matching may serve `tokens` from what the cache holds."""
        raise NotImplementedError

    def _recall(self, tokens: list[int]) -> bool:
        """Let the context be as it was when it had evaluated `tokens`; False if that was not its last prompt."""
        raise NotImplementedError

    def _begin_anew(self) -> None:
        """Before another prompt, for which what the cache holds may still be of use."""
        raise NotImplementedError

    def _expect_answer(self, n_tokens: int) -> None:
        """The prompt that comes next is answered with so many tokens at most; 0: that is not known."""
        raise NotImplementedError

    def _refuse_images(self) -> None:
        """ValueError where images may be among the tokens: their handlers write KV cells themselves."""
        if isinstance(self.chat_handler, IMAGE_HANDLERS):
            raise ValueError(
                f"kv_policy={str(self.kv_policy)!r} cannot prune a prompt that a chat handler may put images into: "
                "use kv_policy='full', or a shorter prompt"
            )

    def generate(self, tokens: Sequence[int], *args: Any, **kwargs: Any) -> Generator[int, Sequence[int] | None, None]:
        """Generate tokens as the parent does; what the cache holds is used only where it may be."""
        tokens = list(tokens)
        reset = _GENERATE.bind(self, tokens, *args, **kwargs).arguments.get("reset", True)
        if self._echo_logprobs and self._prunes(len(tokens)):
            raise ValueError(
                f"echo=True with logprobs needs the logits of all {len(tokens)} prompt tokens, and "
                f"kv_policy={str(self.kv_policy)!r} prunes them: drop echo, or use kv_policy='full'"
            )
        if reset and not self._recall(tokens) and not self._may_reuse(tokens):
            self._begin_anew()
        stream, stage, sent = super().generate(tokens, *args, **kwargs), "prompt", None
        while True:
            # only while the parent's generator runs: between two tokens the caller may evaluate something else
            self._stage = stage
            try:
                token = stream.send(sent)
            except StopIteration:
                return
            finally:
                stage, self._stage = self._stage, None
            sent = yield token

    def set_seed(self, seed: int) -> None:
        """As the parent does: answers are the same from now on, until another seed is set."""
        self._seeded = self._seeded or seed != self._answer_seed
        super().set_seed(seed)

    def _create_completion(self, *args: Any, **kwargs: Any) -> Any:
        bound = _COMPLETION.bind(self, *args, **kwargs).arguments
        if bound.get("grammar") is not None:
            check_grammar(self._model.vocab, bound["grammar"])
        self._answer_seed = bound.get("seed")
        if self._answer_seed is None and not self._seeded:
            kwargs["seed"] = self._answer_seed = random.SystemRandom().randrange(1, 2**32 - 1)
        echo_logprobs = bool(bound.get("echo")) and bound.get("logprobs") is not None
        max_tokens = bound.get("max_tokens", _COMPLETION.parameters["max_tokens"].default) or 0
        completion = super()._create_completion(*args, **kwargs)
        while True:
            self._echo_logprobs = echo_logprobs
            self._expect_answer(max(max_tokens, 0))
            try:
                chunk = next(completion)
            except StopIteration:
                return
            finally:
                self._echo_logprobs = False
                self._expect_answer(0)
            yield chunk
