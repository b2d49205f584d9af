"""A document's text with all that its reader found, in two files: JSON, and the places of its characters."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..files.replace_file import replacing
from ..sources import Source
from ..sources.source_frames import fields_of, source_of

TEXT, PLACES = "source.json", "places.npy"


def keep_source(folder: Path, source: Source) -> None:
    """Raises OSError if it cannot be written."""
    if source.char_rects is not None:
        places = io.BytesIO()
        np.save(places, source.char_rects, allow_pickle=False)
        _write(folder / PLACES, places.getvalue())
    _write(folder / TEXT, json.dumps(fields_of(source)).encode())


def kept_source(folder: Path) -> Source:
    """What `keep_source` wrote there; the places are mapped, not read. OSError if it is gone."""
    values: dict[str, Any] = json.loads((folder / TEXT).read_bytes())
    places = folder / PLACES
    return source_of(values, np.load(places, mmap_mode="r", allow_pickle=False) if places.exists() else None)


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)
