"""Every Python block of the README and the docs runs as a reader would run it, with the default model.

The blocks of a page run one after another in one namespace, in the folder of `reader_files`. What stands in a comment
`<!-- hidden ... -->` runs too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pages
import pytest
from places import ROOT

PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if pages.python_blocks(page)]

A_PAGE = """# A page

<!-- hidden
x = 1
-->
```python
y = x
```

```python
print(y)
raise KeyError(y)
```
"""


def run(page: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in pages.python_blocks(page):
        exec(compile(block.padded, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_of(page: Path, reader: Path) -> None:
    run(page)


def test_there_are_blocks_where_they_are_expected() -> None:
    assert {"README.md", "documents.md", "policies.md", "memory.md"} <= {page.name for page in PAGES}
    [shown] = pages.python_blocks(ROOT / "README.md")
    assert len([line for line in shown.code.splitlines() if line]) == 8


def test_a_block_that_fails_is_seen_with_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(A_PAGE)
    with pytest.raises(KeyError) as error:
        run(page)
    assert error.traceback[-1].lineno == A_PAGE.splitlines().index("raise KeyError(y)")
