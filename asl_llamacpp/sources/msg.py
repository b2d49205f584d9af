"""MSG files: mails as Outlook saves them."""

from __future__ import annotations

import io
from typing import Any

from .errors import parsing
from .formats import Format
from .mail_text import Mail, add_mail
from .pieces import Pieces
from .rtf import rtf_text
from .source import Source

_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_PROPERTIES = "__properties_version1.0".encode("utf-16-le")
_COMPRESSED_RTF, _HTML = 0x1009, 0x1013
_TO, _CC = 0x0E04, 0x0E03


def is_msg(data: bytes) -> bool:
    """Whether it is an OLE file with the properties of a mail."""
    return data.startswith(_OLE) and _PROPERTIES in data


def read_msg(data: bytes, name: str) -> Source:
    """A mail: its subject as heading, who wrote when to whom, its text; attachments are named.

    Raises ValueError for a file that is broken.
    """
    from oxmsg import Message

    pieces = Pieces()
    with parsing(name, "an MSG"):
        message = Message.load(io.BytesIO(data))
        add_mail(pieces, _mail(message))
    return pieces.source(name)


def _mail(message: Any) -> Mail:
    properties = message.properties
    sent = message.sent_date
    recipients = [_address(one.name, one.email_address) for one in message.recipients]
    head = [
        ("From", message.sender or ""),
        ("To", properties.str_prop_value(_TO) or "; ".join(recipients)),
        ("Cc", properties.str_prop_value(_CC) or ""),
        ("Date", sent.strftime("%Y-%m-%d %H:%M %Z").strip() if sent else ""),
    ]
    attachments = [one.file_name or "unnamed" for one in message.attachments]
    plain, html = message.body or "", properties.binary_prop_value(_HTML) or message.html_body or ""
    if not plain.strip() and not html:
        plain = _from_rtf(properties.binary_prop_value(_COMPRESSED_RTF))
    return Mail(message.subject or "", head, plain, html, attachments)


def _address(name: str, address: str) -> str:
    return f"{name} <{address}>" if name and address and name != address else name or address


def _from_rtf(compressed: bytes | None) -> str:
    if not compressed:
        return ""
    from compressed_rtf import decompress

    return rtf_text(decompress(compressed).decode("latin-1"))


FORMAT = Format(read_msg, in_bytes=is_msg)
