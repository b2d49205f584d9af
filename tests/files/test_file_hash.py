"""Hashes of files: every byte counts, and a file that is the same is not read again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import platformdirs
import pytest
import xxhash

from asl_llamacpp.files import file_hash as module
from asl_llamacpp.files.file_hash import file_hash
from asl_llamacpp.files.fingerprint import as_saved, model_fingerprint

OLD = 1_000_000_000


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    path = tmp_path / "model.gguf"
    path.write_bytes(os.urandom(5 << 20))
    monkeypatch.setattr(module, "_SETTLED", -1.0)
    return path


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    reads: list[int] = []
    real = xxhash.xxh3_128

    def counted(*data: Any) -> Any:
        reads.append(1)
        return real(*data)

    monkeypatch.setattr(module.xxhash, "xxh3_128", counted)
    return reads


def test_it_is_the_hash_of_all_bytes_and_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = count_reads(monkeypatch)
    expected = "xxh3:" + xxhash.xxh3_128_hexdigest(file.read_bytes())
    assert [file_hash(file) for _ in range(3)] == [expected] * 3
    link = file.with_name("link")
    link.symlink_to(file)
    assert file_hash(link) == expected and len(reads) == 1


@pytest.mark.parametrize("at", [0, 70_001, 3 << 20, (5 << 20) - 1])
def test_a_changed_byte_anywhere_is_seen(file: Path, at: int) -> None:
    """Also one between the blocks that a sample reads, with the old time put back."""
    before, times = file_hash(file), file.stat()
    with file.open("r+b") as opened:
        opened.seek(at)
        byte = opened.read(1)[0]
        opened.seek(at)
        opened.write(bytes([byte ^ 1]))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file_hash(file) != before


def test_a_file_that_takes_the_place_is_seen(file: Path) -> None:
    before = file_hash(file)
    other = file.with_name("other")
    other.write_bytes(os.urandom(5 << 20))
    os.utime(other, ns=(OLD, OLD))
    other.replace(file)
    assert file_hash(file) != before


def test_a_file_that_changed_just_now_is_not_remembered(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SETTLED", 2.0)
    reads = count_reads(monkeypatch)
    file_hash(file)
    file_hash(file)
    assert len(reads) == 2


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"x": 1}', None])
def test_a_damaged_memory_costs_nothing_but_a_reading(file: Path, content: bytes | None) -> None:
    memory = module._memory()
    memory.parent.mkdir(parents=True)
    if content is None:
        memory.mkdir()
    else:
        memory.write_bytes(content)
    assert file_hash(file) == file_hash(file)


def test_what_was_saved_with_a_sampled_hash_is_compared_with_that(file: Path) -> None:
    """Documents of earlier versions open as they did."""
    own = {"model": file_hash(file), "adapter": f"{file_hash(file)} 0.5", "build": "b"}
    old = {"model": model_fingerprint(file), "adapter": f"{model_fingerprint(file)} 0.5", "build": "b"}
    assert as_saved(own, old, file, file) == old
    assert as_saved(own, own, file, file) == own
    assert as_saved({**own, "adapter": "none"}, {**old, "adapter": "none"}, file, None)["adapter"] == "none"
