"""What CUDA and Metal accept, as the functions of their backends in the source say it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ggml_device import F16, F32, I32, Q8_0, context, ffi, lib, new_tensor
from places import BUILD, TESTS
from software_gpu import accepts

EXTRACT = TESTS / "software_gpu" / "extract.py"
SOURCE = BUILD / "native" / "llama.cpp" / "ggml" / "src"

KINDS = {"f32": F32, "f16": F16, "q8_0": Q8_0, "i32": I32}


def attention(head_k: int, head_v: int, kind_k: str = "f16", kind_v: str = "f16") -> object:
    ctx = context()
    q = new_tensor(ctx, "q", head_k, 1)
    k, v = (new_tensor(ctx, "kv", size, 256, KINDS[kind]) for size, kind in ((head_k, kind_k), (head_v, kind_v)))
    return lib.ggml_flash_attn_ext(ctx, q, k, v, ffi.NULL, 1.0, 0.0, 0.0)


def product(kind_a: str, kind_b: str) -> object:
    ctx = context()
    return lib.ggml_mul_mat(ctx, new_tensor(ctx, "a", 64, 8, KINDS[kind_a]), new_tensor(ctx, "b", 64, 8, KINDS[kind_b]))


def rows(kind: str) -> object:
    ctx = context()
    return lib.ggml_get_rows(ctx, new_tensor(ctx, "a", 64, 8, KINDS[kind]), new_tensor(ctx, "ids", 4, 1, I32))


@pytest.mark.parametrize(
    ("operation", "cuda", "metal"),
    [
        (attention(64, 64), True, True),
        (attention(128, 128), True, True),
        (attention(32, 32), False, True),
        (attention(48, 48), False, True),
        (attention(33, 33), False, False),
        (attention(192, 128), False, True),  # CUDA: with groups of 8 heads only
        (attention(64, 128), False, False),
        (attention(64, 64, "q8_0", "q8_0"), True, True),
        (attention(64, 64, "q8_0", "f16"), True, False),  # Metal: K and V of one type
        (product("f32", "f32"), True, True),
        (product("f16", "f32"), True, True),
        (product("q8_0", "f16"), False, False),
        (product("f32", "f16"), False, False),
        (rows("i32"), True, True),
        (rows("q8_0"), True, True),
    ],
)
def test_operations(operation: object, cuda: bool, metal: bool) -> None:
    pointer = int(ffi.cast("uintptr_t", operation))
    assert (accepts("cuda", pointer), accepts("metal", pointer)) == (cuda, metal)


def test_the_functions_are_those_of_the_source(tmp_path: Path) -> None:
    """What was compiled is what the source says now; a source that says it elsewhere is refused."""
    subprocess.run([sys.executable, str(EXTRACT), str(SOURCE), str(tmp_path)], check=True)
    built = BUILD / "native" / "tests" / "software_gpu" / "include"
    for name in ("cuda.inc", "metal.inc"):
        assert (built / name).read_text() == (tmp_path / name).read_text()

    (tmp_path / "ggml-cuda").mkdir()
    (tmp_path / "ggml-cuda" / "fattn-common.cuh").write_text("#define FATTN_STRIDE 256\n")
    command = [sys.executable, str(EXTRACT), str(tmp_path), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "fattn-common.cuh has 0 definitions of define FATTN_KQ_STRIDE" in result.stderr
