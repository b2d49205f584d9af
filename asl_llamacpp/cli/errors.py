"""How commands end: bad input is one line on stderr and exit code 2, without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn expected exceptions into a line on stderr and an exit code; mistakes in the program stay visible."""
    try:
        yield
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
    except BrokenPipeError:
        raise typer.Exit(FAILED) from None  # whoever read stdout has what it wanted
    except (OSError, ValueError, ImportError) as error:
        _end(f"error: {error}", BAD_INPUT)
    except (MemoryError, RuntimeError) as error:
        _end(f"error: {str(error) or type(error).__name__}", FAILED)


def _end(message: str, code: int) -> None:
    typer.echo(" ".join(message.split()), err=True)
    raise typer.Exit(code) from None
