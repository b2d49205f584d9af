"""Script: the sanitized drivers on every tiny model and layout; exits with 1 if one of them found something.

python run.py FOLDER [STEPS]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "helpers"))

from tiny_models import TINY_MODELS, write  # isort: skip

MODELS = ["tiny-llama", "tiny-gemma2", "tiny-gpt-oss"]
N_LAYOUTS = 6
TIMEOUT = 300  # seconds for one driver


def failed(*command: str) -> bool:
    """Run one driver; what it wrote is shown."""
    start = time.monotonic()
    try:
        status = subprocess.run(command, check=False, timeout=TIMEOUT).returncode
    except subprocess.TimeoutExpired:
        status = None
    name = " ".join([Path(command[0]).name, Path(command[1]).stem, *command[2:]])
    print(
        f"{name}: {'ok' if status == 0 else f'FAILED, status {status}'}, {time.monotonic() - start:.1f} s", flush=True
    )
    return status != 0


def main(folder: str, steps: str = "500") -> None:
    with tempfile.TemporaryDirectory() as temporary:
        failures = 0
        for name in MODELS:
            model = str(write(TINY_MODELS[name], Path(temporary) / f"{name}.gguf"))
            for layout in map(str, range(N_LAYOUTS)):
                failures += failed(f"{folder}/states", model, layout)
                failures += failed(f"{folder}/fuzz", model, layout, steps)
    sys.exit(min(failures, 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
