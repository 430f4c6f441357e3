"""What the profile says about the catalogue."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from proto.process import Section


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class CataloguePolicy(Section):
    """Articles 5, 7, 13–16, 40. Words for people are Chinese, as the texts have them."""

    platform_levels: tuple[str, ...]
    """Where a platform may exist (Art. 8)."""
    platform_article: str
    """What is quoted to whoever sets up one elsewhere."""
    share_types: dict[str, str] = Field(min_length=1)
    """The closed list of Article 5, with the name each has in tables and reports."""
    share_type_words: dict[str, str] = Field(default_factory=dict)
    """Other wordings that an import takes for one of them."""
    basis_needed_for: tuple[str, ...]
    """Share types that need a structured legal basis."""
    condition_needed_for: tuple[str, ...]
    """Share types that need a condition."""
    verification_needed_for: tuple[str, ...]
    """Share types that the authority must verify (核定) before they take effect."""
    probe_needed_for: tuple[str, ...]
    """Share types whose interface must answer before the resource is published (Art. 19)."""
    required: tuple[str, ...]
    """Fields that no entry may lack."""
    elements: dict[str, str]
    """What the sharing catalogue must say of every resource (Art. 16): field to its name."""
    code_pattern: Pattern
    """分类码/顺序码."""
    class_digits: tuple[int, ...]
    """Digits of 类, 项, 目; 细目 is free."""
    classes: dict[str, str]
    """First digit of the code to what the class is called."""
    modes_for_format: dict[str, tuple[str, ...]]
    """Format class to the modes that agree with it."""
    update_cycles: dict[str, str]
    """Update cycle to its name."""
    update_limits: dict[str, str]
    """Update cycle to the limit that is usual, an ISO 8601 duration; what has no cycle is not here."""
    system_words: tuple[str, ...]
    """A name that ends so is a system's, not a resource's."""
    late_after_cycles: int = Field(ge=1)
    """An entry whose newest update is older than so many of its limits is reported by the check."""
    filing_needed_at: tuple[str, ...]
    """Platform levels that file their catalogue upward (Art. 9)."""
    uncatalogued: Literal["hold", "note"] = "hold"
    """A table or column the catalogue does not know: the node keeps it back, or lets it leave."""
    contract_overlap_days: int = Field(ge=0, le=366)
    """Calendar days in which live grants still follow the version before, when a release changes what they receive."""
    dictionary_version: str
    """Of the lists above; every entry notes which one it was checked against."""
