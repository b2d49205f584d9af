"""Requests that nobody would send, made from the server's own OpenAPI document: each gets an answer, and none a 5xx."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from served import TEXT, served

EXAMPLES = os.environ.get("ASL_FUZZ_EXAMPLES", "2")
"""Requests of each kind."""


@pytest.mark.slow
def test_no_request_is_answered_with_a_server_error(tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    limits = {"max_body": 100_000, "max_upload": 100_000, "max_tokens": 4, "max_documents": 20}
    with served(tmp_path / "folder", options={"n_ctx": 256}, **limits) as server:
        document = server.upload(TEXT[:300])["id"]
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "-n", EXAMPLES]
        command += [
            "--checks",
            "not_a_server_error",
            "--phases",
            "fuzzing",
            "--seed",
            "1",
            "--generation-database",
            "none",
        ]
        command += ["--request-timeout", "60", "--workers", "1", "--no-color"]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
        assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
        assert server.house.worker.status == "ok"
        assert server.http.get("/health").json()["status"] == "ok"
        if server.http.get(f"/v1/documents/{document}").status_code == 200:
            assert server.ask("What is the pass key?", document).status_code == 200
        again = server.upload(TEXT[:300] + "again")["id"]
        assert server.ask("What is the pass key?", again).status_code == 200
