"""Files that are written by one, never cut inside a row, and get their name when they are whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from datastalker.errors import OutputError


def lock(handle: IO[bytes], path: Path) -> bool:
    """Take a file for this process alone. False: another has it, or has finished it by now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(handle.fileno()), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False


class Rows:
    """An open file to which whole rows are appended."""

    def __init__(self, handle: IO[bytes]) -> None:
        self.handle = handle
        self.size = 0

    def append(self, text: str) -> None:
        """Append whole rows, or none: after a full disk the file ends at a row's end."""
        data = memoryview(text.encode("utf-8", "backslashreplace"))
        written = 0
        try:
            while written < len(data):
                written += self.handle.write(data[written:])
        except OSError:
            self.cut(self.size)
            raise
        self.size += written

    def cut(self, size: int) -> None:
        """Make the file end at `size` bytes."""
        self.handle.seek(size)
        self.handle.truncate()
        self.size = size


@contextlib.contextmanager
def made_to_last(path: Path) -> Iterator[None]:
    """What is renamed in this folder meanwhile, by one at a time, is so after a power cut too."""
    folder = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system that can't lock a folder
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
        os.fsync(folder)
    finally:
        os.close(folder)


def safe_name(kind: str, also: str = "_-") -> str:
    """A message type comes from a stage, which may have it from the air."""
    return "".join(c if c.isascii() and (c.isalnum() or c in also) else "_" for c in kind)[:64]


def refused(path: Path, error: OSError) -> OutputError:
    """The error that names path and remedy."""
    remedy = {
        errno.ENOSPC: "the disk is full: make room, then run again",
        errno.EDQUOT: "the disk quota is used up: make room, then run again",
        errno.EACCES: "no right to write there: choose another csv directory, or change its rights",
        errno.EROFS: "the file system is read-only: choose another csv directory",
        errno.ENOTDIR: "a file stands where the folder should be: choose another csv directory",
        errno.EEXIST: "a file stands where the folder should be: choose another csv directory",
    }.get(error.errno or 0, "choose another csv directory, or mend this one")
    return OutputError(f"csv: {path} can't be written ({error.strerror}): {remedy}")
