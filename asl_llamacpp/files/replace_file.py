"""Writing a file so that its path always holds one whole content: the old one until the new one is on the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import xxhash

SUFFIX = ".asldoc-part"

_OPEN_FILES_MOVE = os.name != "nt"
"""Whether a file can be renamed and removed while it is open, and so while its lock is held."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file to write, which takes the place of `path` when the block ends, and is removed if the block fails.

    It lies beside `path` until then. What killed writers of the same path left there is removed first. A file that is
    replaced hands its permissions on; what is mapped or open of it stays as it was. Links are followed.

    Raises:
        FileExistsError: a folder or a device is in the place.
        OSError: from the system, as for a full disk, naming `path`.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = _mode(target)
        # a hash, as a name that is almost too long for the file system has no room for more
        begin = f".{xxhash.xxh3_64_hexdigest(os.fsencode(target.name))}-"
        _remove_abandoned(target.parent, begin)
        part, file = _new_part(target.parent, begin)
        try:
            with file:
                yield file
                file.flush()
                if mode is not None:
                    part.chmod(mode)
                os.fsync(file.fileno())
                if _OPEN_FILES_MOVE:
                    os.replace(part, target)
            if not _OPEN_FILES_MOVE:
                os.replace(part, target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        if error.errno is None:
            raise
        # with the name that the caller knows, not that of the part
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _mode(target: Path) -> int | None:
    """Permissions of the file to be replaced; None: there is none."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise FileExistsError(errno.EEXIST, "there is a folder or a device in the place of the file")
    return stat.S_IMODE(mode)


def _new_part(folder: Path, begin: str) -> tuple[Path, BinaryIO]:
    """A new empty file, locked as long as it is open: the lock tells others that its writer lives."""
    while True:
        part = folder / f"{begin}{secrets.token_hex(8)}{SUFFIX}"
        file = part.open("xb")
        _lock(file)  # or there are no locks here: then nobody else gets one to remove it either
        if os.fstat(file.fileno()).st_nlink:
            return part, file
        file.close()  # another writer cleaned up between open and lock


def _remove_abandoned(folder: Path, begin: str) -> None:
    """Remove the parts whose writer is gone. Not by process id: it means nothing across containers and reboots."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if name.startswith(begin) and name.endswith(SUFFIX):
                _remove_if_unlocked(folder / name)


def _remove_if_unlocked(part: Path) -> None:
    with contextlib.suppress(OSError):
        with part.open("r+b") as file:
            if not _lock(file, wait=False):
                return
            if _OPEN_FILES_MOVE:
                part.unlink()
        if not _OPEN_FILES_MOVE:
            part.unlink()  # which fails there while a writer has it open


def _lock(file: BinaryIO, wait: bool = True) -> bool:
    """Lock a file as long as it is open; False: somebody has, or there are no locks here."""
    import portalocker  # here, as it takes longer than all else that a command imports before it saves something

    flags = portalocker.LockFlags.EXCLUSIVE
    try:
        portalocker.lock(file, flags if wait else flags | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.LockException:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk, where the platform can: else a power cut may bring the old file back, whole."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
