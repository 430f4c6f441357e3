"""What ``check`` looks at in a drop folder; it changes nothing, takes nothing and follows no link."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from itertools import islice
from typing import Final

from agent.sources.dropfolder.folder import HELD, REJECTED, ROOMS, folder_fault
from agent.sources.dropfolder.inbox import is_wanted, table_of
from agent.sources.dropfolder.patterns import is_unfinished
from agent.sources.dropfolder.reading import records
from agent.sources.dropfolder.reasons import BadFile, Fault
from agent.sources.dropfolder.reports import REASONS
from agent.sources.dropfolder.settings import DropfolderSettings
from agent.sources.source import Finding

SAMPLE_ROWS: Final = 1000
LEAST_FREE_BYTES: Final = 1024**3
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def check(settings: DropfolderSettings) -> list[Finding]:
    """Each prerequisite in turn."""
    access = _access(settings)
    return [access, *_inside(settings)] if access.passed else [access]


def _access(settings: DropfolderSettings) -> Finding:
    folder = settings.folder
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        # Both of them write there: the department's people, and we.
        fix = f"mkdir -m 0770 {folder}\nchown exchange-agent: {folder}"
        return Finding("folder", False, f"{folder} does not exist", fix)
    except OSError as error:
        fix = (
            "name a folder of its own in 'folder', no file and no link, that this account may read and write"
        )
        why = "it is a link" if folder.is_symlink() else _why(error)
        return Finding("folder", False, f"{folder}: {why}", fix)
    try:
        fault = folder_fault(os.fstat(fd))
    finally:
        os.close(fd)
    if fault is not None:
        return Finding("folder", False, f"{folder} {fault[0]}", f"{fault[1]} {folder}")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        fix = f"give this account the right to read and write {folder}"
        return Finding("folder", False, f"{folder} cannot be read and written by this account", fix)
    return Finding("folder", True, f"{folder} can be read and written, and not by everybody")


def _why(error: OSError) -> str:
    # What the system says of a link that is not followed is about its levels.
    return "it is a link" if error.errno == errno.ELOOP else error.strerror or "it cannot be read"


def _inside(settings: DropfolderSettings) -> Iterator[Finding]:
    yield _room(settings)
    names = sorted(os.listdir(settings.folder))  # noqa: PTH208 — names only
    strays = [
        name
        for name in names
        if name not in ROOMS and not is_unfinished(name) and not is_wanted(name, settings.tables)
    ]
    told = (
        f"{len(strays)} names fit no table, the first is {strays[0]!r}"
        if strays
        else "every name fits a table"
    )
    yield Finding(
        "names", not strays, told, "correct 'files', or take them out of the folder" if strays else ""
    )
    for name in names:
        if is_wanted(name, settings.tables):
            yield _sample(settings, name)
    yield from _left(settings)


def _room(settings: DropfolderSettings) -> Finding:
    free = shutil.disk_usage(settings.folder).free
    enough = free >= LEAST_FREE_BYTES
    return Finding("space", enough, f"{free // 1024**2} MiB are free", "" if enough else "free 1 GiB or more")


def _sample(settings: DropfolderSettings, name: str) -> Finding:
    """Whether the beginning of a waiting file can be read."""
    table = table_of(name, settings.tables)
    what = f"file {name}"
    if table is None:
        return Finding(what, False, "it fits no table")
    try:
        with os.fdopen(os.open(settings.folder / name, _READ), "rb") as file:
            rows = list(islice(records(file, name, table, settings.file_limits), SAMPLE_ROWS))
    except BadFile as bad:
        column = f" [{bad.column}]" if bad.column else ""
        return Finding(what, False, f"{bad.reason}{column}", "mend the file, or the settings")
    except OSError as error:
        return Finding(what, False, _why(error), "put a plain file in its place")
    bad_rows = [row for row in rows if isinstance(row, Fault)]
    if bad_rows:
        first = bad_rows[0]
        told = f"{len(bad_rows)} of the first {len(rows)} rows, first row {first.row} [{first.column}]: {first.reason}"
        return Finding(what, False, told, "mend the file")
    return Finding(what, True, f"its first {len(rows)} rows can be read")


def _left(settings: DropfolderSettings) -> Iterator[Finding]:
    """What waits for a person."""
    for room, fix in (
        (HELD, "see 'fix' of the table in: exchange-agent status"),
        (REJECTED, "mend and put in again"),
    ):
        try:
            names = os.listdir(settings.folder / room)  # noqa: PTH208
        except OSError:
            # The agent makes it when it starts.
            continue
        waiting = [name for name in names if not name.endswith(REASONS) and not name.startswith(".")]
        sentence = f"{len(waiting)} files wait for a person" if waiting else "nothing waits for a person"
        yield Finding(f"{room}/", not waiting, sentence, fix if waiting else "")
