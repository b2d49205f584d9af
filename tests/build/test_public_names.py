"""The public names: what a type checker reads, and what is imported at run time, are the same."""

from __future__ import annotations

import ast

from places import ROOT

import asl_llamacpp


def test_both_lists_of_the_public_names_are_the_same() -> None:
    tree = ast.parse((ROOT / "asl_llamacpp" / "__init__.py").read_bytes())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    found = {node.module: [name.name for name in node.names] for node in block.body if isinstance(node, ast.ImportFrom)}
    folders = found.pop(None)  # type: ignore[call-overload]
    assert found == asl_llamacpp._NAMES
    assert set(asl_llamacpp.__all__) == {name for names in found.values() for name in names} | {*folders, "__version__"}
    for name in asl_llamacpp.__all__:
        assert getattr(asl_llamacpp, name) is not None
