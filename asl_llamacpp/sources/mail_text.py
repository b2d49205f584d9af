"""Mails, of whatever format: their head, text and attachments as a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .html import decode_html
from .markup import parse_html, render
from .pieces import Pieces


@dataclass(frozen=True)
class Mail:
    """subject      one line
    head         names and values, such as From, To, Date; empty ones are not shown
    plain, html  the text, in either form or both
    attachments  names of files; what they say is not read
    forwarded    mails within it
    """

    subject: str
    head: list[tuple[str, str]]
    plain: str
    html: str | bytes
    attachments: list[str] = field(default_factory=list)
    forwarded: Sequence[Mail] = ()


def add_mail(pieces: Pieces, mail: Mail, level: int = 1) -> None:
    """The subject is a section. Of a text in both forms the plain one is read, unless it is empty."""
    pieces.heading(mail.subject or "(no subject)", min(level, 6))
    pieces.text("\n".join(f"{name}: {' '.join(value.split())}" for name, value in mail.head if value.strip()))
    if mail.plain.strip():
        pieces.text(mail.plain.replace("\r\n", "\n").replace("\r", "\n"))
    elif mail.html:
        page = render(parse_html(mail.html if isinstance(mail.html, str) else decode_html(mail.html)))
        pieces.part(page.text, page.headings)
        pieces.warnings += page.warnings
    if mail.attachments:
        pieces.text(f"Attachments: {', '.join(mail.attachments)}")
        pieces.warnings.append(
            f"attachments were not read: {', '.join(mail.attachments)}. Save them, and read them with the mail"
        )
    for one in mail.forwarded:
        add_mail(pieces, one, level + 1)
