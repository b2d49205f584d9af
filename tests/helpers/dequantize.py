"""Makes an F32 copy of a quantized GGUF model: the same weights, computed without quantized activations.

python tests/helpers/dequantize.py model.Q4_1.gguf model.F32.gguf
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from derived_model import copy_metadata, derived
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, LlamaFileType, ReaderTensor
from gguf.quants import dequantize
from numpy.typing import NDArray

VERSION = 1  # raise it when the file written for the same input changes


def floats(tensor: ReaderTensor) -> NDArray[np.float32]:
    """The tensor's values, in the shape that GGUFWriter takes: the outermost dimension first."""
    if tensor.tensor_type == GGMLQuantizationType.F32:
        return tensor.data
    shape = tuple(map(int, reversed(tensor.shape)))
    return np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type).reshape(shape), dtype=np.float32)


def write_f32(source: Path, target: Path) -> None:
    """Write `target`, F32 throughout, with the metadata and the tensors of `source`."""
    reader = GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = GGUFWriter(target, architecture)
    copy_metadata(reader, writer, {"general.file_type": LlamaFileType.ALL_F32})
    for tensor in reader.tensors:
        shape = tuple(map(int, reversed(tensor.shape)))
        writer.add_tensor_info(tensor.name, shape, np.dtype(np.float32), 4 * int(np.prod(shape)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in reader.tensors:  # one at a time: the whole model need not be in memory
        writer.write_tensor_data(floats(tensor))
    writer.close()


def f32_model(source: Path, folder: Path) -> Path:
    """The F32 copy of `source` in `folder`."""
    target = folder / f"{source.stem.rsplit('.', 1)[0]}.F32.gguf"
    return derived(source, target, VERSION, write_f32)


if __name__ == "__main__":
    write_f32(Path(sys.argv[1]), Path(sys.argv[2]))
