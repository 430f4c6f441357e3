"""What ``init`` shows before it writes: the tables, the ways of listening with their prices, and which one it takes."""

from __future__ import annotations

from dataclasses import replace

from agent.cli.console import say
from agent.cli.discovery import choose
from agent.cli.picture import table as print_table
from agent.cli.places import Place, place_at
from agent.cli.template import Listening
from agent.cli.ways import Way, chosen_kind, ways


def propose(dsn: str, source: str, kind: str, wanted: list[str]) -> Listening:
    """Look at *dsn*, say what is possible there, and settle on *kind* or on what is recommended."""
    place = place_at(dsn)
    _show_tables(place)
    chosen = choose(list(place.offers), wanted) if not place.samples else []
    others = [offer for offer in place.offers if offer not in chosen]
    first = Listening("", "", "", chosen, others, place.samples)
    all_ways = {
        name: replace(first, kind=name, setting=setting, address=address)
        for name, (setting, address) in place.addresses.items()
    }
    found = ways(place, {name: each.section(source) for name, each in all_ways.items()})
    _show_ways(found)
    if place.hint:
        say(place.hint)
    return all_ways[chosen_kind(found, kind)]


def _show_tables(place: Place) -> None:
    if place.samples:
        rows = [(sample.table, sample.files, ", ".join(sample.headings)) for sample in place.samples]
        print_table(("table", "files", "columns"), rows)
        return
    print_table(
        ("table", "size", "key", "suggestion"),
        [(offer.place, offer.size, ", ".join(offer.key) or "—", offer.suggestion) for offer in place.offers],
    )


def _show_ways(found: list[Way]) -> None:
    say("")
    print_table(
        ("kind", "listens to", "sees deletes", "needs", "load on the database", "possible now"),
        [
            (
                way.kind,
                way.price.how,
                way.price.sees_deletes,
                way.price.needs,
                way.price.load,
                "no, see below" if way.missing else "yes",
            )
            for way in found
        ],
    )
    for way in found:
        if way.missing:
            say(f"\nmissing for {way.kind}:")
            for fix in way.missing:
                say("    " + fix.replace("\n", "\n    "))
    say(f"\nrecommended: {found[0].kind}: {found[0].price.reason}")
