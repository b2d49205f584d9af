"""Fetching and patching: the source is the pinned one, patched exactly, rewritten only where it changed."""

from __future__ import annotations

import difflib
import hashlib
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import ROOT

sys.path.insert(0, str(ROOT / "vendor"))

import apply_patch
import fetch

GRAPH = "one\ntwo\nthree\nfour\nfive\nsix\n"
EDIT = """\
From: someone
Subject: [PATCH] turn three into 3

---
 src/graph.cpp | 2 +-

diff --git a/src/graph.cpp b/src/graph.cpp
--- a/src/graph.cpp
+++ b/src/graph.cpp
@@ -2,3 +2,3 @@ context
 two
-three
+3
 four
--
2.39.5
"""


class Release:
    """A small stand-in for the pinned release, its pin and a patch folder."""

    def __init__(self, folder: Path) -> None:
        self.sdist = folder / "pack-1.0.tar.gz"
        self.pin = folder / "pin.toml"
        self.patches = folder / "patches"
        self.to = folder / "out" / "source"
        self.patches.mkdir()
        files = {
            "src/graph.cpp": GRAPH,
            "src/other.cpp": "other\n",
            "LICENSE": "MIT\n",
            "docs/x": "no\n",
        }
        with tarfile.open(self.sdist, "w:gz") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(f"pack-1.0/vendor/engine/{name}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        self.write_pin(hashlib.sha256(self.sdist.read_bytes()).hexdigest())

    def write_pin(self, sha256: str, wanted: str = '"LICENSE", "src"') -> None:
        self.pin.write_text(
            f'package = "pack"\nversion = "1.0"\nsdist = "pack-1.0.tar.gz"\nsha256 = "{sha256}"\n'
            f'folder = "vendor/engine"\nwanted = [{wanted}]\n'
        )

    def fetch(self, *arguments: str, sdist: str | None = "") -> subprocess.CompletedProcess[str]:
        """Run the script; `sdist` is the offline variable's value, "" for this release, None for unset."""
        environment = {key: value for key, value in os.environ.items() if key != "ASL_LLAMA_CPP_SDIST"}
        if sdist is not None:
            environment["ASL_LLAMA_CPP_SDIST"] = sdist or str(self.sdist)
        else:
            environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.patches)}
        script = [sys.executable, str(ROOT / "vendor" / "fetch.py"), "--pin", str(self.pin)]
        script += ["--patches", str(self.patches), "--to", str(self.to), *arguments]
        return subprocess.run(script, env=environment, capture_output=True, text=True, check=False)

    def refusal(self, *arguments: str, sdist: str | None = "") -> str:
        """The one line with which the script gives up."""
        result = self.fetch(*arguments, sdist=sdist)
        assert result.returncode == 1
        assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
        return result.stderr

    def written(self) -> dict[str, int]:
        """Path -> time of last change, for every file made."""
        files = (path for path in self.to.rglob("*") if path.is_file())
        return {path.relative_to(self.to).as_posix(): path.stat().st_mtime_ns for path in files}


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path)


def test_offline_release_is_unpacked_and_patched(release: Release) -> None:
    (release.patches / "0001-three.patch").write_text(EDIT)
    assert release.fetch().returncode == 0
    assert (release.to / "src/graph.cpp").read_text() == GRAPH.replace("three", "3")
    assert set(release.written()) == {"LICENSE", "src/graph.cpp", "src/other.cpp", ".fetched"}


def test_no_patch_gives_the_source_as_released(release: Release) -> None:
    (release.patches / "0001-three.patch").write_text(EDIT)
    assert release.fetch("--no-patch").returncode == 0
    assert (release.to / "src/graph.cpp").read_text() == GRAPH


def test_patches_apply_in_name_order(release: Release) -> None:
    (release.patches / "0002-later.patch").write_text(EDIT.replace("-three", "-3").replace("+3\n", "+III\n"))
    (release.patches / "0001-first.patch").write_text(EDIT)
    assert release.fetch().returncode == 0
    assert (release.to / "src/graph.cpp").read_text() == GRAPH.replace("three", "III")


def test_second_run_writes_nothing_and_needs_no_release(release: Release) -> None:
    (release.patches / "0001-three.patch").write_text(EDIT)
    release.fetch()
    before = release.written()
    release.sdist.unlink()
    assert release.fetch().returncode == 0
    assert release.written() == before


def test_changed_patch_rewrites_only_its_file(release: Release) -> None:
    (release.patches / "0001-three.patch").write_text(EDIT)
    release.fetch()
    before = release.written()
    (release.patches / "0001-three.patch").write_text(EDIT.replace("+3\n", "+III\n"))
    assert release.fetch().returncode == 0
    changed = {name for name, time in release.written().items() if before[name] != time}
    assert changed == {"src/graph.cpp", ".fetched"}


def test_removed_patch_takes_its_files_along(release: Release) -> None:
    patch = release.patches / "0001-new.patch"
    patch.write_text("--- /dev/null\n+++ b/src/new.cpp\n@@ -0,0 +1 @@\n+new\n")
    release.fetch()
    assert (release.to / "src/new.cpp").read_text() == "new\n"
    patch.unlink()
    assert release.fetch().returncode == 0
    assert not (release.to / "src/new.cpp").exists()


def test_wrong_checksum_names_both(release: Release) -> None:
    found = hashlib.sha256(release.sdist.read_bytes()).hexdigest()
    release.write_pin("0" * 64)
    message = release.refusal()
    assert "wrong checksum" in message and found in message and "0" * 64 in message
    assert not release.to.exists()


def test_missing_release_file_names_the_variable(release: Release) -> None:
    message = release.refusal(sdist="/nowhere/pack-1.0.tar.gz")
    assert "ASL_LLAMA_CPP_SDIST=/nowhere/pack-1.0.tar.gz" in message and "no file" in message


def test_failed_download_says_how_to_build_without_network(release: Release) -> None:
    message = release.refusal(sdist=None)
    assert "could not download pack==1.0" in message and "set ASL_LLAMA_CPP_SDIST" in message


def test_pin_that_wants_what_is_not_there(release: Release) -> None:
    release.write_pin(hashlib.sha256(release.sdist.read_bytes()).hexdigest(), wanted='"LICENSE", "lib"')
    assert "vendor/engine/lib" in release.refusal()


def test_pin_may_want_single_files(release: Release) -> None:
    sha256 = hashlib.sha256(release.sdist.read_bytes()).hexdigest()
    release.write_pin(sha256, wanted='"LICENSE", "src/other.cpp"')
    assert release.fetch().returncode == 0
    assert set(release.written()) == {"LICENSE", "src/other.cpp", ".fetched"}
    release.write_pin(sha256, wanted='"LICENSE", "src/oth"')
    assert "vendor/engine/src/oth" in release.refusal()


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        ((" two\n", " 2\n"), "src/graph.cpp: hunk 1 does not match at line 2: expected '2', found 'two'"),
        (("@@ -2,3 +2,3 @@", "@@ -3,3 +3,3 @@"), "src/graph.cpp: hunk 1 does not match at line 3"),
        (("src/graph.cpp", "src/gone.cpp"), "src/gone.cpp: the patch changes it, but there is no such file"),
    ],
    ids=["context changed: no fuzz", "line moved: no offset", "no such file"],
)
def test_patch_that_does_not_apply(release: Release, edit: tuple[str, str], complaint: str) -> None:
    (release.patches / "0001-three.patch").write_text(EDIT.replace(*edit))
    message = release.refusal()
    assert "0001-three.patch does not apply" in message and complaint in message
    assert "To refresh it" in message
    assert not release.to.exists()


@pytest.mark.parametrize(
    ("patch", "complaint"),
    [
        ("no diff at all\n", "holds no change"),
        ("diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to y\n", "not a plain edit"),
        ("diff --git a/x b/x\nGIT binary patch\nliteral 3\nabc\n", "not a plain edit"),
        ("--- a/src/graph.cpp\n+++ b/src/other.cpp\n@@ -1 +1 @@\n-one\n+1\n", "renames are not supported"),
        ("--- a/src/graph.cpp\n+++ b/src/graph.cpp\n@@ -1,2 +1,2 @@\n-one\n+1\n", "line 6 of the patch"),
        ("--- a/src/graph.cpp\n+++ b/src/graph.cpp\n@@ -99,0 +100 @@\n+x\n", "the file has 6"),
        ("--- /dev/null\n+++ b/src/graph.cpp\n@@ -0,0 +1 @@\n+x\n", "it is there already"),
        ("--- a/../x\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n", "not a path below the root"),
    ],
)
def test_patch_of_a_kind_that_is_refused(patch: str, complaint: str) -> None:
    files = {"src/graph.cpp": GRAPH.encode(), "x": b"x\n"}
    with pytest.raises(apply_patch.PatchError, match=complaint):
        apply_patch.apply(patch.encode(), files)
    assert files == {"src/graph.cpp": GRAPH.encode(), "x": b"x\n"}


def test_files_made_deleted_and_without_a_last_newline() -> None:
    files = {"old": b"a\nb\n", "end": b"a\nb"}
    patch = (
        "--- a/old\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n"
        "--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+n\n"
        "--- a/end\n+++ b/end\n@@ -1,2 +1,2 @@\n a\n"
        "-b\n\\ No newline at end of file\n+c\n\\ No newline at end of file\n"
    )
    apply_patch.apply(patch.encode(), files)
    assert files == {"new": b"n\n", "end": b"a\nc"}


LINES = st.lists(st.sampled_from(["a\n", "b\n", "", "-- x\n", "\t\f\n", "++\n"]).filter(bool), max_size=20)


@given(before=LINES, after=LINES, context=st.integers(0, 4))
def test_any_diff_applies_to_what_it_was_made_from(before: list[str], after: list[str], context: int) -> None:
    diff = "".join(difflib.unified_diff(before, after, "a/file", "b/file", n=context))
    files = {"file": "".join(before).encode()}
    if diff:
        apply_patch.apply(diff.encode(), files)
    assert files["file"] == "".join(after).encode()


def test_series_touches_only_what_the_stock_build_compiles_anew() -> None:
    anew = ("src/", "ggml/src/ggml-cpu/ops.cpp")
    patches = sorted((ROOT / "patches").glob("*.patch"))
    assert patches
    for patch in patches:
        for diff in apply_patch.parse(patch.read_bytes()):
            assert (diff.new_path or diff.old_path or "").startswith(anew), (
                f"{patch.name}: the stock library shares the rest of libggml with ours, see vendor/stock.cmake"
            )


# ---- the packed release ---------------------------------------------------------------------------------------------


def packed(release: Release, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The release packed, with its checksum in the pin; the release itself is gone."""
    monkeypatch.delenv(fetch.SDIST_VARIABLE, raising=False)
    pin = fetch.Pin(**fetch.tomllib.loads(release.pin.read_text()))
    path = release.sdist.with_name("packed.tar.xz")
    fetch.pack(pin, path)
    contents = fetch.contents_digest(
        {"LICENSE": b"MIT\n", "src/graph.cpp": GRAPH.encode(), "src/other.cpp": b"other\n"}
    )
    release.pin.write_text(release.pin.read_text() + f'contents_sha256 = "{contents}"\n')
    release.sdist.unlink()
    return path


def test_a_packed_release_gives_the_same_source(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(release, monkeypatch)
    (release.patches / "0001-three.patch").write_text(EDIT)
    assert release.fetch(sdist=str(path)).returncode == 0
    assert (release.to / "src/graph.cpp").read_text() == GRAPH.replace("three", "3")
    assert set(release.written()) == {"LICENSE", "src/graph.cpp", "src/other.cpp", ".fetched"}


def test_another_packed_release_is_refused(release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(release, monkeypatch)
    release.pin.write_text(release.pin.read_text().replace('contents_sha256 = "', 'contents_sha256 = "0'))
    assert "wrong checksum" in release.refusal(sdist=str(path))
