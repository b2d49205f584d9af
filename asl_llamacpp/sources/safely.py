"""Reading what could do harm in a process of its own, which may take so much time and memory, and no more.

Plain text is read here: nothing parses it.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from . import errors
from .child_process import ChildProcess
from .content import AS_IS, MIB, plain_text_format, read_bytes
from .errors import UnreadableError
from .reading import PageProgress, Reading
from .source import Source
from .source_frames import unpack

_START_SECONDS = 60.0  # until the process is ready, however busy the machine is
_TICK = 0.1


def read_safely(data: bytes, name: str, reading: Reading = AS_IS) -> Source:
    """As `SafeReader.read`, of one file; may be called by several threads at once."""
    with SafeReader() as reader:
        return reader.read(data, name, reading)


class SafeReader:
    """Reads files one after another, in a process that is started for the first that needs it."""

    def __init__(self) -> None:
        self._child: ChildProcess | None = None

    def __enter__(self) -> SafeReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process. May be called more than once; the next file starts another."""
        child, self._child = self._child, None
        if child is not None:
            child.end()

    def read(self, data: bytes, name: str, reading: Reading = AS_IS) -> Source:
        """The document in a file's bytes.

        Args:
            name: of the file, for messages and evidence; tells what it is where the bytes do not.
            reading: with `seconds`, `memory` and `on_wait`, beside what formats want to know.

        Raises:
            ValueError: it cannot be read: broken, locked, without text, or more than the limits allow.
        """
        if reading.seconds is None or plain_text_format(data, name) is not None:
            return read_bytes(data, name, reading)
        try:
            return self._ask(data, name, reading, reading.seconds)
        except UnreadableError:
            raise
        except BaseException:  # the process is in the middle of it
            self.close()
            raise

    def _ask(self, data: bytes, name: str, reading: Reading, seconds: float) -> Source:
        if self._child is None:
            self._child = ChildProcess()
            self._wait(self._child, name, reading, _START_SECONDS, None)
        child = self._child
        most = child.resident + 2 * len(data) + reading.memory
        request = {"name": name, "password": reading.password, "ocr": reading.ocr}
        child.ask({**request, "seconds": seconds, "memory": reading.memory}, data)
        while True:
            message, raw = self._wait(child, name, reading, seconds, most)
            if message["kind"] == "page":
                if reading.on_page is not None:
                    done, n_pages, by_ocr = message["page"]
                    reading.on_page(PageProgress(name, done, n_pages, by_ocr))
            elif message["kind"] == "source":
                return unpack(message["source"], raw)
            else:
                raise self._error(name, reading, message)

    def _wait(
        self, child: ChildProcess, name: str, reading: Reading, seconds: float, most: int | None
    ) -> tuple[dict[str, Any], bytes]:
        end = time.monotonic() + seconds
        while True:
            got = child.message(_TICK)
            if most is not None and child.resident > most:
                self.close()
                raise _too_much_memory(name, reading)
            if got is not None:
                break
            if reading.on_wait is not None:
                reading.on_wait()
            if time.monotonic() > end:
                self.close()
                raise UnreadableError(
                    f"{name} was not read: {seconds:g} s passed without a page of it. It is damaged, or needs more "
                    f"time: raise read_timeout (--read-timeout)"
                )
        if got[0]["kind"] == "gone":
            how = child.how_it_ended()
            self.close()
            raise UnreadableError(
                f"{name} was not read: the process that read it ended with {how}. It is damaged, or needs more than "
                f"{reading.memory // MIB:,} MiB of memory"
            )
        return got

    def _error(self, name: str, reading: Reading, message: dict[str, Any]) -> Exception:
        kind, text = str(message["type"]), str(message["message"])
        if kind in ("MemoryError", "RecursionError"):
            self.close()  # what it could not free goes with it
            nested = UnreadableError(f"{name} was not read: its parts are nested too deeply")
            return nested if kind == "RecursionError" else _too_much_memory(name, reading)
        known = getattr(errors, kind, None) if kind else None
        if isinstance(known, type) and issubclass(known, UnreadableError):
            return known(text)
        return RuntimeError(f"the reader of {name} failed, which is a mistake in this program:\n{text}")


def _too_much_memory(name: str, reading: Reading) -> UnreadableError:
    return UnreadableError(f"{name} was not read: that takes more than {reading.memory // MIB:,} MiB of memory")
