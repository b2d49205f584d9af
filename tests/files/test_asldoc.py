"""Files of saved documents: what comes back, and that nothing damaged, foreign or newer does."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asldoc_files import entry, file_bytes, start_bytes
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from asl_llamacpp.files.asldoc import (
    DocumentFileError,
    DocumentMismatchError,
    check_matches,
    open_document_file,
    write_document_file,
)

HEADER = {"title": "Vertrag über 3 €", "n": 3}
ARRAYS = {
    "tokens": np.arange(7, dtype=np.int32),
    "none": np.zeros((0, 4), dtype=np.float16),
    "keys": np.linspace(0, 1, 6, dtype=np.float16).reshape(2, 3),
}
DATA = b"\1\2\3"

scalar_types = st.sampled_from(["u1", "<i4", ">i4", "<i8", ">i8", "<f2", ">f2", "<f4", ">f4"])
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def any_layout(draw: st.DrawFn) -> NDArray[Any]:
    """An array of an allowed type: transposed, reversed, with gaps, at an odd address, in either byte order."""
    array = draw(hnp.arrays(draw(scalar_types), draw(shapes)))
    array = array.transpose(draw(st.permutations(range(array.ndim))))
    steps = draw(st.tuples(*[st.sampled_from([1, 2, -1, -3])] * array.ndim))
    array = array[tuple(slice(None, None, step) for step in steps)]
    if draw(st.booleans()):
        odd = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
        odd[...] = array
        array = odd
    return array


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a small document is saved."""
    path = tmp_path / "contract.asldoc"
    write_document_file(path, HEADER, ARRAYS)
    return path


def refused(path: Path, data: bytes | bytearray | memoryview) -> str:
    """The message that a file of these bytes is refused with; it names the file and what to do."""
    path.unlink(missing_ok=True)  # a file that is emptied and written again goes to the disk at once, which is slow
    path.write_bytes(data)
    with pytest.raises(DocumentFileError) as error:
        open_document_file(path)
    message = str(error.value)
    assert message.startswith(f"{path} ") and "read the document anew" in message
    return message


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.text(), json_values, max_size=3), st.dictionaries(st.text(), any_layout(), max_size=4))
def test_what_was_saved_comes_back(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "document"
        n_bytes = write_document_file(path, header, arrays)
        opened = open_document_file(path)
        assert n_bytes == opened.n_bytes == path.stat().st_size and opened.path == path
        assert opened.header == header and list(opened.arrays) == list(arrays)
        for name, array in arrays.items():
            back = opened.arrays[name]
            assert back.shape == array.shape and back.dtype == array.dtype.newbyteorder("<")
            assert back.tobytes() == array.astype(back.dtype).tobytes()
        again = Path(folder) / "again"
        write_document_file(again, opened.header, opened.arrays)
        assert again.read_bytes() == path.read_bytes()


def test_arrays_larger_than_one_piece_and_not_contiguous(tmp_path: Path) -> None:
    array = np.arange(3_000_000, dtype=">i4").reshape(1500, 2000)
    arrays = {"transposed": array.T, "reversed": array[::-1, ::3], "whole": array.astype("<i4")}
    write_document_file(tmp_path / "d", {}, arrays)
    for name, back in open_document_file(tmp_path / "d").arrays.items():
        assert np.array_equal(back, arrays[name])


def test_arrays_are_aligned_read_only_views_of_one_map(path: Path) -> None:
    opened = open_document_file(path)
    maps = set()
    for array in opened.arrays.values():
        assert array.ctypes.data % 64 == 0 and not array.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
        base: Any = array
        while not isinstance(base, np.memmap):
            base = base.base
        maps.add(id(base))
    assert len(maps) == 1
    with pytest.raises(TypeError):
        opened.arrays["tokens"] = np.zeros(1)  # type: ignore[index]


def test_layout_is_the_documented_one(path: Path) -> None:
    path.write_bytes(file_bytes({"header": {"a": 1}, "arrays": {"x": entry(DATA)}}, DATA))
    opened = open_document_file(path)
    assert opened.header == {"a": 1} and opened.arrays["x"].tolist() == [1, 2, 3]
    write_document_file(path.with_name("own"), {"a": 1}, {"x": np.array([1, 2, 3], np.uint8)})
    assert path.with_name("own").read_bytes() == path.read_bytes()


def test_every_flipped_bit_of_a_small_file_is_refused(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for i in range(8 * len(data)):
        data[i // 8] ^= 1 << i % 8
        refused(path, data)
        data[i // 8] ^= 1 << i % 8
    path.write_bytes(data)
    open_document_file(path)


def test_flipped_bits_of_a_larger_file_are_refused(tmp_path: Path) -> None:
    path, random = tmp_path / "d", np.random.default_rng(0)
    write_document_file(path, HEADER, {"a": random.integers(0, 256, 40_000_001, np.uint8), "b": random.random(9, "f4")})
    with path.open("r+b") as file:
        for at in random.integers(0, path.stat().st_size, 300).tolist():
            file.seek(at)
            byte = file.read(1)[0]
            for value in (byte ^ 1 << int(random.integers(8)), byte):
                file.seek(at)
                file.write(bytes([value]))
                file.flush()
                if value != byte:
                    with pytest.raises(DocumentFileError):
                        open_document_file(path)
    open_document_file(path)


def test_every_truncation_and_any_continuation_is_refused(path: Path) -> None:
    data = path.read_bytes()
    for n in range(len(data)):
        message = refused(path, data[:n])
        assert ("cut off" if n else "is empty") in message
    for more in (b"\0", bytes(64), data):
        assert "continued by something else" in refused(path, data + more)


@pytest.mark.parametrize("data", [b"%PDF-1.7\n", b"GGUF" + bytes(100), b"\0", bytes(1000), b"PK\3\4"])
def test_other_files_are_told_to_be_no_saved_document(tmp_path: Path, data: bytes) -> None:
    assert "is not a saved document" in refused(tmp_path / "d", data)


def test_newer_version_is_named_and_told_from_damage(path: Path) -> None:
    message = refused(path, file_bytes({"quite": "another"}, b"layout", version=7))
    assert "format version 7" in message and "reads 1" in message and "update asl_llamacpp" in message
    # a newer version may have anything after the first 64 bytes
    assert "format version 2" in refused(path, start_bytes(b"", 5, version=2, n_text=9))
    assert "damaged" in refused(path, file_bytes({"header": {}, "arrays": {}}, version=0))


def test_folder_pipe_missing_file_and_no_permission(path: Path) -> None:
    with pytest.raises(DocumentFileError, match="is a folder or a device"):
        open_document_file(path.parent)
    pipe = path.with_name("pipe")
    os.mkfifo(pipe)
    with pytest.raises(DocumentFileError, match="is a folder or a device"):
        open_document_file(pipe)
    with pytest.raises(FileNotFoundError, match="missing"):
        open_document_file(path.with_name("missing"))
    path.chmod(0)
    if os.geteuid():  # root reads everything
        with pytest.raises(PermissionError, match="contract"):
            open_document_file(path)


@pytest.mark.parametrize("n_text", [2**63, 2**64 - 1, 2**39, 129, 65 << 20])
def test_huge_lengths_are_refused_without_allocating(path: Path, n_text: int) -> None:
    start = start_bytes(bytes(64), 192, n_text=n_text)
    assert "damaged" in refused(path, start + bytes(128))
    path.write_bytes(start_bytes(b"", 1 << 40, n_text=n_text))
    os.truncate(path, 1 << 40)  # as long as it says, but sparse
    with pytest.raises(DocumentFileError):
        open_document_file(path)


TEXTS = [
    *(b"", b"{", b"[]", b"null", b"3", b'"header"', b"\xff\xfe", b"[" * 200_000, b"9" * 10_000, b"{}"),
    *(b'{"header": {}}', b'{"header": [], "arrays": {}}', b'{"header": {}, "arrays": []}', b'{"arrays": {}}'),
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_other_json_and_no_json_is_refused(path: Path, text: bytes) -> None:
    assert "not of this format" in refused(path, file_bytes(text))


CHANGES = [
    *({"dtype": dtype} for dtype in ("object", "O", "<f4", "float64", "bool", "V3", "", None, 3, ["uint8"], {})),
    *({"shape": shape} for shape in (3, None, "3", [-3], [-1, -3], ["3"], [3.0], [True, 3], [[3]], {}, [4], [2**70])),
    *({"shape": shape} for shape in ([0, 2**70], [0, 2**62, 2**62], [1] * 100 + [3], [3, None])),
    *({"offset": offset} for offset in (-64, 64, 1, 2**70, -(2**70), None, "0", [0], 0.5)),
    *({"checksum": checksum} for checksum in ("", 32 * "0", None, 0, ["x"])),
    *({"more": 1}, {"dtype": "int32", "shape": [1]}),
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_wrong_entry_is_refused(path: Path, changes: dict[str, Any]) -> None:
    message = refused(path, file_bytes({"header": {}, "arrays": {"x": entry(DATA, **changes)}}, DATA))
    assert "wrong about the array 'x'" in message or "damaged in the array 'x'" in message


@pytest.mark.parametrize("shape", [[-1], [-1, 0], [0, -1], [-5, 0]])
def test_negative_length_of_an_empty_array_is_refused(path: Path, shape: list[int]) -> None:
    content = {"header": {}, "arrays": {"x": entry(b"", shape=shape)}}
    assert "wrong about the array 'x'" in refused(path, file_bytes(content))


@pytest.mark.parametrize("arrays", [{}, {"x": entry(DATA)}, {"x": entry(DATA), "y": entry(b"", offset=64)}])
def test_bytes_that_belong_to_no_array_are_refused(path: Path, arrays: dict[str, Any]) -> None:
    assert "its arrays end at" in refused(path, file_bytes({"header": {}, "arrays": arrays}, DATA + bytes(62)))


def test_length_of_text_beyond_the_end_is_refused(path: Path) -> None:
    text = b'{"header": {}, "arrays": {}}'
    assert "its arrays end at" in refused(path, start_bytes(text, 64 + len(text), n_text=500) + text)


@pytest.mark.parametrize("offset", [0, 1, 3, 63, 65, 128, -64])
def test_overlapping_and_loose_arrays_are_refused(path: Path, offset: int) -> None:
    content = {"header": {}, "arrays": {"x": entry(DATA), "y": entry(DATA, offset=offset)}}
    assert "wrong about the array 'y'" in refused(path, file_bytes(content, DATA + bytes(61) + DATA))
    content["arrays"]["y"]["offset"] = 64
    assert "between its parts" in refused(path, file_bytes(content, DATA + bytes(60) + b"\1" + DATA))
    path.write_bytes(file_bytes(content, DATA + bytes(61) + DATA))
    assert open_document_file(path).arrays["y"].tolist() == [1, 2, 3]


json_entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["uint8", "int64", "float16"]) | json_values,
        "shape": st.lists(st.integers(-1, 4) | json_values, max_size=3) | json_values,
        "offset": st.sampled_from([0, 64]) | json_values,
        "checksum": st.just(entry(DATA)["checksum"]) | json_values,
    }
)


@settings(deadline=None, max_examples=200)
@given(json_values | st.dictionaries(st.text(max_size=2), json_entries | json_values, max_size=3), st.binary())
def test_any_table_of_arrays_opens_or_is_refused(entries: Any, arrays: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "document"
        path.write_bytes(file_bytes({"header": {}, "arrays": entries}, arrays))
        try:
            opened = open_document_file(path)
        except DocumentFileError:
            return
        assert sum(array.nbytes for array in opened.arrays.values()) <= len(arrays)


@pytest.mark.parametrize("dtype", ["float64", "bool", "O", "U3", "i2", "c8", "i4,f4", "M8[s]"])
def test_other_types_are_not_written(path: Path, dtype: str) -> None:
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"array 'x' is of type .*only uint8, int32"):
        write_document_file(path, {}, {"x": np.zeros(2, dtype)})
    assert path.read_bytes() == before


def test_headers_that_are_not_written(path: Path) -> None:
    before, own = path.read_bytes(), {}
    own["itself"] = own
    for header in ({"x": float("nan")}, own, {"x": "y" * (64 << 20)}):
        with pytest.raises(ValueError):
            write_document_file(path, header, {})
    for header in ([], {"x": b"bytes"}, None):
        with pytest.raises(TypeError):
            write_document_file(path, header, {})
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_what_differs_is_named() -> None:
    saved = {"model": "a", "tokenizer": "b", "context settings": "n_ctx=1"}
    check_matches(saved, dict(reversed(saved.items())), "d.asldoc")
    with pytest.raises(DocumentMismatchError, match=r"^d.asldoc belongs to another tokenizer: .*'b', this one is 'c'"):
        check_matches(saved, {**saved, "tokenizer": "c", "context settings": ""}, "d.asldoc")
    with pytest.raises(DocumentMismatchError, match=r"another build: it was saved with none, this one is '1'"):
        check_matches(saved, {**saved, "build": "1"}, "d.asldoc")
    with pytest.raises(DocumentFileError, match=r"another model: it was saved with 'a', this one is none"):
        check_matches(saved, {}, Path("d.asldoc"))
