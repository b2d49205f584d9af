"""Draws architecture.svg: the package's wings by their real imports, and the way of a prompt through them.

python docs/draw_architecture.py
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "asl_llamacpp"
PICTURE = HERE / "architecture.svg"

Imports = dict[str, set[str]]
"""By wing, those that it imports."""


@dataclass(frozen=True)
class Step:
    """One step of a prompt's way: in which wing, and what happens there."""

    wing: str
    text: str


DOWN = (
    Step("cli", "a file and a question come in"),
    Step("sources", "the file becomes text, with pages and sections"),
    Step("llama", "tokens are counted, a context is fitted, the model is opened"),
    Step("documents", "the document in its chat template becomes the prompt's tokens"),
    Step("llama", "a long prompt is not evaluated as llama-cpp-python would"),
    Step("store", "does it begin with a document that is known?"),
    Step("budget", "the KV that it will take is planned before any work"),
    Step("prefill", "layers are run one after another over the whole prompt"),
    Step("engine", "a layer runs; the attention of the last 32 tokens comes back as scores"),
)
UP = (
    Step("selection", "tokens are ranked; have the ranks settled? Which tokens go on?"),
    Step("engine", "the deeper layers run on those tokens, and cache nothing else"),
    Step("prefill", "a report says what was pruned, and why there"),
    Step("store", "the document's state is kept for the next question"),
    Step("llama", "the answer is decoded, token by token"),
    Step("documents", "tokens that were kept become passages: the evidence"),
    Step("cli", "answer and evidence are printed"),
)

# ---- what there is --------------------------------------------------------------------------------------------------


def wings() -> list[str]:
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def imports() -> Imports:
    """Which wings each wing imports, anywhere in its modules."""
    found: Imports = {wing: set() for wing in wings()}
    for wing, others in found.items():
        for path in (PACKAGE / wing).rglob("*.py"):
            place = path.relative_to(PACKAGE).parts
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.level:
                    module = [*place[: -node.level], *(node.module or "").split(".")]
                    named = [part for part in module if part][:1] or [alias.name for alias in node.names]
                    others |= {name for name in named if name in found and name != wing}
    return found


def floors(graph: Imports) -> list[list[str]]:
    """The wings from the lowest floor up: each stands on the highest one that it imports."""
    floor: dict[str, int] = {}

    def of(wing: str, above: tuple[str, ...] = ()) -> int:
        if wing in above:
            raise ValueError(f"wings import each other in a loop: {', '.join([*above, wing])}")
        if wing not in floor:
            floor[wing] = 1 + max((of(other, (*above, wing)) for other in graph[wing]), default=-1)
        return floor[wing]

    return [sorted(wing for wing in graph if of(wing) == i) for i in range(1 + max(map(of, graph)))]


def direct(graph: Imports) -> Iterator[tuple[str, str]]:
    """Imports that do not follow from others."""

    def reached(wing: str) -> set[str]:
        return graph[wing] | {far for other in graph[wing] for far in reached(other)}

    for wing, others in sorted(graph.items()):
        indirect = {far for other in others for far in reached(other)}
        yield from ((wing, other) for other in sorted(others - indirect))


# ---- the picture ----------------------------------------------------------------------------------------------------

WIDTH, MIDDLE, ROW, TOP = 1250, 550, 88, 64
BOX, GAP, HEIGHT = 124, 18, 40
TEXT_LEFT, TEXT_RIGHT, LINE = 40, 936, 38
LANES = {"selection": -1, "policies": -1, "budget": -1, "files": 1, "evals": 1, "sources": 2}
"""Where boxes stand beside the middle lane, 0; a new wing takes the first lane that is free on its floor."""
INK, GREY, PALE, BLUE, GREEN = "#202124", "#9aa0a6", "#f1f3f4", "#1a73e8", "#188038"

Places = dict[str, tuple[float, float]]
"""The middle of each wing's box."""


def places(rows: list[list[str]]) -> Places:
    found = {}
    for i, row in enumerate(reversed(rows)):
        taken: set[int] = set()
        for wing in sorted(row, key=lambda wing: (wing not in LANES, wing)):
            free = (lane for lane in (LANES.get(wing, 0), 0, 1, -1, 2, *range(3, 99)) if lane not in taken)
            lane = next(free)
            taken.add(lane)
            found[wing] = (MIDDLE + lane * (BOX + GAP), TOP + i * ROW + HEIGHT / 2)
    return found


def line(upper: tuple[float, float], lower: tuple[float, float]) -> str:
    """From the bottom of a box to the top of another; from its side where boxes may lie between them."""
    (x, y), (below_x, below_y) = upper, lower
    end = below_y - HEIGHT / 2
    if below_y - y > ROW and below_x != x:
        side = x + (BOX / 2 if below_x > x else -BOX / 2)
        path = f"M{side:g} {y:g} C{below_x:g} {y:g} {below_x:g} {y:g} {below_x:g} {y + ROW:g} V{end:g}"
    else:
        begin = y + HEIGHT / 2
        bend = (end - begin) / 2
        path = f"M{x:g} {begin:g} C{x:g} {begin + bend:g} {below_x:g} {end - bend:g} {below_x:g} {end:g}"
    return f'<path d="{path}" fill="none" stroke="{GREY}" stroke-width="1.4"/>'


def wrapped(text: str) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) + 1 > LINE:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def text(
    x: float, y: float, content: str, size: int = 13, color: str = INK, anchor: str = "start", weight: str = "normal"
) -> str:
    style = f'font-size="{size}" fill="{color}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x:g}" y="{y:g}" {style}>{escape(content)}</text>'


def badge(x: float, y: float, number: int, color: str) -> str:
    circle = f'<circle cx="{x:g}" cy="{y:g}" r="10" fill="{color}"/>'
    return circle + text(x, y + 4, str(number), 11, "#ffffff", "middle", "bold")


def way(steps: tuple[Step, ...], first: int, at: Places, x: float, color: str) -> Iterator[str]:
    """Numbered texts beside the floors; the same numbers are on the boxes. Several of a floor lie one below another."""
    taken: dict[float, int] = {}
    side = -1 if color == BLUE else 1
    on_box: dict[str, int] = {}
    for number, step in enumerate(steps, start=first):
        box_x, y = at[step.wing]
        lines = wrapped(step.text)
        top = y - 18 + 40 * taken.get(y, 0)
        taken[y] = taken.get(y, 0) + 1
        yield badge(x, top + 8, number, color)
        yield from (text(x + 18, top + 12 + 16 * i, line) for i, line in enumerate(lines))
        yield badge(box_x + side * (BOX / 2 - 6 - 24 * on_box.get(step.wing, 0)), y - HEIGHT / 2, number, color)
        on_box[step.wing] = on_box.get(step.wing, 0) + 1


def draw() -> str:
    """The picture as SVG."""
    graph = imports()
    rows = floors(graph)
    at = places(rows)
    height = TOP + len(rows) * ROW + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="Helvetica, Arial, DejaVu Sans, sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(TEXT_LEFT - 10, 32, "down: the prompt", 15, BLUE, weight="bold"),
        text(TEXT_RIGHT - 10, 32, "up: the answer", 15, GREEN, weight="bold"),
        text(MIDDLE, 32, "a line: imports, always downwards", 13, GREY, "middle"),
    ]
    parts += [line(at[upper], at[lower]) for upper, lower in direct(graph)]
    for wing, (x, y) in sorted(at.items()):
        parts.append(
            f'<rect x="{x - BOX / 2:g}" y="{y - HEIGHT / 2:g}" width="{BOX}" height="{HEIGHT}" rx="8" '
            f'fill="{PALE}" stroke="{INK}"/>'
        )
        parts.append(text(x, y + 5, wing, 15, anchor="middle", weight="bold"))
    parts += way(DOWN, 1, at, TEXT_LEFT, BLUE)
    parts += way(UP, len(DOWN) + 1, at, TEXT_RIGHT, GREEN)
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
