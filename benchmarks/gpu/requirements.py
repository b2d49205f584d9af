"""Prints what a machine without network must bring along: dependencies of the package, of tests and of pictures."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
BUILT_HERE = "llama-cpp-python"
FROM_IT = ["diskcache", "jinja2", "typing-extensions"]
"""Its own dependencies; it is built without network."""

EXTRA = ["matplotlib", "pytest", "hypothesis", "psutil", "scikit-build-core", "ninja"]


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = [requirement for requirement in project["dependencies"] if not requirement.startswith(BUILT_HERE)]
    print("\n".join([*own, *FROM_IT, *EXTRA]))


if __name__ == "__main__":
    main()
