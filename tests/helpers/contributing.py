"""The files that CONTRIBUTING.md shows, added to the package for as long as a test lasts, as they stand there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from places import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
_FILE = r"^One file, `{}`[^\n]*\n\n```python\n(.*?)^```"


def code(path: str) -> str:
    """What the page shows of a file, by its path from the repository's root."""
    found = re.search(_FILE.format(re.escape(path)), PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"CONTRIBUTING.md shows no {path}"
    return found[1]


@contextmanager
def added(package: ModuleType, path: str, folder: Path) -> Iterator[str]:
    """The name of the module, in a `folder` that `package` looks into too."""
    file = folder / Path(path).name
    file.write_text(code(path), encoding="utf-8")
    before = dict(vars(package))
    package.__path__.append(str(folder))
    try:
        yield file.stem
    finally:
        package.__path__.remove(str(folder))
        sys.modules.pop(f"{package.__name__}.{file.stem}", None)
        for name in vars(package).keys() - before.keys():
            delattr(package, name)
