"""llama-cpp-python's own tests, from its release, with our `Llama` in place of its own; see parent_suite.py.

What is skipped there, and why, is listed in `parent_suite.SKIPPED`: tests of recurrent and hybrid models, for which
there is none here; one that expects another model's token ids; the embeddings under a policy that prunes. One line is
left out (`LEFT_OUT`), the rest runs as released.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from places import HELPERS, ROOT

VOCABULARY = "vendor/llama.cpp/models/ggml-vocab-llama-spm.gguf"

LEFT_OUT = "    assert number_1 != number_2\n"
"""Two draws that differ with the model of those tests; Gemma-3-270M draws 10 each time, whatever the seed."""

THROUGH_ENGINE = "asl:tau=1e-9,l_max=none,select_k=3,window=2"
"""Runs every prompt of more than 3 tokens through the engine, and prunes nothing."""

N_CACHE_TESTS = 4  # for each of: transformer, recurrent, hybrid


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests and the vocabulary that they load, unpacked from the release."""
    named = os.environ.get("ASL_LLAMA_CPP_SDIST")
    releases = [Path(named)] if named else sorted((ROOT / "build").glob("llama_cpp_python-*.tar.gz"))
    if not releases:
        pytest.skip("the release is missing: `make test` puts it into build/")
    folder = tmp_path_factory.mktemp("parent")
    with tarfile.open(releases[-1]) as archive:
        for member in archive.getmembers():
            path = member.name.split("/", 1)[-1]
            if member.isfile() and (path == VOCABULARY or path.startswith("tests/test_llama")):
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                content = archive.extractfile(member)
                assert content is not None
                target.write_bytes(content.read())
    test = folder / "tests" / "test_llama.py"
    text = test.read_text(encoding="utf-8")
    assert text.count(LEFT_OUT) == 1
    test.write_text(text.replace(LEFT_OUT, ""), encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["full", "asl", THROUGH_ENGINE], ids=["full", "asl", "through the engine"])
def test_parent_suite_passes(suite: Path, smollm2_path: Path, gemma_path: Path, tmp_path: Path, policy: str) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HELPERS)]),
        "PARENT_SUITE_POLICY": policy,
        "PARENT_SUITE_SMOLLM2": str(smollm2_path),
        "PARENT_SUITE_GEMMA": str(gemma_path),
    }
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-p", "parent_suite", "-p", "no:cacheprovider", f"--junitxml={report}"]
    result = subprocess.run(command, cwd=suite, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-3000:]

    cases = ElementTree.parse(report).findall(".//testcase")
    skipped = {case.attrib["name"] for case in cases if case.find("skipped") is not None}
    allowed = 1 + 2 + 2 * N_CACHE_TESTS + (policy != "full") + ("test_composed_pydantic_grammar" in skipped)
    assert len(skipped) == allowed, skipped
    assert len(cases) - len(skipped) >= 14, result.stdout
