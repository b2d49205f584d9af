"""Documents in files: reopened they answer as before; what does not fit is refused by name."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_fixtures import load_narrow as load
from llama_fixtures import logits, python

from asl_llamacpp import Document, DocumentFileError, DocumentMismatchError, Llama
from asl_llamacpp.files.asldoc import open_document_file, write_document_file

POLICY = "asl:layer=14,select_k=128,window=16"
TEXT = "# Keys\n\n" + "The pass key of the vault is 48213, and the door of the mill is blue. " * 14
QUESTION, OTHER = "What is the pass key of the vault?", "Which colour has the door of the mill?"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "keys.asldoc"
    llm = load(kv_policy=POLICY, n_ctx=1024)
    document = llm.read(text=TEXT, name="keys.md")
    document.ask(QUESTION, max_tokens=1)
    assert document.save(path) == path.stat().st_size
    llm.close()
    return path


@pytest.fixture(scope="module")
def llm() -> Llama:
    return load(kv_policy=POLICY, n_ctx=1024)


def test_reopening_costs_no_prefill(saved: Path, llm: Llama) -> None:
    document = llm.open_document(saved)
    assert (document.name, document.text) == ("keys.md", TEXT.strip())
    assert document.state is not None and (document.state.place, document.state.layers) == ("file", 15)
    answer = document.ask(OTHER, max_tokens=4)
    last = logits(llm)
    assert answer.report.reused == len(document.tokens)
    n_ubatch = len(document.tokens)
    alone = load(kv_policy=POLICY, n_ctx=1024, n_ubatch=n_ubatch, n_batch=1024).read(text=TEXT, name="keys.md")
    want = alone.ask(OTHER, max_tokens=4)
    assert want.text == answer.text and logits(alone._llm).tobytes() == last.tobytes()
    assert [(s.start, s.end, s.score) for s in answer.evidence] == [(s.start, s.end, s.score) for s in want.evidence]
    assert answer.evidence[0].section == want.evidence[0].section == "Keys"
    document.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"kv_policy": "asl:layer=20,select_k=128,window=16"},  # deeper than what was saved: it is carried on
        {"kv_policy": f"{POLICY},keep=selected"},
        {"kv_policy": "asl:layer=20,select_k=128,window=16,keep=selected", "kv_budget": 96},
        {"kv_policy": "snapkv:budget=96,window=16"},
        {"kv_policy": "gemfilter:layer=14,select_k=128"},
        {"kv_budget": 100},
        {"document_store": "disk"},
    ],
)
def test_another_policy_goes_on_from_the_same_file(saved: Path, settings: dict[str, Any]) -> None:
    """A state does not depend on the policy or the budget."""
    n_ubatch = len(open_document_file(saved).arrays["tokens"])
    options = {"kv_policy": POLICY, "n_ctx": 1024, "n_batch": 1024, "n_ubatch": n_ubatch, **settings}
    llm = load(**options)
    document = llm.open_document(saved)
    answer = document.ask(OTHER, max_tokens=4)
    alone = load(**{**options, "document_store": "ram"}).read(text=TEXT)
    want = alone.ask(OTHER, max_tokens=4)
    assert answer.text == want.text
    np.testing.assert_array_equal(answer.report.selected, want.report.selected)
    if "snapkv" not in str(llm.kv_policy):
        assert answer.report.reused > 0
        assert logits(alone._llm).tobytes() == logits(llm).tobytes()


def test_a_saved_document_can_be_saved_again(saved: Path, tmp_path: Path, llm: Llama) -> None:
    """Over itself too, while it is mapped; after a deeper question with the layers that came to it."""
    path = tmp_path / "again.asldoc"
    path.write_bytes(saved.read_bytes())
    document = llm.open_document(path)
    document.save(path)
    before, after = open_document_file(saved), open_document_file(path)
    assert before.header == after.header
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(after.arrays[name], array)
    document.close()
    deeper = load(kv_policy="asl:layer=20,select_k=128,window=16", n_ctx=1024)
    document = deeper.open_document(path)
    document.ask(OTHER, max_tokens=1)
    document.save(path)
    assert len(open_document_file(path).header["first"]) == 21


def test_a_document_of_which_nothing_was_asked(tmp_path: Path, llm: Llama) -> None:
    path = tmp_path / "new.asldoc"
    document = llm.read(text=TEXT)
    document.save(path)
    assert len(open_document_file(path).header["first"]) == 15
    want = document.ask(OTHER, max_tokens=4)
    document.close()
    llm.reset()  # or nothing would run: it is the same prompt once more
    again = llm.open_document(path)
    answer = again.ask(OTHER, max_tokens=4)
    assert answer.text == want.text and answer.report.reused == len(again.tokens)
    again.close()


def test_after_an_interrupt_the_state_is_saved_whole(saved: Path, tmp_path: Path, llm: Llama) -> None:
    document = llm.read(text=TEXT)
    document.ask(QUESTION, max_tokens=1)

    def interrupt(progress: object) -> None:
        raise KeyboardInterrupt

    llm.on_progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        document.ask("?", max_tokens=1)
    llm.on_progress = None
    path = tmp_path / "whole.asldoc"
    document.save(path)
    for name, array in open_document_file(path).arrays.items():
        assert array.shape == open_document_file(saved).arrays[name].shape
    document.close()


def test_a_template_that_prints_the_date(saved: Path, llm: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was saved yesterday goes on with yesterday's."""
    from asl_llamacpp.documents import chat_prompt

    monkeypatch.setattr(chat_prompt.Frame, "head", lambda self, llm: [1, 5, 6])
    document = llm.open_document(saved)
    assert document.ask(OTHER, max_tokens=2).report.reused == len(document.tokens)
    document.close()


def test_stock_llama_cpp_takes_the_text(saved: Path, gemma_path: Path) -> None:
    """Its context has other settings, but it has no use for the state."""
    llm = load(kv_policy="full", n_ctx=1024)
    document = llm.open_document(saved)
    assert document.text == TEXT.strip() and document.state is None
    want = load(kv_policy="full", n_ctx=1024).read(text=TEXT).ask(QUESTION, max_tokens=4)
    assert document.ask(QUESTION, max_tokens=4).text == want.text != ""


@pytest.mark.parametrize("policy", ["gemfilter", "asl-2pass:window=16"], ids=["gemfilter", "asl-2pass"])
def test_two_passes_that_are_not_needed(saved: Path, policy: str) -> None:
    """The prompt fits select_k: nothing is dropped from the layers that come from the file."""
    n_ubatch = len(open_document_file(saved).arrays["tokens"])
    options = {"kv_policy": policy, "n_ctx": 1024, "n_batch": 1024, "n_ubatch": n_ubatch}
    llm = load(**options)
    answer = llm.open_document(saved).ask(OTHER, max_tokens=4)
    want = load(**options).read(text=TEXT).ask(OTHER, max_tokens=4)
    assert answer.report.reused == n_ubatch and answer.report.selection_layer is None
    assert answer.text == want.text and answer.report.cells == want.report.cells


def test_a_document_that_was_kept_whole(tmp_path: Path) -> None:
    path = tmp_path / "whole.asldoc"
    llm = load(kv_policy="asl", n_ctx=1024)
    document = llm.read(text=TEXT)
    document.ask(QUESTION, max_tokens=1)
    document.save(path)
    assert "hidden" not in open_document_file(path).arrays
    again = load(kv_policy="asl", n_ctx=1024).open_document(path)
    answer = again.ask(OTHER, max_tokens=4)
    assert answer.report.reused > 0
    assert answer.text == document.ask(OTHER, max_tokens=4).text


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"type_k": 8, "type_v": 8}, "context settings"),
        ({"rope_freq_base": 5e5}, "context settings"),
        ({"swa_full": False}, "context settings"),
    ],
)
def test_another_context_is_refused(saved: Path, settings: dict[str, Any], what: str) -> None:
    other = load(kv_policy=POLICY, n_ctx=1024, **settings)
    with pytest.raises(DocumentMismatchError, match=what):
        other.open_document(saved)
    assert other.documents == []
    other.read(text=TEXT).ask(QUESTION, max_tokens=1)


def test_another_model_is_refused(saved: Path, gemma_path: Path) -> None:
    with pytest.raises(DocumentMismatchError, match="model"):
        load(gemma_path, kv_policy="full").open_document(saved)


@pytest.mark.parametrize("name", ["model", "tokenizer", "chat template", "build", "adapter"])
def test_every_part_of_the_fingerprint_counts(saved: Path, tmp_path: Path, llm: Llama, name: str) -> None:
    file = open_document_file(saved)
    path = tmp_path / "other.asldoc"
    write_document_file(
        path, {**file.header, "fingerprint": {**file.header["fingerprint"], name: "another"}}, file.arrays
    )
    with pytest.raises(DocumentMismatchError, match=name):
        llm.open_document(path)


def damaged(saved: Path) -> dict[str, bytes]:
    data = saved.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 4
    return {"truncated": data[:-100], "cut in half": data[: len(data) // 2], "flipped": bytes(flipped), "empty": b"",
            "no such file": b"GGUF" + data[4:]}  # fmt: skip


@pytest.mark.parametrize("how", ["truncated", "cut in half", "flipped", "empty", "no such file"])
def test_damage_is_refused(saved: Path, tmp_path: Path, llm: Llama, how: str) -> None:
    path = tmp_path / "damaged.asldoc"
    path.write_bytes(damaged(saved)[how])
    with pytest.raises(DocumentFileError, match=r"damaged\.asldoc"):
        llm.open_document(path)
    assert llm.documents == []


@pytest.mark.parametrize(
    "change",
    [
        lambda header, arrays: header.pop("parts"),
        lambda header, arrays: header.update(first=[0]),
        lambda header, arrays: header.update(first=header["first"] * 3),
        lambda header, arrays: header.update(fingerprint=None),
        lambda header, arrays: header.update(n_head=1),
        lambda header, arrays: header.update(sources=[]),
        lambda header, arrays: arrays.pop("hidden"),
        lambda header, arrays: arrays.pop("k.3"),
        lambda header, arrays: arrays.update(tokens=np.zeros(7, dtype=np.int32)),
        lambda header, arrays: arrays.update(tokens=arrays["tokens"] + 10**6),
        lambda header, arrays: arrays.update({"k.3": arrays["k.3"][:-1]}),
        lambda header, arrays: arrays.update({"k.3": arrays["k.3"][:, :-2]}),
        lambda header, arrays: arrays.update(hidden=arrays["hidden"][:, 1:]),
    ],
)
def test_what_another_program_might_write_is_refused(saved: Path, tmp_path: Path, llm: Llama, change: Any) -> None:
    """Whole files with wrong contents: an error when they are opened, and nothing is left behind."""
    file = open_document_file(saved)
    header, arrays = dict(file.header), dict(file.arrays)
    change(header, arrays)
    path = tmp_path / "odd.asldoc"
    write_document_file(path, header, arrays)
    with pytest.raises(DocumentFileError, match=r"odd\.asldoc"):
        llm.open_document(path)
    assert llm.documents == []


def test_missing_files(llm: Llama, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        llm.open_document(tmp_path / "nowhere.asldoc")
    document = llm.read(text=TEXT)
    with pytest.raises(OSError, match="nowhere"):
        document.save(tmp_path / "nowhere" / "x.asldoc")
    document.close()


@pytest.mark.slow
def test_a_killed_save_leaves_the_old_file_whole(saved: Path, tmp_path: Path, llm: Llama) -> None:
    path = tmp_path / "kept.asldoc"
    path.write_bytes(saved.read_bytes())
    code = (
        f"d = load_narrow(kv_policy={POLICY!r}, n_ctx=1024).open_document({str(saved)!r})\n"
        f"print('ready', flush=True)\nwhile True: d.save({str(path)!r})\n"
    )
    for wait in (0.0, 0.003, 0.01, 0.03):
        process = subprocess.Popen(**python(code), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
        document = llm.open_document(path)
        assert isinstance(document, Document) and document.text == TEXT.strip()
        document.close()
