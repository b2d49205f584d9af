"""llama-cpp-python's `Llama` for several threads: what uses the context waits for its turn."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import llama_cpp

from ..documents.chat_prompt import IMAGE_HANDLERS
from ..engine.turn import Turn


class OneAtATime(llama_cpp.Llama):
    """Calls from any thread, one after another; see `Turn`.

    turn  who uses the context
    """

    turn: Turn

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        made = super().__new__(cls)
        made.turn = Turn()
        return made

    def generate(self, tokens: Sequence[int], *args: Any, **kwargs: Any) -> Generator[int, Sequence[int] | None, None]:
        return self.turn.stream(super().generate(tokens, *args, **kwargs), shared=True)

    def _create_completion(self, *args: Any, **kwargs: Any) -> Any:
        pieces: Any = super()._create_completion(*args, **kwargs)
        return self.turn.stream(pieces)

    def create_chat_completion(self, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(self.chat_handler, IMAGE_HANDLERS):
            return super().create_chat_completion(*args, **kwargs)
        # such a handler puts images into the context before it asks for a completion of what follows
        if kwargs.get("stream"):
            return self.turn.stream(self._chat_pieces(args, kwargs))
        with self.turn.hold():
            return super().create_chat_completion(*args, **kwargs)

    def _chat_pieces(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, None, None]:
        yield from super().create_chat_completion(*args, **kwargs)

    def reset(self) -> None:
        with self.turn.hold():
            super().reset()  # type: ignore[no-untyped-call]

    def eval(self, tokens: Sequence[int]) -> None:
        with self.turn.hold():
            super().eval(tokens)

    def sample(self, *args: Any, **kwargs: Any) -> int:
        with self.turn.hold(beside=True):
            token: int = super().sample(*args, **kwargs)
            return token

    def embed(self, *args: Any, **kwargs: Any) -> Any:
        with self.turn.hold():
            return super().embed(*args, **kwargs)
