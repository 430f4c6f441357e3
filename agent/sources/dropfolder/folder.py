"""The folder and its rooms, reached only through descriptors: no name ever leads out of it.

    folder/                what people put in; a file is taken from here by one rename that also numbers it
    folder/.exchange/      ours alone: the lock, what we remember, and taken/ with the files under way
    folder/done/           every accepted file, with its receipt
    folder/held/           a snapshot that deletes so much that a person must say it is meant
    folder/rejected/       every refused file, with the reasons

Every name is looked up relative to an open directory, symbolic links are never followed, and a file counts only when
the descriptor we read from is a regular file with one name. Each step is one rename, so dying anywhere leaves a file
in exactly one room, and repeating a step changes nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from proto.errors import Credential, DiskBlocked, Fenced, Transient

OURS: Final = ".exchange"
TAKEN: Final = f"{OURS}/taken"
DONE, HELD, REJECTED = "done", "held", "rejected"
ROOMS: Final = (OURS, TAKEN, DONE, HELD, REJECTED)
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BEING_WRITTEN: Final = ".being-written"


@dataclass(frozen=True, slots=True)
class Look:
    """What a name in the folder was when we looked."""

    size: int
    changed_ns: int
    inode: int
    plain: bool
    """A regular file with exactly one name."""
    is_folder: bool = False


class Folder:
    """An open drop folder."""

    def __init__(self, path: Path, where: str) -> None:
        self.path = path
        self.where = where
        self._fds: dict[str, int] = {}
        self._lock = -1

    # Opening

    def open(self) -> None:
        """Open the folder, make our rooms in it and lock it. Raises Transient, Credential or Fenced."""
        try:
            with translated(self.where, str(self.path)):
                self._open_rooms()
                self._lock = self._locked()
        except FileNotFoundError as error:
            self.close()
            fix = f"make it, or mount it: {self.path}"
            raise Transient(f"{self.path} is not there", where=self.where, fix=fix) from error
        except BaseException:
            self.close()
            raise

    def _open_rooms(self) -> None:
        root = self._fds[""] = os.open(self.path, _DIRECTORY)
        facts = os.fstat(root)
        if fault := folder_fault(facts):
            raise Credential(f"{self.path} {fault[0]}", where=self.where, fix=f"{fault[1]} {self.path}")
        for room in ROOMS:
            with suppress(FileExistsError):
                os.mkdir(room, 0o700 if room.startswith(OURS) else 0o750, dir_fd=root)
            self._fds[room] = fd = os.open(room, _DIRECTORY, dir_fd=root)
            self._check_room(room, os.fstat(fd), facts)

    def _check_room(self, room: str, facts: os.stat_result, root: os.stat_result) -> None:
        place = f"{self.path}/{room}"
        if facts.st_uid != os.geteuid() or facts.st_mode & stat.S_IWOTH:
            fix = f"rename {place}; the agent makes its own"
            raise Credential(
                f"{place} belongs to another account or all may write it", where=self.where, fix=fix
            )
        if facts.st_dev != root.st_dev:
            raise Credential(f"{place} is on another volume", where=self.where, fix=f"unmount {place}")

    def _locked(self) -> int:
        lock = os.open(
            "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._fds[OURS]
        )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            fix = "stop the other agent, or give each its own folder"
            raise Fenced(f"another agent takes files from {self.path}", where=self.where, fix=fix) from None
        return lock

    def close(self) -> None:
        """Let go of it; another may open it."""
        for fd in (*self._fds.values(), self._lock):
            if fd >= 0:
                os.close(fd)
        self._fds.clear()
        self._lock = -1

    # Looking

    def names(self, room: str = "") -> list[str]:
        """What lies in a room, sorted; our own rooms are not in it."""
        with translated(self.where, room):
            return sorted(name for name in os.listdir(self._fds[room]) if room or name not in ROOMS)  # noqa: PTH208 — by descriptor

    def look(self, name: str, room: str = "") -> Look | None:
        """What a name is; None when it is gone."""
        try:
            facts = os.stat(name, dir_fd=self._fds[room], follow_symlinks=False)
        except FileNotFoundError:
            return None
        return _look(facts)

    def reading(self, name: str, room: str) -> BinaryIO:
        """A file of ours, for reading. Raises OSError when it is not a regular file with one name."""
        fd = os.open(name, _READ, dir_fd=self._fds[room])
        if not _look(os.fstat(fd)).plain:
            os.close(fd)
            raise OSError(errno.EINVAL, "not a regular file")
        return os.fdopen(fd, "rb", buffering=1024 * 1024)

    def is_being_written(self, name: str) -> bool:
        """Whether a program has the file open for writing, as far as the system tells us."""
        try:
            fd = os.open(name, _READ, dir_fd=self._fds[""])
        except OSError:
            return False
        try:
            # A read lease is given only while nobody writes; not every file system and owner can ask for one. Who
            # opens the file meanwhile breaks the lease, and the signal for that must not be one that ends us.
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            os.close(fd)
        return False

    def free_bytes(self) -> int:
        """What is free on its volume."""
        facts = os.fstatvfs(self._fds[""])
        return facts.f_bavail * facts.f_frsize

    # Changing: every method is one step, and may be repeated

    def move(self, name: str, room: str, to_name: str, to_room: str) -> bool:
        """Move a file, and make that last; False when it is not there any more."""
        with translated(self.where, name):
            try:
                os.rename(name, to_name, src_dir_fd=self._fds[room], dst_dir_fd=self._fds[to_room])
            except FileNotFoundError:
                return False
            os.fsync(self._fds[to_room])
            os.fsync(self._fds[room])
        return True

    def write(self, name: str, room: str, data: bytes) -> None:
        """Write a whole file; it is there with all its bytes or as it was before."""
        with self.writing(name, room) as file:
            file.write(data)

    @contextmanager
    def writing(self, name: str, room: str) -> Iterator[BinaryIO]:
        """A file that appears under its name when the block ends well."""
        fd = self._fds[room]
        with translated(self.where, name):
            with suppress(FileNotFoundError):
                os.unlink(_BEING_WRITTEN, dir_fd=fd)
            with os.fdopen(os.open(_BEING_WRITTEN, _WRITE, 0o640, dir_fd=fd), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.rename(_BEING_WRITTEN, name, src_dir_fd=fd, dst_dir_fd=fd)
            os.fsync(fd)

    def append(self, name: str, room: str, line: bytes) -> None:
        """Add a line to a file of ours, and make that last."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with translated(self.where, name):
            fd = os.open(name, flags, 0o600, dir_fd=self._fds[room])
            try:
                os.write(fd, line)
                os.fsync(fd)
            finally:
                os.close(fd)

    def remove(self, name: str, room: str) -> None:
        """Forget a file of ours."""
        with suppress(FileNotFoundError), translated(self.where, name):
            os.unlink(name, dir_fd=self._fds[room])

    def content(self, name: str, room: str) -> bytes:
        """All of a small file of ours; nothing when it is not there."""
        with translated(self.where, name):
            try:
                with self.reading(name, room) as file:
                    return file.read()
            except FileNotFoundError:
                return b""


def folder_fault(facts: os.stat_result) -> tuple[str, str] | None:
    """What is wrong with the rights on a folder, and the command that mends it."""
    if facts.st_mode & stat.S_IWOTH:
        return "may be written by every account", "chmod o-w"
    return None


@contextmanager
def translated(where: str, what: str) -> Iterator[None]:
    """Foreign errors become ours at this door."""
    try:
        yield
    except FileNotFoundError:
        raise
    except PermissionError as error:
        fix = "give the agent's account the right to read and write the folder"
        raise Credential(f"{what}: {error.strerror}", where=where, fix=fix) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskBlocked(
                f"{what}: {error.strerror}", where=where, fix="free space on its volume"
            ) from error
        raise Transient(f"{what}: {error.strerror}", where=where) from error


def _look(facts: os.stat_result) -> Look:
    plain = stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1
    return Look(facts.st_size, facts.st_mtime_ns, facts.st_ino, plain, stat.S_ISDIR(facts.st_mode))
