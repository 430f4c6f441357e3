"""What a page costs the database, in rows that it has to look at: a bound that no busy machine can break.

Every statement of a page is explained with the values it had; what its scans read must not grow with the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import pytest
from sqlalchemy import Engine, text

from central.store import migrate, open_store
from tests.bench.sharing import fill
from tests.support.bureaucracy import Bureaucracy
from tests.support.counting import Cost, costs
from tests.support.postgres import Cluster
from tests.support.sharing import Town, build_town
from tests.support.stores import Store

ENTRIES: Final = 10_000
"""Each in two versions, the second of which is in force."""
GRANTS: Final = 2_000
MOST_ROWS: Final = 1_500
"""Of one page, whatever its statements; the largest page holds 200 lines of several tables."""
_ROOM: Final = "exchange_central.central_catalogue"
_CODE: Final = "'3070011/' || lpad(n::text, 9, '0')"
MIDDLE: Final = {"after": f"3070011/{ENTRIES // 2:09}"}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bureaucracy]:
    """A catalogue of many entries, all of them like one that was published."""
    with Cluster(18) as cluster:
        url = cluster.url(cluster.new_database())
        engine = open_store(url)
        migrate(engine)
        made = Bureaucracy(Store(url, engine), tmp_path_factory.mktemp("people"))
        made.publish(made.entry(1))
        made.release()
        _multiply(engine)
        made.release()
        _count(engine)
        yield made
        engine.dispose()


def _multiply(engine: Engine) -> None:
    with engine.begin() as connection:
        names = connection.scalars(
            text("SELECT column_name FROM information_schema.columns WHERE table_name = :which"),
            {"which": "central_catalogue_entries"},
        ).all()
        other = {"code": _CODE, "version": "v", "name": "'人口信息' || n", "name_key": "'人口信息' || n"}
        other |= {"newest": "(v = 2)::int"}
        chosen = ", ".join(other.get(name, name) for name in names)
        both = f"generate_series(1, {ENTRIES}) n, generate_series(1, 2) v"
        connection.execute(
            text(
                f"INSERT INTO {_ROOM}_entries ({', '.join(names)}) SELECT {chosen} FROM {_ROOM}_entries, {both}"
            )
        )
        columns = "code, since_release, version, until_release"
        values = f"{_CODE}, v, v, CASE WHEN v = 1 THEN 2 END"
        connection.execute(text(f"INSERT INTO {_ROOM}_released ({columns}) SELECT {values} FROM {both}"))


def _count(engine: Engine) -> None:
    """As the server does by itself, sooner or later."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


PAGES: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "list, first": ("list", "chen-jie", {}),
    "list, middle": ("list", "chen-jie", MIDDLE),
    "list, by a common word": ("list", "chen-jie", {"text": "人口"}),
    "drafts, middle": ("drafts", "liu-yang", MIDDLE),
    "drafts, own": ("drafts", "li-na", MIDDLE),
    "drafts, none of a state": ("drafts", "liu-yang", {"state": "submitted"}),
    "show": ("show", "chen-jie", {"code": MIDDLE["after"]}),
    "check": ("check", "wu-di", MIDDLE),
    "diff, all new": ("diff", "chen-jie", {"first": 0, "second": 1, "limit": 20, **MIDDLE}),
    "diff, all changed": ("diff", "chen-jie", {"first": 1, "second": 2, "limit": 20, **MIDDLE}),
    "release lines": ("release_lines", "wu-di", MIDDLE),
    "dcat": ("dcat", "wu-di", MIDDLE),
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_the_catalogue_looks_at_a_page_of_rows(people: Bureaucracy, page: str) -> None:
    """However large the catalogue has become."""
    verb, person, arguments = PAGES[page]
    _demand_small(people.store.engine, lambda: people.do(verb, person, **arguments))


def test_a_rare_word_is_looked_for_in_the_index_alone(people: Bureaucracy) -> None:
    """All names are read, and none of the wide rows: PostgreSQL 18 would see through a plain subquery."""
    for verb, person in (("list", "chen-jie"), ("drafts", "liu-yang")):
        found = costs(people.store.engine, partial(people.do, verb, person, text="没有"))
        assert _large(found) == [("Index Only Scan", "central_catalogue_entries", 2 * ENTRIES + 1)]


@pytest.fixture(scope="module")
def town() -> Iterator[tuple[Town, list[str]]]:
    """Departments with many grants, and as many requests that wait."""
    with Cluster(15) as cluster:
        engine = open_store(cluster.url(cluster.new_database()))
        migrate(engine)
        made = build_town(engine)
        numbers = fill(made, ENTRIES, GRANTS)
        _count(engine)
        yield made, numbers
        engine.dispose()


GRANT_PAGES: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "requests": ("data-li", "share.requests", {}),
    "a provider's requests": ("police-admin", "share.requests", {}),
    "grants": ("data-li", "grant.list", {}),
    "a provider's grants": ("police-admin", "grant.list", {}),
    "vacancies": ("data-li", "share.vacancies", {}),
}


@pytest.mark.parametrize("page", GRANT_PAGES)
def test_a_page_of_grants_looks_at_a_page_of_rows(town: tuple[Town, list[str]], page: str) -> None:
    """However many there are."""
    person, verb, arguments = GRANT_PAGES[page]
    _demand_small(town[0].engine, lambda: town[0].do(person, verb, **arguments))


def _demand_small(engine: Engine, act: Callable[[], Any]) -> None:
    found: list[Cost] = costs(engine, act)
    assert found
    assert sum(each.rows for each in found) <= MOST_ROWS, _large(found)


def _large(found: list[Cost]) -> list[tuple[str, str, int]]:
    return [node for each in found for node in each.nodes if node[2] > MOST_ROWS / 10]
