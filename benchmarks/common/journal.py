"""Keeps what was measured so far, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "build" / "benchmarks"


class Journal:
    """One line of JSON for each measurement, in build/benchmarks/KIND-NAME.jsonl.

    conditions  whatever the measurements depend on: those made under other conditions are not used
    fresh       forget what an earlier run left
    """

    def __init__(self, kind: str, name: str, conditions: dict[str, Any], fresh: bool) -> None:
        self.path = FOLDER / f"{kind}-{name}.jsonl"
        self.conditions = hashlib.sha256(json.dumps(conditions, sort_keys=True).encode()).hexdigest()[:16]
        self.known: dict[str, Any] = {}
        FOLDER.mkdir(parents=True, exist_ok=True)
        if fresh:
            self.path.unlink(missing_ok=True)
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:  # the line that was being written when the run was stopped
                continue
            if entry["conditions"] == self.conditions:
                self.known[entry["key"]] = entry["value"]

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        """What is known under `key`, or `measure()`, which is then known."""
        if key not in self.known:
            value = measure()
            line = json.dumps({"conditions": self.conditions, "key": key, "value": value})
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            self.known[key] = value
        return self.known[key]
