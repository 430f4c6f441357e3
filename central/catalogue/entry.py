"""A catalogue entry: what one resource is, who has it, and what of it may be shared with whom (requirements, part 4)."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from proto.process import Section

_DURATION: Final = re.compile(r"P(?=.)(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?", re.ASCII)


def _duration(text: str) -> str:
    if not _DURATION.fullmatch(text):
        raise ValueError("is no ISO 8601 duration of days, hours, minutes and seconds, such as P1D or PT30M")
    return text


Duration = Annotated[str, AfterValidator(_duration)]
Words = Annotated[str, Field(min_length=1, max_length=2000)]
Name = Annotated[str, Field(min_length=1, max_length=300)]
"""Short enough for an index."""


class ShareType(StrEnum):
    """Article 5; from open to closed."""

    UNCONDITIONAL = "unconditional"
    CONDITIONAL = "conditional"
    NOT_SHARED = "not_shared"


class Mode(StrEnum):
    """Article 24: how a resource is used. Grants are per mode."""

    EXCHANGE = "exchange"
    QUERY = "query"
    INTERFACE = "interface"
    CUSTOM = "custom"


DELIVERED: Final = (Mode.EXCHANGE, Mode.CUSTOM)
"""Their rows go to the consumer's own exchange database, over Exchange.Pull."""


class UpdateCycle(StrEnum):
    """更新周期."""

    REALTIME = "realtime"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    HALF_YEARLY = "half_yearly"
    YEARLY = "yearly"
    IRREGULAR = "irregular"
    OTHER = "other"


class Storage(StrEnum):
    """Article 27: where the shared store stands, and who maintains it."""

    OWN = "own"
    HOSTED = "hosted"


class LegalBasis(Section):
    """The text a decision rests on (Art. 13)."""

    title: Words
    document_no: Words
    article: Words
    kind: str = Field(pattern="^(law|regulation|rule)$")


class Item(Section):
    """信息项: one column of the resource, and what may be done with it."""

    name: Name
    column: Name
    """Its column in the provider's table."""
    type: str = Field(pattern="^[CNYDTLMGBIF]$")
    length: int | None = Field(None, ge=1)
    is_key: bool = False
    share_type: ShareType
    condition: str = ""
    basis: LegalBasis | None = None
    is_open: bool = False
    open_condition: str = ""
    sensitivity: int = Field(1, ge=1, le=4)
    is_personal: bool = False
    standard: str = Field("", max_length=300)
    """Name or code of the standard data element, where there is one."""


class Binding(Section):
    """Which table of which stream carries the rows."""

    stream: Name
    table: Name


class Interface(Section):
    """Article 19: how the resource is reached, and which version of its document says so."""

    kind: str = Field("table", pattern="^(table|file|service)$")
    document_version: int = Field(0, ge=0)


class Survey(Section):
    """大普查: how much there is."""

    total_gib: float = Field(0, ge=0)
    structured_rows: int = Field(0, ge=0)
    shared_gib: float = Field(0, ge=0)
    shared_rows: int = Field(0, ge=0)
    opened_gib: float = Field(0, ge=0)
    opened_rows: int = Field(0, ge=0)


class Entry(Section):
    """One resource as its provider registers it."""

    code: Annotated[str, Field(min_length=1, max_length=200)]
    """分类码/顺序码."""
    name: Name
    class_path: tuple[str, ...] = Field(min_length=1, max_length=4)
    """类, 项, 目, 细目."""
    provider_name: Words
    provider: Words
    """Unified social credit code."""
    abstract: Words
    format_class: int = Field(ge=1, le=7)
    format_type: str = ""
    items: tuple[Item, ...] = Field(min_length=1)
    condition: str = ""
    scope: str = ""
    basis: LegalBasis | None = None
    modes: tuple[Mode, ...] = (Mode.EXCHANGE,)
    is_open: bool = False
    open_condition: str = ""
    update_cycle: UpdateCycle
    update_cycle_text: str = ""
    update_limit: Duration
    """ISO 8601 duration: how old the newest read may be."""
    published_on: str = ""
    related: tuple[str, ...] = ()
    is_secret: bool = False
    level: str = Field("department", pattern="^(department|national)$")
    storage: Storage = Storage.OWN
    kind: str = Field("business", pattern="^(base|theme|business)$")
    theme: str = ""
    deletes_rows: bool = True
    """Whether the source really deletes, so that deletes are to be seen."""
    sync: str = Field("increment", pattern="^(increment|full)$")
    sources: tuple[str, ...] = ()
    """Codes of the resources a composite is made from (Art. 24, 28)."""
    binding: Binding | None = None
    interface: Interface = Interface()  # type: ignore[call-arg]
    survey: Survey | None = None

    @property
    def share_type(self) -> ShareType:
        """The most open of its items': what can be had of it at all."""
        order = list(ShareType)
        return min((item.share_type for item in self.items), key=order.index)

    @property
    def columns(self) -> dict[str, Item]:
        """Its items by column."""
        return {item.column: item for item in self.items}
