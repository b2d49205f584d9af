"""Saving a document: the old file is whole until the new one is, whatever happens; and no copy in memory."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import portalocker
import pytest
from llama_fixtures import run_python
from places import HELPERS

from asl_llamacpp.files import replace_file
from asl_llamacpp.files.asldoc import open_document_file, write_document_file
from asl_llamacpp.files.replace_file import SUFFIX, replacing

NEW = {"a": np.full(3_000_000, 7, np.int32), "b": np.arange(5, dtype=np.int64)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where an old document is saved."""
    path = tmp_path / "contract.asldoc"
    write_document_file(path, {"old": True}, {"x": np.arange(1000, dtype=np.int32)})
    return path


@contextmanager
def nothing_changes(path: Path) -> Iterator[None]:
    """The file is the same after it, and nothing is beside it."""
    before, inode = path.read_bytes(), path.stat().st_ino
    yield
    assert (path.read_bytes(), path.stat().st_ino) == (before, inode)
    assert os.listdir(path.parent) == [path.name]


def abandoned(path: Path) -> Path:
    """The part that a killed writer of `path` left."""
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch, replacing(path) as file:
        file.write(b"half of it")
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        raise KeyboardInterrupt
    (part,) = (each for each in path.parent.iterdir() if each.name.endswith(SUFFIX))
    return part


def test_killed_while_saving(tmp_path: Path) -> None:
    command = [sys.executable, str(HELPERS / "asldoc_killed.py"), str(tmp_path), "40"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert not result.returncode, result.stderr
    counts = json.loads(result.stdout)
    assert counts["old"] >= 3 and counts["parts"] >= 3, counts  # it was killed in the middle, not before or after


def test_file_is_whole_and_on_the_disk_when_it_takes_the_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    sync, replace = os.fsync, os.replace

    def noted_sync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else str(os.fstat(descriptor).st_size))
        sync(descriptor)

    def noted_replace(part: Path, target: Path) -> None:
        steps.append(str(open_document_file(part).n_bytes))
        replace(part, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    size = str(write_document_file(path, {}, {"x": NEW["b"]}))
    assert steps == [size, size, "folder"]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failing_step(path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    with nothing_changes(path), pytest.raises(type(error)) as raised:
        write_document_file(path, {}, NEW)
    if isinstance(error, OSError):
        assert str(raised.value) == f"[Errno 28] No space left on device: '{path}'"


def test_full_disk(path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with nothing_changes(path), pytest.raises(OSError, match=r"contract\.asldoc"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (5 << 20, limits[1]))
        try:
            write_document_file(path, {}, NEW)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_interrupted_between_arrays(path: Path) -> None:
    with nothing_changes(path), pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(bytes(1 << 20))
        raise KeyboardInterrupt


def test_saving_over_the_mapped_file_and_from_it(path: Path) -> None:
    old = open_document_file(path)
    kept = old.arrays["x"][10:20]
    write_document_file(path, {"n": 1}, {"reversed": old.arrays["x"][::-1], "x": old.arrays["x"]})
    new = open_document_file(path)
    assert new.arrays["reversed"].tolist() == list(range(1000))[::-1] and new.arrays["x"].tolist() == list(range(1000))
    del old
    path.unlink()
    assert kept.tolist() == list(range(10, 20)) and new.arrays["x"][-1] == 999


def test_leftovers_of_killed_writers_go_with_the_next_save_to_the_same_path(path: Path) -> None:
    part = abandoned(path)
    write_document_file(path.with_name("other.asldoc"), {}, {})
    assert part.exists()
    write_document_file(path, {}, {})
    assert not part.exists()


def test_part_of_a_living_writer_stays(path: Path) -> None:
    with replacing(path) as file:
        file.write(b"slow")
        write_document_file(path, {"fast": True}, {})
        assert open_document_file(path).header == {"fast": True}
    assert path.read_bytes() == b"slow" and os.listdir(path.parent) == [path.name]


def test_part_of_a_writer_in_another_process_stays(path: Path) -> None:
    code = f"""from asl_llamacpp.files.replace_file import replacing
with replacing({os.fspath(path)!r}) as file:
    print(file.write(b"slow"), flush=True)
    input()"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdout.readline()
        write_document_file(path, {"fast": True}, {})
        process.communicate(b"\n")
    assert not process.returncode and path.read_bytes() == b"slow"


def test_many_writers_of_one_path(path: Path) -> None:
    errors: list[BaseException] = []

    def save(i: int) -> None:
        try:
            for _ in range(5):
                write_document_file(path, {"i": i}, {"x": np.full(50_000, i, np.int32)})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        opened = open_document_file(path)
        assert opened.header == {"old": True} or (opened.arrays["x"] == opened.header["i"]).all()
    assert not errors and os.listdir(path.parent) == [path.name]


def test_part_removed_before_it_was_locked_is_made_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, removed = portalocker.lock, []

    def slow(file: Any, how: portalocker.LockFlags) -> None:
        if not removed:
            removed.append(file.name)
            os.unlink(file.name)
        lock(file, how)

    monkeypatch.setattr(portalocker, "lock", slow)
    write_document_file(path, {"new": True}, {})
    assert removed and open_document_file(path).header == {"new": True}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks into /proc for what is open")
def test_where_open_files_can_be_neither_renamed_nor_removed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replace_file, "_OPEN_FILES_MOVE", False)
    replace, unlink = os.replace, Path.unlink

    def closed(part: Any) -> None:
        assert str(part) not in {os.path.realpath(f"/proc/self/fd/{each}") for each in os.listdir("/proc/self/fd")}

    monkeypatch.setattr(os, "replace", lambda part, target: (closed(part), replace(part, target)))
    monkeypatch.setattr(Path, "unlink", lambda part, *args, **options: (closed(part), unlink(part, *args, **options)))
    part = abandoned(path)
    write_document_file(path, {"new": True}, {})
    assert not part.exists() and open_document_file(path).header == {"new": True}
    with pytest.raises(ZeroDivisionError), replacing(path):
        _ = 1 / 0
    assert os.listdir(path.parent) == [path.name]


def test_permissions_are_those_of_the_old_file_or_the_usual_ones(path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_document_file(path.with_name("new"), {}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.with_name("new").stat().st_mode) == 0o640
    for mode in (0o600, 0o444):
        path.chmod(mode)
        write_document_file(path, {}, {})
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_links_are_followed(path: Path) -> None:
    link = path.parent / "folder" / "link"
    link.parent.mkdir()
    link.symlink_to(path)
    write_document_file(link, {"new": True}, {})
    assert link.is_symlink() and open_document_file(path).header == {"new": True}
    assert os.listdir(link.parent) == ["link"]


@pytest.mark.parametrize("name", ["n" * 255, "ü*[?]\n", ".hidden", "\udcff"])
def test_any_name(tmp_path: Path, name: str) -> None:
    write_document_file(tmp_path / name, {}, {})
    assert open_document_file(tmp_path / name).n_bytes == 128 and os.listdir(tmp_path) == [name]


def test_places_where_no_file_can_be(path: Path) -> None:
    with nothing_changes(path):
        with pytest.raises(FileNotFoundError, match=r"'.*missing/d'$"):
            write_document_file(path.parent / "missing" / "d", {}, {})
        with pytest.raises(NotADirectoryError, match=r"'.*contract.asldoc/d'$"):
            write_document_file(path / "d", {}, {})
        with pytest.raises(FileExistsError, match="a folder or a device"):
            write_document_file(path.parent, {}, {})
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    with pytest.raises(FileExistsError, match="a folder or a device"):
        write_document_file(pipe, {}, {})
    assert pipe.is_fifo()


@pytest.mark.skipif(not os.geteuid(), reason="root writes everywhere")
def test_folder_without_permission(path: Path) -> None:
    path.parent.chmod(0o500)
    with nothing_changes(path), pytest.raises(PermissionError, match=r"'.*contract.asldoc'$"):
        write_document_file(path, {}, {})
    path.parent.chmod(0o700)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak from /proc")
def test_memory_does_not_double(tmp_path: Path) -> None:
    code = f"""
import re, numpy as np
from asl_llamacpp.files.asldoc import open_document_file, write_document_file
def peak():
    with open("/proc/self/status") as file:
        return int(re.search(r"VmHWM:\\s*(\\d+) kB", file.read())[1]) >> 10
path, array = {os.fspath(tmp_path / "d")!r}, np.full((4096, 8192), 3, ">f4")
grown = [peak()]
for arrays in (dict(a=array), dict(a=array.T), dict(a=array.view("<i4"), b=array.view(np.uint8)[:9, ::2])):
    write_document_file(path, {{}}, arrays)
    grown.append(peak())
del array, arrays
opened = open_document_file(path)
grown.append(peak())
write_document_file(path, {{}}, opened.arrays)
grown.append(peak())
print(*(after - before for before, after in zip(grown, grown[1:])))
"""
    result = run_python(code)
    assert not result.returncode, result.stderr
    grown = [int(mib) for mib in result.stdout.split()]
    assert len(grown) == 5 and max(grown) <= 32, f"MiB more than before for arrays of 128 MiB: {grown}"
