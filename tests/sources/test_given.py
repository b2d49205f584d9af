"""What can be given to be read: paths, folders, patterns, bytes, open files."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from pdf_files import pdf_bytes

from asl_llamacpp.documents.text import DocumentText, title
from asl_llamacpp.sources import Reading, folders
from asl_llamacpp.sources.gathering import read_all

HERE = Reading(seconds=None)


def texts(*inputs: Any, name: str | None = None) -> list[tuple[str, str]]:
    return [(source.name, source.text) for source in read_all(inputs, HERE, name).sources]


def test_bytes_and_open_files(tmp_path: Path) -> None:
    pdf = pdf_bytes(["A page"])
    assert texts(pdf) == [("document", "A page")]
    assert texts(bytearray(pdf), name="x.pdf") == [("x.pdf", "A page")]
    assert texts(memoryview(b"# One\n"), name="x.md") == [("x.md", "# One\n")]
    assert texts(io.BytesIO(pdf), ("b.txt", b"two"), ("c.txt", io.BytesIO(b"three"))) == [
        ("document", "A page"),
        ("b.txt", "two"),
        ("c.txt", "three"),
    ]
    path = tmp_path / "a.txt"
    path.write_text("Löffel", encoding="utf-8")
    with path.open("rb") as binary, path.open(encoding="utf-8") as text:
        assert texts(binary, text) == [("a.txt", "Löffel")] * 2


def test_an_open_file_is_read_from_where_it_is() -> None:
    file = io.BytesIO(b"head\nbody")
    file.readline()
    assert texts(file) == [("document", "body")]


def test_lists_of_files(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    a, b = tmp_path / "a.txt", str(tmp_path / "b.txt")
    assert (
        texts([a, b]) == texts(a, b) == texts((a, b)) == texts((b, a))[::-1] == [("a.txt", "a.txt"), ("b.txt", "b.txt")]
    )


@pytest.mark.parametrize("nothing", [3, None, {"a": b""}, ("name", 3)])
def test_what_is_nothing_to_read(nothing: Any) -> None:
    with pytest.raises(TypeError, match="nothing to read: name files"):
        texts(nothing)


def folder(tmp_path: Path) -> Path:
    root = tmp_path / "contracts"
    for name, data in {
        "10.txt": b"ten",
        "2.txt": b"two",
        "B.pdf": pdf_bytes(["A page"]),
        "a/z.md": b"# Z\n",
        "photo.jpg": b"\xff\xd8\xff\0\0",
        "broken.pdf": b"%PDF-1.4\nbroken",
        "empty.txt": b"",
        ".DS_Store": b"\0",
        ".git/config": b"text",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def test_a_folder_is_read_in_the_order_of_its_paths_and_what_is_left_out_is_named(tmp_path: Path) -> None:
    gathered = read_all([folder(tmp_path)], HERE)
    names = [source.name for source in gathered.sources]
    assert names == [f"contracts/{name}" for name in ("2.txt", "10.txt", "a/z.md", "B.pdf")]
    hidden, *broken = gathered.left_out
    assert hidden.endswith("contracts: contracts/.DS_Store, contracts/.git")
    assert [sentence.split()[2] for sentence in broken] == [
        "contracts/broken.pdf",
        "contracts/empty.txt",
        "contracts/photo.jpg",
    ]
    content = DocumentText.of(gathered.sources, gathered.left_out)
    assert content.warnings == tuple(gathered.left_out)
    assert [part.source.name for part in content.parts] == names
    assert title(gathered.sources) == "contracts/2.txt, contracts/10.txt, contracts/a/z.md, contracts/B.pdf"
    assert title([*gathered.sources, gathered.sources[0]]).endswith("contracts/a/z.md, 2 more")


def test_a_file_that_is_named_alone_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"broken\.pdf cannot be read as a PDF"):
        read_all([folder(tmp_path) / "broken.pdf"], HERE)


def test_folders_without_anything_to_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(FileNotFoundError, match="no file to read in"):
        read_all([tmp_path], HERE)
    (tmp_path / "a" / "x.jpg").write_bytes(b"\xff\xd8\0")
    with pytest.raises(ValueError, match=r"nothing of it can be read: .*x\.jpg"):
        read_all([tmp_path], HERE)


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "MOST", 3)
    with pytest.raises(ValueError, match="has 7 files, and at most 3"):
        read_all([folder(tmp_path)], HERE)


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links here")
def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "loop").symlink_to(root)
    (root / "other.txt").symlink_to(root / "2.txt")
    gathered = read_all([root], HERE)
    assert len(gathered.sources) == 5
    assert "contracts/loop" in gathered.left_out[0]


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path)
    monkeypatch.chdir(root)
    assert texts("*.txt") == [("2.txt", "two"), ("10.txt", "ten")]
    assert [name for name, _ in texts(str(root / "**/*.md"))] == ["z.md"]
    assert [name for name, _ in texts("**/*.[mt]*")] == ["2.txt", "10.txt", "a/z.md"]
    with pytest.raises(FileNotFoundError, match=r"no file matches \*\.docx"):
        texts("*.docx")
    (root / "[1].txt").write_text("brackets")
    assert texts("[1].txt") == [("[1].txt", "brackets")]


def test_a_path_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("home")
    assert texts("~/a.txt") == [("a.txt", "home")]
