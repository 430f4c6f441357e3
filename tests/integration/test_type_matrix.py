"""docs/types.md says what really arrives: every way of listening, every awkward value, every exchange database."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Engine, create_engine

import replica.mysql_values
import replica.postgresql_stage
import replica.sqlite
from tests.support.typecases import Case
from tests.support.typefiles import CASES, NAME, file_arrivals
from tests.support.typepage import CHINESE, ENGLISH, Line, page
from tests.support.typeways import Arrival, Home, MariadbHome, PostgresqlHome, SqliteHome, arrivals, kept

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGES: Final = {"types.md": ENGLISH, "types.zh-CN.md": CHINESE}
TYPES: Final = (replica.sqlite.TYPES, replica.postgresql_stage.TYPES, replica.mysql_values.TYPES)


@pytest.fixture(scope="module")
def sinks(tmp_path_factory, postgres15, mariadb) -> Iterator[dict[str, Engine]]:
    """An empty database of each kind that can be an exchange database."""
    urls = {"sqlite": f"sqlite:///{tmp_path_factory.mktemp('types')}/sink.db"}
    urls |= {
        name: server.url(server.new_database("sink"))
        for name, server in (("postgres15", postgres15), ("mariadb", mariadb))
    }
    engines = {name: create_engine(url) for name, url in urls.items()}
    yield engines
    for engine in engines.values():
        engine.dispose()


@pytest.fixture(scope="module")
def found(tmp_path_factory, postgres15, mariadb, sinks) -> dict[str, list[Line]]:
    """What arrived, by business database."""
    path = tmp_path_factory.mktemp("types") / "business.db"
    homes: list[Home] = [PostgresqlHome(postgres15), MariadbHome(mariadb), SqliteHome(path)]
    known = {home.name: lines(sinks, home.cases, arrivals(home)) for home in homes}
    return known | {NAME: lines(sinks, CASES, file_arrivals(tmp_path_factory.mktemp("投放")))}


def lines(
    sinks: Mapping[str, Engine], cases: Sequence[Case], brought: Sequence[Mapping[str, Arrival]]
) -> list[Line]:
    """One line for each case."""
    return [Line(case, each, unheld(sinks, each)) for case, each in zip(cases, brought, strict=True)]


def unheld(sinks: Mapping[str, Engine], brought: Mapping[str, Arrival]) -> dict[str, str]:
    """What the exchange databases say that cannot hold what came."""
    frames = {(each.kind, each.frame): each for each in brought.values() if not each.error}
    said = [(name, kept(engine, each)) for each in frames.values() for name, engine in sinks.items()]
    return {name: why for name, why in said if why}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(found, name):
    """``scripts/make-types`` would change nothing."""
    made = page(PAGES[name], found, TYPES)
    if os.environ.get("MAKE_TYPES"):
        (DOCS / name).write_text(made)

    assert (DOCS / name).read_text() == made
