"""EML files: mails as they are sent."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast

from .errors import UnreadableError, parsing
from .formats import Format
from .mail_text import Mail, add_mail
from .pieces import Pieces
from .source import Source

_HEAD = ("From", "To", "Cc", "Bcc", "Date", "Reply-To")
_FIELD = re.compile(rb"^(?:From|To|Subject|Date|Received|Return-Path|MIME-Version|Message-ID):", re.I | re.M)
_DEEPEST = 20  # mails within mails


def read_eml(data: bytes, name: str) -> Source:
    """A mail: its subject as heading, who wrote when to whom, its text; mails that are attached too.

    Raises ValueError for what has no head of a mail, or nests too deeply.
    """
    pieces = Pieces()
    with parsing(name, "an EML"):
        head = data.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
        if not _FIELD.search(head):
            raise UnreadableError(f"{name} is no mail: it has no lines such as From: and Date: at its beginning")
        add_mail(pieces, _mail(message_from_bytes(data, policy=policy.default), name))
    return pieces.source(name)


def _mail(message: EmailMessage, name: str, depth: int = 0) -> Mail:
    if depth > _DEEPEST:
        raise UnreadableError(f"{name} was not read: it has more than {_DEEPEST} mails within each other")
    found: dict[str, str] = {}
    attachments: list[str] = []
    forwarded: list[Mail] = []
    for part in _parts(message):
        kind = part.get_content_type()
        if kind == "message/rfc822":
            inner = part.get_payload()
            forwarded += [_mail(cast(EmailMessage, one), name, depth + 1) for one in inner if isinstance(inner, list)]
        elif part.get_content_disposition() != "attachment" and kind in ("text/plain", "text/html"):
            text = _text(part)
            found[kind] = f"{found[kind]}\n\n{text}" if kind in found else text
        elif part.get_content_disposition() == "attachment" or part.get_filename():
            attachments.append(part.get_filename() or kind)
    values = [(title, str(message.get(title, ""))) for title in _HEAD]
    plain, html = found.get("text/plain", ""), found.get("text/html", "")
    return Mail(str(message.get("Subject", "")), values, plain, html, attachments, forwarded)


def _parts(message: EmailMessage) -> list[EmailMessage]:
    """The leaves of a mail, of which one that is attached is one too."""
    leaves: list[EmailMessage] = []
    open_parts = [message]
    while open_parts:
        part = open_parts.pop()
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            open_parts += reversed(cast("list[EmailMessage]", payload))
        else:
            leaves.append(part)
    return leaves


def _text(part: EmailMessage) -> str:
    data = cast(bytes, part.get_payload(decode=True) or b"")
    try:
        return data.decode(part.get_content_charset() or "utf-8")
    except (LookupError, UnicodeDecodeError):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return data.decode("cp1252", "replace")


FORMAT = Format(read_eml, suffixes=frozenset({".eml"}))
