"""Mails: EML and MSG."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP

import compressed_rtf
import pytest
from office_files import msg_bytes

from asl_llamacpp.sources.content import read_bytes


def mail(subject: str = "Größe", text: str | None = "Hello,\nyou there", charset: str = "utf-8") -> EmailMessage:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, "Jürgen <j@example.org>", "a@b.example, c@d.example"
    message["Date"] = "Thu, 29 Feb 2024 13:05:00 +0100"
    if text is not None:
        message.set_content(text, charset=charset)
    return message


HEAD = "From: Jürgen <j@example.org>\nTo: a@b.example, c@d.example\nDate: Thu, 29 Feb 2024 13:05:00 +0100"


def text_of(message: EmailMessage) -> str:
    return read_bytes(message.as_bytes(policy=SMTP), "a.eml").text


def test_head_and_text() -> None:
    source = read_bytes(mail().as_bytes(), "a.eml")
    assert source.text == f"# Größe\n\n{HEAD}\n\nHello,\nyou there"
    assert source.marks[0].section == "Größe"
    assert text_of(mail("日本語の件名", "本文です", "iso-2022-jp")) == f"# 日本語の件名\n\n{HEAD}\n\n本文です"
    assert text_of(mail("Тема", "Письмо", "koi8-r")).endswith("# Тема\n\n" + HEAD + "\n\nПисьмо")  # noqa: RUF001


def test_html_is_read_where_there_is_no_plain_text() -> None:
    message = mail(text=None)
    message.set_content("<h2>Order</h2><p>A <b>bolt</b>", subtype="html")
    assert text_of(message) == f"# Größe\n\n{HEAD}\n\n## Order\n\nA bolt"
    both = mail()
    both.add_alternative("<p>other", subtype="html")
    assert text_of(both) == f"# Größe\n\n{HEAD}\n\nHello,\nyou there"


def test_attachments_are_named_and_mails_within_are_read() -> None:
    message = mail()
    message.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="Räume.pdf")
    message.add_attachment(mail("inner", "inner text"))
    source = read_bytes(message.as_bytes(policy=SMTP), "a.eml")
    assert source.text == (
        f"# Größe\n\n{HEAD}\n\nHello,\nyou there\n\nAttachments: Räume.pdf\n\n## inner\n\n{HEAD}\n\ninner text"
    )
    assert len(source.warnings) == 1 and "Räume.pdf" in source.warnings[0]


def test_wrong_charsets_are_mended() -> None:
    raw = b"From: a@b\r\nContent-Type: text/plain; charset=no-such\r\n\r\nL\xc3\xb6ffel"
    assert read_bytes(raw, "a.eml").text.endswith("Löffel")
    assert read_bytes(raw.replace(b"\xc3\xb6", b"\xf6"), "a.eml").text.endswith("Löffel")


def test_what_is_no_mail() -> None:
    with pytest.raises(ValueError, match=r"a\.eml is no mail"):
        read_bytes(b"just text", "a.eml")
    message = mail(text="x")
    for _ in range(25):
        outer = mail()
        outer.add_attachment(message)
        message = outer
    with pytest.raises(ValueError, match=r"a\.eml was not read: it has more than 20 mails"):
        text_of(message)


SUBJECT, BODY, SENDER, TO, HTML, RTF = 0x0037, 0x1000, 0x0C1A, 0x0E04, 0x1013, 0x1009


def test_msg() -> None:
    source = read_bytes(msg_bytes({SUBJECT: "Größe", BODY: "Hello\r\nyou", TO: "Ann"}, ["plan.pdf"]), "a.msg")
    assert source.text == "# Größe\n\nTo: Ann\n\nHello\nyou\n\nAttachments: plan.pdf"
    assert len(source.warnings) == 1 and "plan.pdf" in source.warnings[0]
    assert read_bytes(msg_bytes({SUBJECT: "s", HTML: b"<p>A <b>bolt</b>"}), "a.msg").text == "# s\n\nA bolt"


def test_a_msg_with_rtf_alone() -> None:
    rtf = compressed_rtf.compress(rb"{\rtf1\ansi Gr\'fc\'dfe}", compressed=True)
    assert read_bytes(msg_bytes({SUBJECT: "s", RTF: rtf}), "a.msg").text == "# s\n\nGrüße"


def test_a_broken_msg() -> None:
    data = msg_bytes({SUBJECT: "s", BODY: "text"})
    with pytest.raises(ValueError, match=r"a\.msg"):
        read_bytes(data[: len(data) // 2], "a.msg")
