"""Cuts out of ggml-cuda and ggml-metal what decides which operations they accept, to be compiled without a GPU.

python extract.py FOLDER_OF_GGML_SRC FOLDER

writes FOLDER/cuda.inc and FOLDER/metal.inc. The functions stay as they are in the source, so they are always those of
the pinned release; what they call is in accept-cuda.cpp and accept-metal.cpp.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CUDA = [
    ("fattn-common.cuh", ["define FATTN_KQ_STRIDE", "struct ggml_cuda_flash_attn_ext_f16_extra_data"]),
    ("fattn-common.cuh", ["ggml_cuda_flash_attn_ext_get_f16_extra_data"]),
    ("common.cuh", ["define MATRIX_ROW_PADDING"]),
    ("fattn.cu", ["enum best_fattn_kernel", "ggml_cuda_fattn_kv_type_supported", "ggml_cuda_get_best_fattn_kernel"]),
    ("fattn.cu", ["ggml_cuda_flash_attn_ext_get_alloc_size", "ggml_cuda_flash_attn_ext_supported"]),
    ("fwht.cu", ["ggml_cuda_op_mul_mat_use_fwht"]),
    ("lightning-indexer.cu", ["ggml_cuda_lightning_indexer_supported"]),
    ("ggml-cuda.cu", ["ggml_backend_cuda_buffer_type_get_alloc_size", "ggml_backend_cuda_device_supports_op"]),
]
METAL = [
    ("ggml-metal-impl.h", ["define OP_LIGHTNING_INDEXER_DK", "define OP_LIGHTNING_INDEXER_NH"]),
    ("ggml-metal-common.cpp", ["ggml_metal_fwht_supported_size", "ggml_metal_op_mul_mat_use_fwht"]),
    ("ggml-metal-common.cpp", ["ggml_metal_op_mul_mat_use_mm", "ggml_metal_op_mul_mat_id_use_mm"]),
    ("ggml-metal-device.m", ["ggml_metal_supports_mul_mat_op", "ggml_metal_device_supports_op"]),
]


def definition(text: str, name: str) -> str:
    """A macro of one line, a type, or a function at the outermost level, up to the brace that closes it.

    Raises:
        LookupError: there is none of that name, or more than one.
    """
    kind, _, word = name.rpartition(" ")
    if kind == "define":
        pattern = rf"^#define {word}\b.*$"
    elif kind:
        pattern = rf"^{kind} {word} \{{$.*?^\}};$"
    else:
        pattern = rf"^[a-z][^\n;=]*\b{word}\([^;{{]*\) \{{$.*?^\}}$"
    found = re.findall(pattern, text, re.MULTILINE | re.DOTALL if kind != "define" else re.MULTILINE)
    if len(found) != 1:
        raise LookupError(f"{len(found)} definitions of {name}")
    return str(found[0])


def extract(folder: Path, wanted: list[tuple[str, list[str]]]) -> str:
    parts = []
    for file, names in wanted:
        text = (folder / file).read_text(encoding="utf-8")
        for name in names:
            try:
                parts.append(definition(text, name))
            except LookupError as error:
                sys.exit(f"error: {folder / file} has {error}: bring tests/software_gpu/extract.py up to date")
    return "\n\n".join(parts) + "\n"


def main(source: str, out: str) -> None:
    for name, folder, wanted in [("cuda.inc", "ggml-cuda", CUDA), ("metal.inc", "ggml-metal", METAL)]:
        text = extract(Path(source) / folder, wanted)
        path = Path(out) / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
