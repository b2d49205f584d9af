"""Plain text and Markdown: offsets are those in the file, headings and form feeds are found."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asl_llamacpp.sources import Source, read_source, text_source


def sections(source: Source) -> list[tuple[str, str | None]]:
    """The heading of each mark, with the line that it begins at."""
    lines = [source.text[mark.start :].split("\n")[0] for mark in source.marks]
    return [(line, mark.section) for line, mark in zip(lines, source.marks, strict=True)]


def markdown(tmp_path: Path, text: str, name: str = "a.md") -> Source:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return read_source(path)


PIECES = st.sampled_from(
    ["\n", "\r", "\r\n", "\f", " ", "# ", "##", "---", "===", "```", "~~~", "x", "é", "😀", "\x85"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES), mark=st.sampled_from([b"", b"\xef\xbb\xbf"]))
def test_offsets_are_those_in_the_file(tmp_path: Path, pieces: list[str], mark: bytes) -> None:
    path = tmp_path / "a.md"
    path.write_bytes(mark + "".join(["x", *pieces]).encode())
    source = read_source(path)
    with open(path, encoding="utf-8-sig") as file:
        assert source.text == file.read()
    starts = [m.start for m in source.marks]
    assert starts == sorted(set(starts))
    assert not starts or (starts[0] == 0 and starts[-1] < len(source.text))
    found = sections(source)
    for (_, before), (line, section) in pairwise(found):
        assert section == before or (section is not None and section in line)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# One\ntext\n### Two ###\n", [("# One", "One"), ("### Two ###", "Two")]),
        ("One\n===\n\nTwo\n---\ntext", [("One", "One"), ("Two", "Two")]),
        ("   # indented\n", [("   # indented", "indented")]),
        ("# a # b#\n", [("# a # b#", "a # b#")]),
        ("```\n# no\n```\n# yes\n", [("```", None), ("# yes", "yes")]),
        ("~~~py\n```\n# no\n~~~~\n# yes\n", [("~~~py", None), ("# yes", "yes")]),
        ("````\n```\n# no\n````\n# yes\n", [("````", None), ("# yes", "yes")]),
        ("```\n# no, the fence stays open\n", []),
        ("``` inline ``` code\n# yes\n", [("``` inline ``` code", None), ("# yes", "yes")]),
        ("    # code\n#hashtag\n#\n## ##\n####### seven\n", []),
        ("one line\nanother\n---\n", []),  # what stands above a rule, rather than a title
        ("- item\n---\n\n| a |\n---\n\n> quote\n===\n\n---\n---\n", []),
        ("---\ntitle: front matter\n---\n", []),
        ("text\fOne\n===\n\nTwo\f---\n", [("text\fOne", None), ("One", "One"), ("---", "One")]),
        ("# One\r\n\r\ntext\r\nTwo\r\n", [("# One", "One")]),
    ],
)
def test_headings_of_markdown(tmp_path: Path, text: str, found: list[tuple[str, str | None]]) -> None:
    assert sections(markdown(tmp_path, text)) == found


def test_hashes_in_text_and_in_code(tmp_path: Path) -> None:
    assert sections(markdown(tmp_path, "# One\n\ntext\n", "a.txt")) == [("# One", "One")]
    assert sections(markdown(tmp_path, "Title\n=====\n\ntext\n## Two", "README")) == [
        ("Title", "Title"),
        ("## Two", "Two"),
    ]
    assert markdown(tmp_path, "# a comment\nx = 1\n", "settings.txt").marks == ()
    for name in ("script.py", "script.sh", "settings.yaml"):
        assert markdown(tmp_path, "# One\n\ntext\n", name).marks == ()


def test_windows_line_ends_of_a_text_at_hand_stay() -> None:
    source = text_source("\r\n# One\r\n\r\ntext", "note")
    assert (source.name, source.text) == ("note", "\r\n# One\r\n\r\ntext")
    assert [(mark.start, mark.section) for mark in source.marks] == [(0, None), (2, "One")]


def test_form_feeds_divide_pages(tmp_path: Path) -> None:
    source = markdown(tmp_path, "one\n\f\n# Two\n\nstill two\f# Three\n\nend\n\f\n", "a.txt")
    assert source.n_pages == 3
    places = [source.place(source.text.index(word)) for word in ("one", "\n# Two", "# Two", "still", "# Three", "end")]
    assert places == [(1, None), (2, None), (2, "Two"), (2, "Two"), (3, "Three"), (3, "Three")]
    assert markdown(tmp_path, "only one\n\f", "a.txt").marks == ()
