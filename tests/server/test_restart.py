"""What is there after a kill: documents and states, so that the next question costs reading a file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from llama_fixtures import PRUNE, narrow_path
from places import ROOT
from served import TEXT, Served, served

from asl_llamacpp.server.states import States

QUESTION = "What is the pass key?"


@contextmanager
def process(folder: Path) -> Iterator[tuple[Served, subprocess.Popen[str]]]:
    """`asl-llamacpp serve` as a process of its own, which is killed at the end."""
    command = [sys.executable, "-m", "asl_llamacpp.cli", "serve", "-m", str(narrow_path()), "--port", "0"]
    command += ["--folder", str(folder), "--policy", PRUNE, "--n-ctx", "2048", "--threads", "1", "--ubatch", "160"]
    started = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "ASL_API_KEY": ""}
    )
    try:
        assert started.stderr is not None
        line = started.stderr.readline()
        url = line.partition(" at ")[2].split()[0]
        with httpx.Client(base_url=url, timeout=120) as http:
            yield Served(url, None, http, None), started  # type: ignore[arg-type]
    finally:
        started.kill()
        started.wait()


@pytest.mark.slow
def test_after_kill_9_the_next_question_costs_reading_a_file(tmp_path: Path) -> None:
    with process(tmp_path) as (server, running):
        document = server.upload()["id"]
        first = server.ask(QUESTION, document).json()
        assert first["timings"]["cache_n"] == 0
        server.when_kept(document)
        # one more is being prefilled when the kill comes
        other = server.upload(TEXT + TEXT[50:], "longer.txt")["id"]
        body = {"messages": [{"role": "user", "content": QUESTION}], "documents": [other], "stream": True}
        with server.http.stream("POST", "/v1/chat/completions", json=body | {"return_progress": True}) as answer:
            told = answer.iter_lines()  # as long as it is there, so is the client
            while '"layer":' not in next(told):
                pass
            running.kill()
            running.wait()
    with process(tmp_path) as (server, _):
        assert {found["id"] for found in server.http.get("/v1/documents").json()["data"]} == {document, other}
        again = server.ask(QUESTION, document).json()
        assert again["timings"]["cache_n"] > 700 and again["pruning"]["reused_layers"] == first["pruning"]["layer"] + 1
        assert {(s["start"], s["end"]) for s in again["evidence"]} == {
            (s["start"], s["end"]) for s in first["evidence"]
        }
        assert server.ask(QUESTION, other).json()["timings"]["cache_n"] == 0


def test_what_a_kill_left_half_is_removed_and_what_was_not_read_is_read(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        document = server.upload()["id"]
    half = tmp_path / "documents" / "doc-half"
    half.mkdir()
    (half / "original").write_bytes(b"half")
    record = tmp_path / "documents" / document / "record.json"
    record.write_text(record.read_text().replace('"ready"', '"reading"'))
    (record.parent / "source.json").unlink()
    with served(tmp_path) as server:
        assert server.when_read(document)["status"] == "ready"
        assert server.http.get(f"/v1/documents/{document}/text").json()["text"] == TEXT
        assert not half.exists()


def test_a_state_of_another_model_or_a_damaged_one_is_not_used(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        document = server.upload()["id"]
        expected = server.ask(QUESTION, document).json()
        server.when_kept(document)
        [file] = (tmp_path / "states").rglob("*.asldoc")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with served(tmp_path) as server:
        found = server.ask(QUESTION, document).json()
        assert found["timings"]["cache_n"] == 0
        assert [span["start"] for span in found["evidence"]] == [span["start"] for span in expected["evidence"]]
    with served(tmp_path, options={"type_k": 8, "type_v": 8}) as server:
        assert server.when_read(document)["state"] == "none"


def test_the_states_used_least_recently_go_first(tmp_path: Path) -> None:
    states = States(tmp_path, 1000, lambda: 300)
    states.use("m")
    for i, name in enumerate(("a", "b", "a+c", "d")):
        states.path([name]).write_bytes(b"x" * 300)
        os.utime(states.path([name]), (i, i))
    states.touch(["b"])
    states.trim()
    assert {path.name for path in (tmp_path / "m").iterdir()} == {"b.asldoc", "d.asldoc"}
    states.path(["a", "d"]).write_bytes(b"x")
    states.drop("d")
    assert states.has(["b"]) and not states.has(["d"]) and not states.has(["a", "d"])
    assert States(tmp_path, 100, lambda: 300).room() == 0
