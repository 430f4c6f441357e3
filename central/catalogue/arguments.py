"""What the verbs of the catalogue take."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from central.catalogue.entry import Entry, ShareType
from central.catalogue.states import EntryState
from proto.process import Section

PAGE: Final = 50
MOST: Final = 1000

Code = Annotated[str, Field(min_length=1, max_length=200)]
Opinion = Annotated[str, Field(max_length=2000)]
Needed = Annotated[str, Field(min_length=1, max_length=2000)]
Day = Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]


class Nothing(Section):
    """No arguments."""


class Write(Section):
    """A text of an entry."""

    entry: Entry
    opinion: Opinion = ""


class Submit(Section):
    """An entry that is ready."""

    code: Code
    opinion: Opinion = ""
    reason: Opinion = ""
    """Why others' data does not do, where others provide the same items (Art. 18)."""


class Decide(Section):
    """A decision that needs no words."""

    code: Code
    opinion: Opinion = ""


class DecideWhy(Section):
    """A decision that needs words."""

    code: Code
    opinion: Needed


class Verify(Section):
    """The authority's word on what is not to be shared (核定)."""

    code: Code
    result: Literal["verified", "returned"]
    opinion: Needed


class Publish(Section):
    """Into the department's 资源目录."""

    code: Code
    opinion: Opinion = ""
    effective_on: Day = ""
    """From which day it may take the place of the version in force; empty = with the next release."""


class Adjust(Section):
    """The authority's own text (Art. 16)."""

    code: Code
    changes: dict[str, Any] = Field(min_length=1)
    """Field to value; ``items[column].field`` for an item's."""
    opinion: Needed


class Filed(Section):
    """The province's answer to a filing."""

    code: Code
    registration_no: Needed


class Release(Section):
    """A new release of the 共享目录."""

    note: Opinion = ""
    overlap_days: int | None = Field(None, ge=0, le=366)
    """How long live grants follow the version before of what becomes otherwise; None = as the policy says."""


class OneRelease(Section):
    """Which release; 0 = the newest."""

    release: int = Field(0, ge=0)


class ReleasePage(OneRelease):
    """Some of its entries, as they were signed."""

    after: str = ""
    limit: int = Field(200, ge=1, le=500)


class Diff(Section):
    """Two releases."""

    first: int = Field(ge=0)
    second: int = Field(ge=0)
    after: str = ""
    limit: int = Field(100, ge=1, le=MOST)


class Page(Section):
    """Some entries, by code."""

    after: str = ""
    limit: int = Field(PAGE, ge=1, le=MOST)
    provider: str = ""
    share_type: ShareType | None = None
    text: str = Field("", max_length=100)
    """Part of its name or the beginning of its code."""


class Drafts(Page):
    """Newest versions, published or not."""

    state: EntryState | None = None


class One(Section):
    """One entry."""

    code: Code
    version: int = Field(0, ge=0)
    """0 = the newest."""


class Stream(Section):
    """A stream of a node."""

    stream: Annotated[str, Field(min_length=1, max_length=80)]


class Check(Section):
    """Which entries to check: one, or a page of them."""

    code: str = ""
    after: str = ""
    limit: int = Field(PAGE, ge=1, le=MOST)
    previous: str = Field("", pattern="^([0-9a-f]{64})?$")
    """Digest of the page before this one, so that a report of many pages is one."""


class ImportRow(Section):
    """An entry from a sheet, and the row it stands in."""

    row: int
    entry: Entry


class Import(Section):
    """Entries to be registered as drafts."""

    rows: tuple[ImportRow, ...] = Field(min_length=1, max_length=MOST)
    dry_run: bool = False


class Repeats(Section):
    """Items, by standard name or code, and by name."""

    provider: str = ""
    names: tuple[str, ...] = Field((), max_length=MOST)
    standards: tuple[str, ...] = Field((), max_length=MOST)
