"""Where things stand on the heat map, in a real Chromium."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from asl_llamacpp.documents.evidence import ranked
from asl_llamacpp.documents.heat_map import write_heat_map
from asl_llamacpp.documents.text import Part
from asl_llamacpp.sources import text_source

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture
def heat_map(tmp_path: Path) -> Path:
    text = "".join(f"Item {i} costs {i * 7} euros, and is delivered on the same day. " for i in range(150))
    source = text_source(text, "list")
    offsets = np.arange(0, len(source.text) + 4, 4).clip(max=len(source.text))
    n = len(offsets) - 1
    scores = np.linspace(0, 1, n, dtype=np.float32)
    kept = scores > 0.5
    parts = [Part(source, 0, 0, len(source.text))]
    spans = ranked(kept, scores, offsets, np.arange(0, n, 16, dtype=np.int32), parts).spans
    path = tmp_path / "map.html"
    write_heat_map(
        path, title="list", question="What does it cost?", answer="Seven.", parts=parts, kept=kept, scores=scores,
        offsets=offsets, spans=spans,
    )  # fmt: skip
    return path


def stands_where_it_should(heat_map: Path, program: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--headless", "--no-sandbox"])
        page = browser.new_page()
        for width, beside in ((1600, True), (1200, True), (800, False), (360, False)):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(heat_map.as_uri())
            document, passages = page.locator("main").bounding_box(), page.locator("section").bounding_box()
            assert document and passages
            assert (document["x"] + document["width"] <= passages["x"]) is beside
            if beside:
                assert passages["height"] <= 900  # it scrolls by itself, and stays in sight
                assert abs(document["y"] - passages["y"]) < 2 and document["width"] > 600
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()


@pytest.mark.slow
def test_the_document_is_beside_the_list_where_there_is_room(heat_map: Path) -> None:
    pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium")
    with ThreadPoolExecutor(1) as alone:  # the browser of other tests keeps an event loop in this thread
        alone.submit(stands_where_it_should, heat_map, program).result()
