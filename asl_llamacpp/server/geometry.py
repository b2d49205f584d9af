"""Where the text of a document stands on its pages, for formats that have pages with pictures."""

from __future__ import annotations

from typing import Any, Protocol


class Geometry(Protocol):
    """Of one document."""

    def rects(self, start: int, end: int) -> list[dict[str, Any]]:
        """The lines of characters [start, end): {"page", "rect": [x0, y0, x1, y1]}, points from the top left."""
