"""Makes an F32 copy of a quantized GGUF model: the same weights, computed without quantized activations.

python tests/dequantize.py model.Q4_1.gguf model.F32.gguf
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType, ReaderTensor
from gguf.quants import dequantize
from numpy.typing import NDArray

VERSION = 1  # raise it when the file written for the same input changes


def floats(tensor: ReaderTensor) -> NDArray[np.float32]:
    """The tensor's values, in the shape that GGUFWriter takes: the outermost dimension first."""
    if tensor.tensor_type == GGMLQuantizationType.F32:
        return tensor.data
    shape = tuple(map(int, reversed(tensor.shape)))
    return np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type).reshape(shape), dtype=np.float32)


def copy_metadata(reader: GGUFReader, writer: GGUFWriter) -> None:
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":  # GGUFWriter's own
            continue
        if key == "general.file_type":
            writer.add_file_type(LlamaFileType.ALL_F32)
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), kind, inner)


def write_f32(source: Path, target: Path) -> None:
    """Write `target`, F32 throughout, with the metadata and the tensors of `source`."""
    reader = GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = GGUFWriter(target, architecture)
    copy_metadata(reader, writer)
    for tensor in reader.tensors:
        shape = tuple(map(int, reversed(tensor.shape)))
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), 4 * int(np.prod(shape)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:  # one at a time: the whole model need not be in memory
        writer.write_tensor_data(floats(tensor))
    writer.close()


def digest(parts: Iterable[bytes]) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.hexdigest()


def f32_model(source: Path, folder: Path) -> Path:
    """The F32 copy of `source` in `folder`, written unless its stamp says that it is there already."""
    target = folder / f"{source.stem.rsplit('.', 1)[0]}.F32.gguf"
    stamp = target.with_suffix(".stamp")
    expected = digest([source.read_bytes(), str(VERSION).encode()])
    if target.exists() and stamp.exists() and stamp.read_text() == expected:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}.unfinished")
    try:
        write_f32(source, unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    stamp.write_text(expected)
    return target


if __name__ == "__main__":
    write_f32(Path(sys.argv[1]), Path(sys.argv[2]))
