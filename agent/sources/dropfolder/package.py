"""The parts of an Excel workbook: a zip that must not become much more than it is, holding XML without entities.

Nothing is unpacked to disk and nothing is read further than its stated size; a document type, which is where entity
bombs and references to other files live, ends the reading at once.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, Final
from xml.parsers import expat

from agent.sources.dropfolder.reasons import BadFile, Reason
from agent.sources.dropfolder.settings import FileLimits

Attributes = dict[str, str]
MOST_PARTS: Final = 10_000
_SMALL: Final = 1024 * 1024
_BLOCK: Final = 64 * 1024
_OLD: Final = b"\xd0\xcf\x11\xe0"
_OLD_REASON: Final = Reason(
    "旧版.xls或有密码的工作簿,请另存为不加密的.xlsx",
    "an old .xls or a workbook with a password: save it as .xlsx",
)
_NOT_ONE: Final = Reason("不是完整的.xlsx工作簿", "not a whole .xlsx workbook")
_BOMB: Final = Reason("工作簿解压后过大", "the workbook unpacks to more than is allowed")
_ENTITIES: Final = Reason("工作簿含有文档类型声明", "the workbook holds a document type declaration")


class Part:
    """What a reader of a part does with what does not concern it: nothing."""

    def start(self, name: str, found: Attributes) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def text(self, text: str) -> None:
        """Characters of an element."""


class Package:
    """An open workbook file."""

    def __init__(self, file: BinaryIO, limits: FileLimits) -> None:
        file.seek(0)
        if file.read(4) == _OLD:
            raise BadFile(_OLD_REASON)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise BadFile(_NOT_ONE) from None
        self._refuse_bombs(limits)
        self._names = {name.lower(): name for name in self._zip.namelist()}

    def has(self, name: str) -> bool:
        """Whether there is such a part."""
        return name.lower() in self._names

    def parse(self, name: str, reader: Part) -> Iterator[None]:
        """Read one part; a step after each block, so that what was found can be used meanwhile."""
        parser = _parser(reader)
        try:
            with self._part(name) as part:
                while block := part.read(_BLOCK):
                    parser.Parse(block, False)
                    yield
                parser.Parse(b"", True)
                yield
        except (expat.ExpatError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError):
            # RuntimeError: a part has a password; the standard library has no name of its own for that.
            raise BadFile(_NOT_ONE) from None

    def _part(self, name: str) -> IO[bytes]:
        try:
            return self._zip.open(self._names[name.lower()])
        except KeyError:
            raise BadFile(_NOT_ONE) from None

    def _refuse_bombs(self, limits: FileLimits) -> None:
        parts = self._zip.infolist()
        total = sum(part.file_size for part in parts)
        swollen = any(
            part.file_size > _SMALL and part.file_size > part.compress_size * limits.unpacked_ratio
            for part in parts
        )
        if len(parts) > MOST_PARTS or total > limits.unpacked_bytes or swollen:
            raise BadFile(_BOMB)


def _parser(reader: Part) -> Any:
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    # Workbooks come in two families of namespaces with the same local names.
    parser.StartElementHandler = lambda name, found: reader.start(name.rpartition("}")[2], found)
    parser.EndElementHandler = lambda name: reader.end(name.rpartition("}")[2])
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _refuse_document_type
    return parser


def _refuse_document_type(*_: object) -> None:
    raise BadFile(_ENTITIES)
