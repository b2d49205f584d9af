"""Get the pinned llama.cpp source and apply the patch series to it.

    python vendor/fetch.py --to DIR                 the patched source
    python vendor/fetch.py --to DIR --no-patch      the source as released
    python vendor/fetch.py --sdist DIR              only the checked release file
    python vendor/fetch.py --pack FILE.tar.xz       only what is needed of it, in a twentieth of the size; prints its
                                                    checksum for the pin

The release comes from the package index through pip, and stays beside DIR, or is the file that the environment
variable ASL_LLAMA_CPP_SDIST names, packed or not (no network is used then). A second run with nothing changed does
nothing; a run after a change writes only files whose content differs, so that builds stay incremental.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import apply_patch

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # scikit-build-core, which runs this, depends on it there

HERE = Path(__file__).resolve().parent
SDIST_VARIABLE = "ASL_LLAMA_CPP_SDIST"
STAMP = ".fetched"


class FetchError(RuntimeError):
    """The source cannot be had as pinned and patched; the message says why and what to do."""


@dataclass(frozen=True)
class Pin:
    """Which release, which of its folders, and which files and folders of that; see llama_cpp_pin.toml."""

    package: str
    version: str
    sdist: str
    sha256: str
    folder: str
    wanted: list[str]
    contents_sha256: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description="Get the pinned llama.cpp source, patched.")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--to", type=Path, metavar="DIR", help="folder for the source")
    target.add_argument("--sdist", type=Path, metavar="DIR", help="only put the checked release file there")
    target.add_argument("--pack", type=Path, metavar="FILE", help="only the needed part of the release, as .tar.xz")
    parser.add_argument("--no-patch", action="store_true", help="leave the source as released")
    parser.add_argument("--patches", type=Path, metavar="DIR", default=HERE.parent / "patches")
    parser.add_argument("--pin", type=Path, metavar="FILE", default=HERE / "llama_cpp_pin.toml")
    options = parser.parse_args()
    try:
        pin = Pin(**tomllib.loads(options.pin.read_text(encoding="utf-8")))
        if options.sdist:
            copy_sdist(pin, options.sdist)
        elif options.pack:
            pack(pin, options.pack)
        else:
            series = [] if options.no_patch else sorted(options.patches.glob("*.patch"))
            fetch(pin, options.pin, series, options.to)
    except FetchError as error:
        sys.exit(f"error: {error}")


def fetch(pin: Pin, pin_file: Path, patches: list[Path], to: Path) -> None:
    """Bring `to` to the pinned source with `patches` applied in the order given."""
    stamp = to / STAMP
    wanted_stamp = _digest([pin_file, *sorted(HERE.glob("*.py")), *patches])
    if stamp.is_file() and stamp.read_text() == wanted_stamp:
        return
    files = _unpack(checked_sdist(pin, to.parent), pin)
    for patch in patches:
        try:
            apply_patch.apply(patch.read_bytes(), files)
        except apply_patch.PatchError as error:
            raise FetchError(
                f"{patch.name} does not apply to llama.cpp of {pin.package} {pin.version}: {error}. "
                f"To refresh it: see patches/README.md (the source without patches: "
                f"python vendor/fetch.py --no-patch --to DIR)"
            ) from None
    stamp.unlink(missing_ok=True)
    written = _sync(files, to)
    stamp.write_text(wanted_stamp)
    release = f"llama.cpp of {pin.package} {pin.version}"
    print(f"{release}, patches applied: {len(patches)}, files written: {written}", flush=True)


def checked_sdist(pin: Pin, kept_in: Path) -> Path:
    """The release file with its checksum verified: the user's, or the one in `kept_in`, new if need be."""
    offline = os.environ.get(SDIST_VARIABLE)
    if offline:
        path = Path(offline).expanduser().resolve()
        if not path.is_file():
            raise FetchError(f"{SDIST_VARIABLE}={offline}: there is no file {path}; it must be {pin.sdist}")
        _check(path, pin, f"{SDIST_VARIABLE} names another file than the pinned release")
        return path
    path = kept_in.resolve() / pin.sdist
    if not path.is_file() or _digest([path]) != pin.sha256:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            downloaded = _download(pin, Path(folder))
            _check(downloaded, pin, "the package index served another file than the pinned release")
            downloaded.replace(path)
    return path


def copy_sdist(pin: Pin, folder: Path) -> None:
    """Make `folder` hold the checked release file, wherever it comes from."""
    path = checked_sdist(pin, folder)
    kept = folder.resolve() / pin.sdist
    if path != kept and not (kept.is_file() and _digest([kept]) == pin.sha256):
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept)


def pack(pin: Pin, to: Path) -> None:
    """Write the wanted files of the release alone, under the names that they have in it."""
    files = _unpack(checked_sdist(pin, to.parent), pin)
    to.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(to, "w:xz") as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(f"{to.name.partition('.tar')[0]}/{pin.folder}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    print(f'contents_sha256 = "{contents_digest(files)}"', flush=True)


def _is_packed(path: Path, pin: Pin) -> bool:
    """Whether it is what `pack` made of the pinned release."""
    return path.name.endswith(".tar.xz") and contents_digest(_unpack(path, pin)) == pin.contents_sha256


def contents_digest(files: dict[str, bytes]) -> str:
    """sha256 over names and contents."""
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()


def _check(path: Path, pin: Pin, meaning: str) -> None:
    if _is_packed(path, pin):
        return
    found = _digest([path])
    if found != pin.sha256:
        raise FetchError(
            f"wrong checksum: {path.name} has sha256 {found}, the pin for {pin.package} {pin.version} is "
            f"{pin.sha256}: {meaning}, or it was cut short"
        )


def _download(pin: Pin, folder: Path) -> Path:
    print(f"fetching {pin.sdist} with pip (once; about 75 MB)", flush=True)
    release = f"{pin.package}=={pin.version}"
    # pip reads the metadata of what it downloads; the backend that this takes is ours too, so it is there
    arguments = ["download", "--quiet", "--no-deps", "--no-build-isolation", "--no-binary", pin.package]
    pip = [sys.executable, "-m", "pip", *arguments, "--dest", str(folder), release]
    result = subprocess.run(pip, stderr=subprocess.PIPE, text=True, check=False)
    path = folder / pin.sdist
    if result.returncode or not path.is_file():
        complaints = [line for line in result.stderr.splitlines() if line.strip()]
        errors = [line for line in complaints if line.startswith("ERROR")] or complaints[-1:]
        reason = errors[-1] if errors else f"pip made no {pin.sdist}"
        raise FetchError(
            f"could not download {release} ({reason}). To build without network, get {pin.sdist} elsewhere "
            f"(pip download --no-deps --no-binary :all: {release}) and set {SDIST_VARIABLE} to its path"
        )
    return path


def _unpack(sdist: Path, pin: Pin) -> dict[str, bytes]:
    """Read the wanted files of the release: path below `pin.folder` -> content."""
    files: dict[str, bytes] = {}
    missing = set(pin.wanted)
    with tarfile.open(sdist) as archive:
        for member in archive:
            inside = member.name.partition("/")[2]
            path = inside.removeprefix(pin.folder + "/")
            wanted = next((part for part in pin.wanted if f"{path}/".startswith(f"{part}/")), None)
            if member.isfile() and path != inside and wanted is not None:
                stream = archive.extractfile(member)
                assert stream is not None  # it is a regular file
                files[path] = stream.read()
                missing.discard(wanted)
    if missing:
        raise FetchError(f"{sdist.name} holds no {pin.folder}/{sorted(missing)[0]}: the pin is wrong")
    return files


def _sync(files: dict[str, bytes], to: Path) -> int:
    """Make folder `to` hold exactly `files`, and count those written; a file that is right is not touched."""
    for path in to.rglob("*"):
        if path.is_file() and path.relative_to(to).as_posix() not in files:
            path.unlink()
    written = 0
    for name, content in files.items():
        path = to / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            written += 1
    return written


def _digest(paths: list[Path]) -> str:
    """sha256 over the files; over names and contents where there are several."""
    total = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        if len(paths) > 1:
            total.update(f"{path.name} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()


if __name__ == "__main__":
    main()
