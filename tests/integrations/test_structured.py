"""instructor through the server, where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import BaseModel
from served import served


class Count(BaseModel):
    n: bool


def test_instructor(tmp_path: Path) -> None:
    instructor: Any = pytest.importorskip("instructor")
    with served(tmp_path, options={"n_ctx": 1024}) as server:
        client = instructor.from_openai(
            openai.OpenAI(base_url=f"{server.url}/v1", api_key="none"), mode=instructor.Mode.JSON_SCHEMA
        )
        found = client.chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": "Is it raining?"}],
            response_model=Count,
            max_tokens=40,
            temperature=0,
            max_retries=0,
        )
        assert isinstance(found.n, bool)
