"""The pages: every link leads somewhere, and the README keeps to what one reads in five minutes."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pages
import pytest
from places import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
LONGEST_README = 120


def problem(page: Path, target: str) -> str | None:
    """What is wrong with a link of `page`; None: nothing, or it leads out of the project."""
    parts = urlsplit(target)
    if parts.scheme:
        return None if parts.scheme == "https" and parts.netloc else f"{target}: use https"
    file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not file.is_relative_to(ROOT) or not file.exists():
        return f"{target}: there is no such file"
    if parts.fragment and (file.suffix != ".md" or parts.fragment not in pages.anchors(file)):
        return f"{target}: {file.name} has no such heading"
    return None


@pytest.mark.parametrize("page", pages.pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of(page: Path) -> None:
    assert not [found for target in pages.links(page) if (found := problem(page, target))]


def test_a_wrong_link_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading, or `two`\n[a](#a-heading-or-two) [b](#another) [![c](none.png)](page.md) [d](http://x.org)\n"
        "```\n[e](none)\n```\n[f](https://arxiv.org/abs/1) `[g](none)`\n"
    )
    assert pages.links(page) == [
        "#a-heading-or-two",
        "#another",
        "page.md",
        "http://x.org",
        "https://arxiv.org/abs/1",
        "none.png",
    ]
    found = [problem(page, target) for target in pages.links(page)]
    assert found[0] is None and found[2] is None and found[4] is None
    assert "no such heading" in found[1] and "use https" in found[3] and "no such file" in found[5]


def test_the_readme_is_short() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_README
    assert max(map(len, lines)) <= 200


def test_the_readme_leads_to_every_page() -> None:
    linked = {(README.parent / unquote(urlsplit(target).path)).resolve() for target in pages.links(README)}
    assert set(DOCS.glob("*.md")) <= linked
