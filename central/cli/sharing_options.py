"""What the commands of ``share`` and ``grant`` take, and how it is written on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from proto.errors import Refused

Consumer = Annotated[str, typer.Argument(help="The node that is to have it.")]
Resource = Annotated[str, typer.Argument(help="The resource's code, as the catalogue has it.")]
RequestNo = Annotated[str, typer.Argument(help="The request, e.g. R2026-0007.")]
GrantNo = Annotated[str, typer.Argument(help="The grant, e.g. G2026-0012.")]
Business = Annotated[str, typer.Option("--business", help="For which duty the data is used.")]
Users = Annotated[
    list[str], typer.Option("--user", help="OFFICE, person:NAME, role:ROLE or system:NAME; may be repeated.")
]
Items = Annotated[
    list[str], typer.Option("--item", help="An item, by column or name; may be repeated. Never 'all'.")
]
Fewer = Annotated[
    list[str] | None, typer.Option("--item", help="Only these items of those that were asked for.")
]
ModeOption = Annotated[str, typer.Option("--mode", help="exchange, query, interface or custom.")]
Until = Annotated[str, typer.Option("--until", help="The last day, YYYY-MM-DD.")]
Since = Annotated[str, typer.Option("--since", help="The first day; at once when left out.")]
Purpose = Annotated[str, typer.Option("--purpose", help="What for; goes on record with every use.")]
Case = Annotated[str, typer.Option("--case", help="Case number, where the policy asks for one.")]
Rows = Annotated[
    str, typer.Option("--rows", help="Which rows, e.g. \"region starts with '3701' and status != '注销'\".")
]
Masks = Annotated[
    list[str] | None,
    typer.Option("--mask", help="COLUMN=hide, =year, =pseudonym or =keep:FIRST:LAST; may be repeated."),
]
RowsPerDay = Annotated[int | None, typer.Option("--rows-per-day", min=1, help="At most so many rows a day.")]
Hours = Annotated[str, typer.Option("--hours", help="Only then, local time, e.g. 22:00-06:00.")]
QueryRows = Annotated[int | None, typer.Option("--query-rows", min=1, help="At most so many rows a query.")]
PerHour = Annotated[int | None, typer.Option("--queries-per-hour", min=1, help="At most so many queries.")]
Withdraws = Annotated[
    bool, typer.Option("--withdraw-at-end", help="Delivered rows are taken back when the grant ends.")
]
Law = Annotated[str, typer.Option("--law", help="The law's title.")]
DocumentNo = Annotated[str, typer.Option("--document-no", help="Its number.")]
Article = Annotated[str, typer.Option("--article", help="The article.")]
LawKind = Annotated[str, typer.Option("--law-kind", help="law, regulation or rule.")]
Opinion = Annotated[str, typer.Option("--opinion", help="In words; goes on record.")]
Why = Annotated[str, typer.Option("--reason", help="Why; goes on record.")]
After = Annotated[str, typer.Option("--after", help="The next page: as the page before it says.")]
Most = Annotated[int, typer.Option("--most", min=1, max=200, help="So many on a page.")]
_MASK_FORM: Final = "COLUMN=hide, COLUMN=year, COLUMN=pseudonym or COLUMN=keep:FIRST:LAST"


def basis_of(law: str, document_no: str, article: str, kind: str) -> dict[str, str] | None:
    """The legal basis; None when no part of it is given. The desk says which part is missing."""
    given = {"title": law, "document_no": document_no, "article": article}
    return {**given, "kind": kind} if any(given.values()) else None


def conditions_of(
    items: Sequence[str] | None,
    rows: str,
    masks: Sequence[str] | None,
    limits: dict[str, Any],
    ends: tuple[str, bool],
) -> dict[str, Any]:
    """Conditions as the desk takes them; *ends* is the last day and whether rows are taken back."""
    until, withdraws = ends
    given = {name: value for name, value in limits.items() if value}
    said: dict[str, Any] = {
        "items": list(items) if items else None,
        "rows": rows or None,
        "limits": given or None,
        "until": until or None,
        "at_end": "withdraw" if withdraws else None,
    }
    kept = {name: value for name, value in said.items() if value is not None}
    return {**kept, "masks": dict(map(mask_of, masks))} if masks else kept


def mask_of(text: str) -> tuple[str, dict[str, Any]]:
    """A column and its mask; raises Refused."""
    column, _, said = text.partition("=")
    name, *numbers = said.split(":")
    if not column or not name:
        raise Refused(f"{text[:60]!r} is no mask", where="--mask", fix=_MASK_FORM)
    if name != "keep":
        return column, {"mask": name}
    try:
        first, last = map(int, numbers)
    except ValueError:
        raise Refused(f"{text[:60]!r} is no mask", where="--mask", fix=_MASK_FORM) from None
    return column, {"mask": name, "first": first, "last": last}


def said_of(terms: dict[str, Any]) -> str:
    """Rows, masks and limits of a grant, as they are written on the command line."""
    from proto import predicate

    rows = predicate.to_text(predicate.from_json(terms["rows"])) if terms["rows"] else "all"
    masks = ", ".join(f"{column}={_mask_text(mask)}" for column, mask in terms["masks"].items())
    limits = ", ".join(f"{name} {value}" for name, value in terms["limits"].items() if value is not None)
    return f"rows {rows}; masks {masks or 'none'}; limits {limits or 'none'}"


def _mask_text(mask: dict[str, Any]) -> str:
    return f"keep:{mask['first']}:{mask['last']}" if mask["mask"] == "keep" else str(mask["mask"])


def day(at_us: int) -> str:
    """A last day for people: the moment after it is the end."""
    return f"{datetime.fromtimestamp((at_us - 1) / 1_000_000, UTC).astimezone():%Y-%m-%d}" if at_us else "–"


def coming(said: dict[str, Any]) -> str:
    """Another version of a resource that a grant will follow."""
    when = f"{datetime.fromtimestamp(said['at_us'] / 1_000_000, UTC).astimezone():%Y-%m-%d %H:%M}"
    return f"from {when} on version {said['version']} is followed: {said['what']}"
