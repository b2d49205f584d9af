"""The graph nodes that the engine adds must run on CPU, CUDA, Metal and Vulkan, or a device would fall back to the CPU.

The engine's sources are searched for calls that make nodes; each must be in NODES. For each op, ADMITTED quotes what
the pinned backends' supports_op functions ask of it. The quotes were compared with what the engine emits:

    mul_mat       K view, f16 or quantized, [head_dim, n_kv, n_head_kv] permuted, rows contiguous, times a view of rows
                  of Q, f32, [head_dim, n_rows, n_head] permuted. The same shapes as build_attn_mha's without flash
                  attention. Vulkan runs it on the CPU for a quantized K with more than one KV head, as it does there.
    scale, tanh   of mul_mat's result: f32, contiguous
    soft_max      the same, with leading rows of a f16 (or f32) mask: contiguous; sinks f32
    add           of views of its rows, halves of the window: f32, rows contiguous
    cont          of a view of one row a head: f32
    pool_2d       averages and maxima of the heads' rows: f32, contiguous
    cpy           of a layer's output to rows of the hidden states: f32 to f32, both contiguous

If the pin moves and a quote changes, compare again.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from places import ROOT

ENGINE = ROOT / "asl_llamacpp" / "engine"
GGML = ROOT / "build" / "native" / "llama.cpp" / "ggml"

NODES = {
    "ggml_add": "ADD",
    "ggml_cont": "CONT",
    "ggml_cpy": "CPY",
    "ggml_mul_mat": "MUL_MAT",
    "ggml_pool_2d": "POOL_2D",
    "ggml_reshape_2d": "RESHAPE",
    "ggml_scale": "SCALE",
    "ggml_soft_max_ext": "SOFT_MAX",
    "ggml_tanh": "UNARY",
    "ggml_view_2d": "VIEW",
    "ggml_view_3d": "VIEW",
}
"""What makes a node of a graph, and its op."""

SUPPORTS_OP = {
    "CUDA": ("ggml-cuda/ggml-cuda.cu", "static bool ggml_backend_cuda_device_supports_op("),
    "Metal": ("ggml-metal/ggml-metal-device.m", "bool ggml_metal_device_supports_op("),
    "Vulkan": ("ggml-vulkan/ggml-vulkan.cpp", "static bool ggml_backend_vk_device_supports_op("),
    "CPU": ("ggml-cpu/ggml-cpu.c", "static void ggml_compute_forward("),  # supports_op admits what it does not name
}

ALWAYS = "return true"
F32_OR_F16 = "(op->src[0]->type == GGML_TYPE_F32 || op->src[0]->type == GGML_TYPE_F16)"
ADMITTED: dict[str, dict[str, str | None]] = {
    "CUDA": {
        "ADD": "if (op->src[0]->type == GGML_TYPE_BF16 ||",
        "CONT": ALWAYS,
        "CPY": None,
        "MUL_MAT": None,
        "POOL_2D": ALWAYS,
        "RESHAPE": ALWAYS,
        "SCALE": "return (op->src[0]->type == GGML_TYPE_F32 ||",
        "SOFT_MAX": ALWAYS,
        "UNARY": None,
        "VIEW": ALWAYS,
    },
    "Metal": {
        "ADD": "return ggml_is_contiguous_rows(op->src[0]) && ggml_is_contiguous_rows(op->src[1]) && "
        f"{F32_OR_F16} && (op->src[0]->type == op->src[1]->type);",
        "CONT": None,
        "CPY": None,
        "MUL_MAT": None,
        "POOL_2D": "return op->src[0]->type == GGML_TYPE_F32;",
        "RESHAPE": ALWAYS,
        "SCALE": f"return ggml_is_contiguous_rows(op->src[0]) && {F32_OR_F16};",
        "SOFT_MAX": "return has_simdgroup_reduction && ggml_is_contiguous_rows(op->src[0]);",
        "UNARY": None,
        "VIEW": ALWAYS,
    },
    "Vulkan": {
        "ADD": f"return {F32_OR_F16} && (op->src[1]->type == GGML_TYPE_F32 ||",
        "CONT": None,
        "CPY": None,
        "MUL_MAT": None,
        "POOL_2D": "return ggml_is_contiguous(op->src[0]) && op->src[0]->type == GGML_TYPE_F32;",
        "RESHAPE": ALWAYS,
        "SCALE": "return ggml_is_contiguous(op->src[0]) && op->src[0]->type == GGML_TYPE_F32;",
        "SOFT_MAX": "return ggml_is_contiguous(op->src[0]) && op->src[0]->type == GGML_TYPE_F32 && "
        "(!op->src[1] || (op->src[1]->type == GGML_TYPE_F32 || op->src[1]->type == GGML_TYPE_F16));",
        "UNARY": None,
        "VIEW": ALWAYS,
    },
    "CPU": dict.fromkeys(sorted(set(NODES.values()))),
}
"""How the code behind `case GGML_OP_...:` begins; None: it is long, and listing types that include f32 (and q8_0)."""


def calls(path: Path) -> set[str]:
    code = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
    return set(re.findall(r"\b(ggml_\w+)\s*\(", code))


def node_makers() -> set[str]:
    """The functions of ggml.h that return a tensor which is computed from others."""
    header = (GGML / "include" / "ggml.h").read_text(encoding="utf-8")
    declared = re.findall(r"GGML_API\s+struct\s+ggml_tensor\s*\*\s*(ggml_\w+)\s*\(([^;]*)\)\s*;", header)
    others = re.compile(r"ggml_(new|dup|get|set|format|graph)_")
    return {name for name, arguments in declared if "ggml_tensor" in arguments and not others.match(name)}


@pytest.fixture
def source() -> Path:
    if not GGML.is_dir():
        pytest.skip(f"no llama.cpp source in {GGML.parent}: `make test` unpacks it")
    return GGML / "src"


def test_engine_makes_no_other_nodes(source: Path) -> None:
    used = {name for path in ENGINE.glob("*.cpp") for name in calls(path)}
    makers = node_makers()
    assert makers >= set(NODES), "ggml.h is not read right"
    assert used & makers == set(NODES), "add what is new to NODES and ADMITTED, after reading the backends"


@pytest.mark.parametrize("backend", SUPPORTS_OP)
def test_backends_admit_every_op(source: Path, backend: str) -> None:
    file, signature = SUPPORTS_OP[backend]
    text = (source / file).read_text(encoding="utf-8")
    start = text.rindex(signature)  # a declaration may come first
    body = " ".join(text[start : text.index("\n}", start)].split())
    assert set(ADMITTED[backend]) == set(NODES.values())
    for op, condition in ADMITTED[backend].items():
        found = re.search(rf"case GGML_OP_{op}:(?: case GGML_OP_\w+:)*", body)
        assert found, f"{backend} has no {op}"
        if condition is not None:
            assert body[found.end() :].lstrip().startswith(condition), f"{backend} asks something else of {op}"
    if backend != "CPU":
        assert "case GGML_UNARY_OP_TANH:" in body
