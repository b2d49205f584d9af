"""Tables of what was counted."""

from __future__ import annotations

import math
import statistics
from typing import Any

PHASES = {"prefill": "prefill, to the first token", "question": "the next question", "decode": "256 tokens of answer"}
STOCK = "llama.cpp"
Row = dict[str, Any]


def medians(found: list[Row]) -> list[Row]:
    """One row for each policy, length and ubatch: what is counted is the same in all rounds, seconds are medians."""
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in found:
        groups.setdefault((row["n"], row["n_ubatch"], row["policy"]), []).append(row)
    rows = []
    for same in groups.values():
        row = {**same[0]}
        for phase in (phase for phase in PHASES if phase in row):
            row[phase] = {**row[phase]}
            for name in ("host_s", "wall_s"):
                row[phase][name] = statistics.median(one[phase][name] for one in same if phase in one)
        rows.append(row)
    return rows


def bytes_of(phase: Row, way: str) -> int:
    return sum(size for _, size in phase[way].values())


def line(row: Row) -> str:
    """What to say while it runs."""
    parts = [f"{phase} {row[phase]['host_s']:.3f} s" for phase in PHASES if phase in row]
    died = f", died: {row['died']}" if "died" in row else ""
    return f"{row['policy']}, n={row['n']}, ubatch {row['n_ubatch']}: {', '.join(parts)}{died}"


def size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _table(header: list[str], lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *lines])


def _stock(rows: list[Row], row: Row) -> Row:
    return next(one for one in rows if one["policy"] == STOCK and one["n"] == row["n"] and one["n_ubatch"] == 512)


def phase_table(rows: list[Row], phase: str) -> str:
    """One phase: what every contestant needed, and against llama.cpp at n_ubatch 512."""
    several = len({row["n_ubatch"] for row in rows}) > 1
    header = ["prompt", *(["ubatch"] if several else []), "policy", "runs", "graphs", "reservations"]
    header += ["synchronizations", "blocking copies", "up", "/ llama.cpp", "down", "host s", "/ llama.cpp", "a pass"]
    lines = []
    for row in rows:
        if phase not in row:
            lines.append([f"{row['n']:,}", *([str(row["n_ubatch"])] if several else []), row["policy"]])
            lines[-1] += [f"died: `{row['died']}`", *[""] * (len(header) - len(lines[-1]) - 1)]
            continue
        counted, stock = row[phase], _stock(rows, row)[phase]
        a_pass = counted["host_s"] / max(counted["passes"], 1) / stock["host_s"]
        lines.append(
            [
                f"{row['n']:,}",
                *([str(row["n_ubatch"])] if several else []),
                row["policy"],
                *(f"{counted[name]:,}" for name in ("runs", "graphs", "reservations", "synchronizations")),
                f"{counted['blocking_copies']:,}",
                size(bytes_of(counted, "up")),
                f"{bytes_of(counted, 'up') / bytes_of(stock, 'up'):.2f}",
                size(bytes_of(counted, "down")),
                f"{counted['host_s']:.3f}",
                f"{counted['host_s'] / stock['host_s']:.2f}",
                f"{a_pass:.2f}",
            ]
        )
    return _table(header, lines)


def uploads_table(rows: list[Row], n_names: int = 3) -> str:
    """What goes up in a prefill, the largest first; what the model's tensors are called."""
    lines = []
    for row in rows:
        up = sorted(row["prefill"]["up"].items(), key=lambda item: -item[1][1])[:n_names]
        parts = [f"{name} {size(n_bytes)} in {n} copies" for name, (n, n_bytes) in up]
        lines.append([f"{row['n']:,}", row["policy"], *parts, *[""] * (n_names - len(parts))])
    return _table(["prompt", "policy", "largest", "next", "third"], lines)


def memory_table(rows: list[Row]) -> str:
    """Device memory: with the model loaded, and its peaks beyond that."""
    lines = []
    for row in rows:
        loaded = row["bytes_loaded"]
        seen = [row.get(phase) for phase in PHASES]
        peaks = ["" if one is None else f"{(one['bytes_peak'] - loaded) / 2**30:.2f}" for one in seen]
        host = max(one["bytes_host_peak"] for one in seen if one is not None)
        cells = [f"{row['n']:,}", row["policy"], f"{loaded / 2**30:.2f}", *peaks, f"{host / 2**30:.2f}"]
        lines.append([*cells, str(row["prefill"]["allocations"])])
    header = ["prompt", "policy", "loaded, GiB", *(f"{phase}: peak beyond" for phase in PHASES), "pinned host memory"]
    return _table([*header, "allocations in the prefill"], lines)


def targets(rows: list[Row]) -> str:
    """What the engine is to reach with its default policy."""
    lines = []
    for row in rows:
        if row["policy"] != "asl" or row["n_ubatch"] != 512:
            continue
        stock = _stock(rows, row)
        up = bytes_of(row["prefill"], "up") / bytes_of(stock["prefill"], "up")
        limit = 1.0 if row["n"] >= 32768 else 1.2
        a_pass = row["prefill"]["host_s"] / row["prefill"]["passes"] / stock["prefill"]["host_s"]
        reservations = row["prefill"]["reservations"] / row["prefill"]["runs"]
        checks = [("bytes up / llama.cpp", up, limit), ("reservations a run", reservations, 2.0)]
        checks.append(("host seconds a pass / llama.cpp's one", a_pass, 1.1))
        if row["n"] >= 131072:
            question = row["question"]["host_s"] if "question" in row else math.inf
            checks.append(("host seconds of the next question", question, 0.3))
        for name, value, most in checks:
            lines.append([f"{row['n']:,}", name, f"{value:.2f}", f"{most:g}", "yes" if value <= most else "no"])
    return _table(["prompt", "asl", "measured", "at most", "reached"], lines)


def modelled_table(rows: list[Row]) -> str:
    """Seconds that pass on a card of assumed rates, with the host's work beside it, and how busy the card is."""
    lines = []
    for row in rows:
        cells = [f"{row['n']:,}", str(row["n_ubatch"]), row["policy"]]
        for phase in PHASES:
            if phase not in row:
                cells += ["died", "", ""]
                continue
            wall, stock = row[phase]["wall_s"], _stock(rows, row)[phase]["wall_s"]
            busy = row[phase]["seconds_computing"] / wall
            cells += [f"{wall:.2f}", f"{wall / stock:.2f}", f"{busy:.0%}"]
        lines.append(cells)
    header = ["prompt", "ubatch", "policy"]
    for title in ("first token s", "next question s", "256 tokens s"):
        header += [title, "/ llama.cpp", "card busy"]
    return _table(header, lines)


def tables(rows: list[Row], modelled: bool = False) -> str:
    if modelled:
        return modelled_table(rows)
    parts = [f"## {title[0].upper()}{title[1:]}\n\n{phase_table(rows, phase)}" for phase, title in PHASES.items()]
    parts.append(f"## What goes up\n\n{uploads_table(rows)}")
    parts.append(f"## Device memory\n\n{memory_table(rows)}")
    parts.append(f"## Targets\n\n{targets(rows)}")
    return "\n\n".join(parts)
