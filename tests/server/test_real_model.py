"""A person's question to a real model over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest
from served import served

TEXT = (
    "The river runs past the old mill. A lantern hangs over the door of the inn.\n\n"
    + "Nobody expects rain in June, and the miller sleeps until noon. " * 12
    + "\n\nThe pass key of the vault is 48213. Remember it: 48213 is the pass key.\n\n"
    + "The baker sings in the morning; his bread is famous in all the valley. " * 10
)


@pytest.mark.slow
def test_the_answer_is_right_and_its_first_passage_says_so(tmp_path: Path, smollm2_path: Path) -> None:
    with served(tmp_path, smollm2_path, policy="asl:layer=14,select_k=160,window=16") as server:
        document = server.upload(TEXT, "valley.txt")["id"]
        answer = server.ask("What is the pass key of the vault?", document, max_tokens=24).json()
        assert "48213" in answer["choices"][0]["message"]["content"]
        assert any("48213" in span["text"] for span in answer["evidence"][:3])
