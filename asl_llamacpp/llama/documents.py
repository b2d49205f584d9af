"""`Llama.read` and what else there is to do with documents."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import llama_cpp

from ..documents.document import Document
from ..documents.read_shelf import ReadShelf
from ..documents.shelf import Overflow, Shelf
from ..sources import PageProgress, Reading
from ..sources.given import Readable
from ..sources.reading import SECONDS
from ..store.entry import KnownDocument


class DocumentCalls(llama_cpp.Llama):
    """The part of `Llama` that reads documents, opens saved ones and tells which are known."""

    def read(
        self,
        *files: Readable | Sequence[Readable],
        text: str | None = None,
        name: str | None = None,
        overflow: Overflow = "error",
        password: str | None = None,
        on_page: Callable[[PageProgress], None] | None = None,
        read_timeout: float | None = SECONDS,
        allow_private: bool = False,
        system: str = "",
    ) -> Document:
        """A document to ask questions of, made of files, of `text`, or of both, one after another.

        Args:
            files: paths, folders, patterns ("contracts/*.pdf"), URLs, "-" for standard input, bytes, open files, or
                (name, bytes or open file), and lists of these. What a file is shows in its bytes. Of a folder or a
                pattern, in the order of their paths, what cannot be read is left out, and named in the document's
                `warnings`.
            text: more text, which comes last.
            name: what to call `text`, or bytes and open files that have no name.
            overflow: what to do about a question when the document does not fit `n_ctx`. "error": refuse it, with the
                numbers; "sections": ask each section, and answer from the evidence of all.
            password: what opens files that are locked.
            system: a system prompt for all questions: it stands before the document, whose state belongs to it.
            on_page: is called after each page of a file that has pages; what it raises ends the reading.
            read_timeout: seconds that may pass without a page, a chapter or a sheet being read. Files that are no
                plain text are read in a process of their own, which may also take 1 GiB of memory beside the file.
                None: in this process, without limits.
            allow_private: whether URLs may lead to this machine and its network.

        Nothing is evaluated yet.

        Raises:
            ValueError: there is nothing to read, or a file is empty, cannot be read as text, or exceeds the limits.
            OSError: a file is not there, or may not be read; a URL does not answer, or leads to a private address.
            TypeError: something that cannot be read from.
        """
        reading = Reading(password, on_page, seconds=read_timeout, allow_private=allow_private)
        return self.shelf.read(files, text, name, overflow, reading, system)

    def open_document(self, path: str | os.PathLike[str]) -> Document:
        """A document as `Document.save` wrote it: it costs reading the file, not a prefill.

        Raises:
            DocumentFileError: the file is damaged, or no such file, or of a newer version (a ValueError).
            DocumentMismatchError: it was saved with another model, tokenizer, context setting or build (also one).
            OSError: it is not there, or may not be read.
        """
        return self.shelf.open(path)

    @property
    def shelf(self) -> Shelf:
        """What documents ask of this object; made anew each time, since it must not keep it alive."""
        whole: Any = self  # the `Llama` that this is a part of
        return Shelf(whole) if whole.reader is None else ReadShelf(whole, whole.reader)

    @property
    def documents(self) -> list[KnownDocument]:
        """The documents whose beginning a prompt may have, the one used last first: see `document_min`."""
        return self.shelf.known()
