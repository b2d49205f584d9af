"""The documents that were brought to the server, in a folder: what was uploaded, its text, and what is known of it."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import IO

import portalocker

from ..files.replace_file import replacing
from ..sources import Source
from .errors import NOT_FOUND, APIError, log
from .kept_source import keep_source, kept_source
from .pictures import Pictures
from .reading import Reading, read_upload
from .record import Record, document_id, plain_name

ORIGINAL, RECORD = "original", "record.json"
LOCK = "in-use"
_CACHED_TEXTS = 16


class _NotWanted(Exception):
    """The document was deleted, or the server ends."""


class Library:
    """One folder a document, named by its id; a name that a client gave is only ever data.

    A record is written after what it is about, so what a kill leaves behind is whole, or has no record and is removed
    at the next start. What was not read by then is read anew.

    tokenizer    the hash of the present model's tokenizer, and what counts the tokens of a text, from any thread; None
                 until the model is there
    on_deleted   called with the id of a document that was deleted
    """

    def __init__(self, folder: Path, max_documents: int) -> None:
        self.folder, self.max_documents = folder, max_documents
        self.on_deleted: Callable[[str], object] = lambda _: None
        self._records: dict[str, Record] = {}
        self._lock = threading.RLock()
        self.tokenizer: tuple[str, Callable[[str], int]] | None = None
        self.pictures = Pictures()
        self._closed = False
        self._counting: set[str] = set()
        self._reads: dict[str, Future[None]] = {}
        self._readers = ThreadPoolExecutor(1, "reader")
        self.source = lru_cache(_CACHED_TEXTS)(self._source)
        folder.mkdir(parents=True, exist_ok=True)
        self._held = _hold(folder / LOCK)
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                self._restore(path)

    def close(self) -> None:
        self._closed = True
        self._readers.shutdown(wait=True, cancel_futures=True)
        self.pictures.close()
        self._held.close()

    def _restore(self, path: Path) -> None:
        try:
            record = Record.from_json((path / RECORD).read_bytes())
            if record.id != path.name:
                raise ValueError(f"{path} is the folder of another document")
        except (OSError, ValueError, TypeError):
            shutil.rmtree(path, ignore_errors=True)
            return
        self._records[record.id] = record
        if record.status == "reading":
            self._reads[record.id] = self._readers.submit(self._read, record)

    # ---- documents --------------------------------------------------------------------------------------------------

    def add(self, data: bytes, name: str | None) -> Record:
        """Keep a file, and begin to read it; the document that is there if it was brought before.

        Raises APIError if there are too many, OSError if it cannot be written.
        """
        name = plain_name(name)
        record = Record(document_id(data, name), name, len(data), int(time.time()))
        with self._lock:
            known = self._records.get(record.id)
            if known is not None and known.status != "failed":
                return known
            if len(self._records) >= self.max_documents and known is None:
                message = f"{self.max_documents} documents are kept already: delete some first"
                raise APIError(409, message, code="too_many_documents")
            folder = self.folder / record.id
            folder.mkdir(exist_ok=True)
            try:
                self._write(record.id, ORIGINAL, data)
                self._keep(record)
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            self._records[record.id] = record
            self._reads[record.id] = self._readers.submit(self._read, record)
        return record

    def all(self) -> list[Record]:
        """The newest first."""
        with self._lock:
            return sorted(self._records.values(), key=lambda record: -record.created_at)

    def get(self, document: str) -> Record:
        """APIError if there is none of this id."""
        with self._lock:
            record = self._records.get(document)
        if record is None:
            raise APIError(404, f"no such document: {document!r}", NOT_FOUND, code="document_not_found")
        return record

    def has(self, document: str) -> bool:
        with self._lock:
            return document in self._records

    def delete(self, document: str) -> None:
        """Forget a document with all that was kept of it. APIError if there is none of this id."""
        with self._lock:
            self.get(document)
            del self._records[document]
            self._reads.pop(document, None)
            self.source.cache_clear()
            with suppress(OSError):  # without a record it is none, should the rest remain
                (self.folder / document / RECORD).unlink()
            shutil.rmtree(self.folder / document, ignore_errors=True)
        self.on_deleted(document)

    async def until_read(self, document: str) -> None:
        """Wait until a document is read, well or not. APIError if there is none of this id."""
        self.get(document)
        reading = self._reads.get(document)
        if reading is not None:  # whoever waits may go away, and the others still wait
            await asyncio.shield(asyncio.wrap_future(reading))

    def ready(self, document: str) -> Record:
        """The document once it is read, which is waited for. APIError if it cannot be read."""
        record = self.get(document)
        reading = self._reads.get(document)
        if reading is not None:
            reading.result()
        if record.status == "failed":
            raise APIError(400, f"{record.error}", param="documents", code="document_unreadable")
        return self.get(document)

    def n_tokens(self, record: Record) -> int | None:
        """Tokens of a document for the present model; None: they are not counted yet."""
        if self.tokenizer is None or record.status != "ready":
            return None
        n = record.tokens.get(self.tokenizer[0])
        if n is None and record.id not in self._counting:
            self._counting.add(record.id)
            self._readers.submit(self._recount, record)
        return n

    def _recount(self, record: Record) -> None:
        with suppress(APIError, OSError, ValueError):
            self._count(record, self.source(record.id))
            with self._lock:
                if record.id in self._records:
                    self._keep(record)
        self._counting.discard(record.id)

    def original(self, document: str) -> Path:
        """The file with what was uploaded."""
        return self.folder / self.get(document).id / ORIGINAL

    def _source(self, document: str) -> Source:
        return kept_source(self.folder / self.ready(document).id)

    @property
    def n_bytes(self) -> int:
        """Of all documents, their states not counted."""
        return sum(file.stat().st_size for file in self.folder.glob("*/*") if file.is_file())

    # ---- reading ----------------------------------------------------------------------------------------------------

    def _read(self, record: Record) -> None:
        try:
            original = self.folder / record.id / ORIGINAL
            reading = read_upload(original.read_bytes(), record.name, partial(self._check_wanted, record))
            if reading.format == "pdf":
                record.page_sizes = [[round(w, 2), round(h, 2)] for w, h in self.pictures.sizes(original)]
        except _NotWanted:
            return
        except (ValueError, MemoryError, OSError) as error:
            record.error, record.status = " ".join(str(error).split()) or type(error).__name__, "failed"
        except Exception as error:  # a reader's own mistake: the file cannot be read either
            log.error("%s could not be read", record.id, exc_info=error)
            record.error, record.status = f"{record.name} could not be read: {error!r}", "failed"
        else:
            self._settle(record, reading)
        with self._lock:
            if record.id in self._records:
                self._keep(record)

    def _check_wanted(self, record: Record) -> None:
        if self._closed or not self.has(record.id):
            raise _NotWanted

    def _settle(self, record: Record, reading: Reading) -> None:
        source = reading.source
        record.format, record.n_pages, record.n_characters = reading.format, source.n_pages, len(source.text)
        record.warnings = list(source.warnings)
        with self._lock:
            if record.id in self._records:  # it may have been deleted meanwhile
                keep_source(self.folder / record.id, source)
        self._count(record, source)
        record.status = "ready"

    def _count(self, record: Record, source: Source) -> None:
        if self.tokenizer is not None:
            tokenizer, count = self.tokenizer
            record.tokens[tokenizer] = count(source.text)

    def _keep(self, record: Record) -> None:
        self._write(record.id, RECORD, record.to_json())

    def _write(self, document: str, name: str, data: bytes) -> None:
        with replacing(self.folder / document / name) as file:
            file.write(data)


def _hold(path: Path) -> IO[str]:
    """A file that is locked as long as it is open. OSError if another server has it."""
    file = path.open("w", encoding="utf-8")
    try:
        portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.LockException:
        file.close()
        raise OSError(f"another server uses {path.parent.parent}: end it, or name another --folder") from None
    return file
