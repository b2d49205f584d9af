"""PDF: languages, scripts, fonts, fields, comments, passwords."""

from __future__ import annotations

import io
from typing import Any

from made_pdfs import both, lines, made_pdf
from pypdf import PdfWriter
from pypdf.annotations import FreeText, Text
from pypdf.generic import NameObject
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont

from .case import Case

ENGLISH = ("The auditors objected to the missing receipts of June.", "The office moves to Bern in 2031.")
GERMAN = ("Der Käufer trägt die Überführungskosten in Höhe von 1.250,50 €.", "Das Maß: 12 m², Größe übersteigt 5‰.")
FRENCH = ("L’été dernier, le garçon a reçu un cœur d’or à Noël.", "Coût : 3 000 € — « réglé ».")
RUSSIAN = ("Договор вступает в силу с 1 января 2031 года.", "Стороны согласовали цену.")
GREEK = ("Η σύμβαση λήγει στις 31 Δεκεμβρίου.", "Το τίμημα είναι 1.000 ευρώ.")
POLISH = ("Zażółć gęślą jaźń, a umowa trwa dalej.", "Łączna kwota: 99 zł.")
TURKISH = ("İstanbul'da ışık söndü, çağrı geldi.", "Ücret yüzde 15 arttı.")


def page(texts: tuple[str, ...]) -> bytes:
    return made_pdf(lines(*texts, pitch=30))


def simple(name: str, texts: tuple[str, ...]) -> Case:
    return Case(name, lambda: page(texts), "\n".join(texts), ("\n".join(texts),))


def chinese() -> bytes:
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))

    def paint(canvas: Any) -> None:
        canvas.setFont("STSong-Light", 12)
        canvas.drawString(60, 700, "合同自二〇三一年一月一日起生效。")
        canvas.drawString(60, 670, "总价为五百元。")

    return made_pdf(paint)


def visual(*parts: str) -> str:
    """A line with Hebrew or Arabic as it stands on paper, from the left: parts that run right to left are turned."""
    return "".join(part[::-1] if any("\u0590" <= char <= "\u07ff" for char in part) else part for part in parts)


def hebrew() -> bytes:
    return made_pdf(
        lines(
            visual(".", "לקוח", " ", "כל", " ", "עבור", " 1,250 ", "הוא", " ", "המחיר"),
            visual("2031 ", "בשנת", " ", "החוזה"),
        )
    )


def arabic() -> bytes:
    return made_pdf(lines(visual("2031 ", "سنة", " 500 ", "الثمن"), visual("العقد", " ", "نهاية")))


def mixed() -> bytes:
    return made_pdf(lines(visual("The word ", "שלום עולם", " means hello, world.")))


def subset_without_map() -> bytes:
    writer, file = PdfWriter(clone_from=io.BytesIO(page(RUSSIAN))), io.BytesIO()
    for font in writer.pages[0]["/Resources"]["/Font"].values():  # type: ignore[index]
        font.get_object().pop(NameObject("/ToUnicode"), None)
    writer.add_page(PdfWriter(clone_from=io.BytesIO(page(ENGLISH))).pages[0])
    writer.write(file)
    return file.getvalue()


def form() -> bytes:
    def paint(canvas: Any) -> None:
        fields = canvas.acroForm
        canvas.drawString(60, 704, "Surname:")
        fields.textfield(name="s", value="Zimmermann", x=160, y=700, width=200, height=18)
        canvas.drawString(60, 674, "Country:")
        fields.choice(name="c", value="Peru", options=["Chad", "Peru"], x=160, y=670, width=200, height=18)
        canvas.drawString(90, 644, "wants the newsletter")
        fields.checkbox(name="n", checked=True, x=60, y=640, size=16)
        canvas.drawString(90, 614, "is a member")
        fields.checkbox(name="m", checked=False, x=60, y=610, size=16)

    return made_pdf(paint)


def comments() -> bytes:
    writer, file = PdfWriter(clone_from=io.BytesIO(page(ENGLISH))), io.BytesIO()
    writer.add_annotation(0, Text(rect=(300, 730, 320, 750), text="Ask Anna whether this is true", title_bar="Tom"))
    writer.add_annotation(0, FreeText(text="approved", rect=(60, 500, 200, 520)))
    writer.write(file)
    return file.getvalue()


def locked(algorithm: str) -> bytes:
    writer, file = PdfWriter(clone_from=io.BytesIO(page(ENGLISH))), io.BytesIO()
    writer.encrypt("", "owner", algorithm=algorithm)
    writer.write(file)
    return file.getvalue()


def turned() -> bytes:
    writer, file = PdfWriter(clone_from=io.BytesIO(page(ENGLISH))), io.BytesIO()
    writer.pages[0].rotate(90)
    writer.write(file)
    return file.getvalue()


def landscape_table() -> bytes:
    """Text that runs up the page."""

    def paint(canvas: Any) -> None:
        canvas.rotate(90)
        canvas.drawString(100, -100, ENGLISH[0])
        canvas.drawString(100, -130, ENGLISH[1])

    return made_pdf(paint)


def ligatures() -> bytes:
    return made_pdf(lines("The o\ufb03ce \ufb01led a \ufb02at and e\ufb00ective claim."))


def superscripts() -> bytes:
    def paint(canvas: Any) -> None:
        canvas.drawString(60, 700, "It weighs 10")
        width = canvas.stringWidth("It weighs 10", "DejaVu", 12)
        canvas.setFont("DejaVu", 7)
        canvas.drawString(60 + width, 705, "6")
        canvas.setFont("DejaVu", 12)
        canvas.drawString(60 + width + 5, 700, " tons in all.")

    return made_pdf(paint)


def scattered() -> bytes:
    """Each word painted by itself, from the last to the first."""

    def paint(canvas: Any) -> None:
        for number, text in enumerate(ENGLISH):
            words = text.split(" ")
            for k in reversed(range(len(words))):
                before = "".join(word + " " for word in words[:k])
                canvas.drawString(60 + canvas.stringWidth(before, "DejaVu", 12), 700 - 30 * number, words[k])

    return made_pdf(paint)


def spaced_out() -> bytes:
    def paint(canvas: Any) -> None:
        canvas.drawString(60, 700, "GENERAL TERMS", charSpace=4)
        canvas.drawString(60, 670, ENGLISH[0])

    return made_pdf(paint)


def scanned_between() -> bytes:
    return made_pdf(lines("one"), lambda canvas: canvas.rect(10, 10, 50, 50, fill=1), lines("three"))


TEXT = "\n".join(ENGLISH)
PDF = (
    simple("english.pdf", ENGLISH),
    simple("german.pdf", GERMAN),
    simple("french.pdf", FRENCH),
    simple("russian.pdf", RUSSIAN),
    simple("greek.pdf", GREEK),
    simple("polish.pdf", POLISH),
    simple("turkish.pdf", TURKISH),
    Case("chinese.pdf", chinese, "合同自二〇三一年一月一日起生效。 总价为五百元。"),
    Case("hebrew.pdf", hebrew, "המחיר הוא 1,250 עבור כל לקוח. החוזה בשנת 2031"),
    Case("arabic.pdf", arabic, "الثمن 500 سنة 2031 نهاية العقد"),
    Case("hebrew-in-english.pdf", mixed, "The word שלום עולם means hello, world."),
    Case("no-unicode-map.pdf", subset_without_map, TEXT, ("", TEXT), absent=("\x01", "\x02", "\ufffd")),
    Case(
        "form.pdf",
        form,
        "Surname: Zimmermann Country: Peru [x] wants the newsletter [ ] is a member",
    ),
    Case("comments.pdf", comments, f"{TEXT} approved Comment (Tom): Ask Anna whether this is true"),
    Case("aes-256.pdf", lambda: locked("AES-256"), TEXT, (TEXT,)),
    Case("rc4.pdf", lambda: locked("RC4-128"), TEXT, (TEXT,)),
    Case("turned-page.pdf", turned, TEXT, (TEXT,)),
    Case("text-up-the-page.pdf", landscape_table, TEXT, (TEXT,)),
    Case("ligatures.pdf", ligatures, "The office filed a flat and effective claim."),
    Case("superscript.pdf", superscripts, "It weighs 10^6 tons in all."),
    Case("scattered-words.pdf", scattered, TEXT),
    Case("letters-apart.pdf", spaced_out, f"GENERAL TERMS {ENGLISH[0]}"),
    Case("drawing-between.pdf", scanned_between, "one three", ("one", "", "three")),
    Case("two-painters.pdf", lambda: made_pdf(both(lines("one"), lines("two", y=700))), "one two", ("one two",)),
)
