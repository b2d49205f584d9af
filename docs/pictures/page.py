"""Draws page.png beside it: the page of `asl-llamacpp serve`, with the default model and the example document as a PDF.

Needs the extras `server` and `test`, and Chromium. It takes a minute or two.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen
from xml.sax.saxutils import escape

from PIL import Image
from playwright.sync_api import sync_playwright
from reportlab.lib.pagesizes import A5
from reportlab.lib.styles import ParagraphStyle
from reportlab.platypus import Paragraph, SimpleDocTemplate

from asl_llamacpp import EXAMPLE

PICTURE = Path(__file__).with_suffix(".png")
QUESTIONS = ("Which newspaper ran a column in 1992?",)
PORT = 8437
MINUTES = 15
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

BODY = ParagraphStyle("body", fontName="Times-Roman", fontSize=10.5, leading=14.5, spaceAfter=7, alignment=4)
TITLE = ParagraphStyle("title", BODY, fontName="Times-Bold", fontSize=22, leading=27, spaceAfter=12, alignment=0)
HEADING = ParagraphStyle("heading", TITLE, fontSize=14, leading=18, spaceBefore=10, spaceAfter=6)


def typeset(file: Path) -> None:
    """The example document as a PDF."""
    story = []
    for i, block in enumerate(re.split(r"\n\s*\n", EXAMPLE.read_text(encoding="utf-8").strip())):
        text = " ".join(block.split())
        is_heading = not block.startswith(" ") and len(text) < 70 and not text.endswith(".")
        story.append(Paragraph(escape(text), TITLE if i == 0 else HEADING if is_heading else BODY))
    margins = {f"{side}Margin": 48 for side in ("left", "right", "top", "bottom")}
    SimpleDocTemplate(str(file), pagesize=A5, title="Hacker Folklore", **margins).build(story)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a server that keeps its documents in `folder`."""
    threads = os.environ.get("THREADS", str(os.cpu_count() or 1))
    command = [sys.executable, "-m", "asl_llamacpp.cli", "serve", "--threads", threads, "--n-ctx", "8192"]
    server = subprocess.Popen([*command, "--port", str(PORT), "--folder", str(folder)])
    try:
        for _ in range(600):
            try:
                with urlopen(f"http://127.0.0.1:{PORT}/health") as answer:
                    if b'"ok"' in answer.read():
                        break
            except URLError:
                pass
            time.sleep(0.2)
        yield f"http://127.0.0.1:{PORT}/"
    finally:
        server.terminate()
        server.wait()


def draw(url: str, document: Path, picture: Path) -> None:
    """Ask the questions, look at the last answer's first passage, and take a picture."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(MINUTES * 60_000)
        page.goto(url)
        page.wait_for_selector("html[data-ready]")
        page.set_input_files("#file-input", str(document))
        page.wait_for_selector(".page.loaded")
        page.wait_for_selector("#prefill:not(.shown)", state="attached")
        for n, question in enumerate(QUESTIONS):
            page.fill("#question", question)
            page.keyboard.press("Enter")
            page.locator(".turn").nth(n).locator(".actions").wait_for()
        page.locator(".turn").last.locator(".passage").first.click()
        page.wait_for_timeout(1500)
        page.screenshot(path=picture)
        print(page.inner_text("#turns"))
        browser.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        document, picture = folder / "hacker-folklore.pdf", folder / "page.png"
        typeset(document)
        with serving(folder / "kept") as url:
            draw(url, document, picture)
        with Image.open(picture) as image:
            image.convert("RGB").quantize(255, dither=Image.Dither.NONE).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
