"""New settings while the agent runs: what may change does, the rest is refused by name, a fault changes nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from pydantic import SecretStr

from agent.cli.console import STANDARD, STANDARD_SOCKET, socket_of
from agent.local import LocalClient
from agent.reload import SettingsWatch, differences, plan
from agent.settings import DEFAULT_PATH, DEFAULT_SOCKET, Settings
from demo.system import System, merged
from proto.errors import Refused
from proto.v1 import node_pb2
from tests.support.central import eventually
from tests.support.postgres import Cluster

PLAIN: dict[str, Any] = {
    "node": "hr-bureau",
    "central": {"address": "central:7443", "ca": "/ca", "certificate": "/cert", "key": "/key"},
    "sources": [
        {
            "kind": "postgresql",
            "name": "hr",
            "dsn": "postgresql://reader:hunter2@db/hr",
            "tables": [{"table": "public.person"}],
        }
    ],
}


def settings(**changes: Any) -> Settings:
    """The plain settings with some changed."""
    return Settings.model_validate(merged(PLAIN, changes))


def source(**changes: Any) -> list[dict[str, Any]]:
    """The plain source with something changed."""
    return [{**PLAIN["sources"][0], **changes}]


def test_the_commands_know_the_standard_places():
    """Written twice, so that asking stays quick; once here, so that they stay the same."""
    assert (STANDARD, STANDARD_SOCKET) == (DEFAULT_PATH, DEFAULT_SOCKET)


@pytest.mark.parametrize(
    ("changes", "applied"),
    [
        ({"log_level": "debug"}, ("log_level",)),
        ({"limits": {"batch_rows": 5}}, ("limits.batch_rows",)),
        ({"central": {"heartbeat_s": 3}}, ("central.heartbeat_s",)),
        ({"exchange": {"keep_days": 1}}, ("exchange.keep_days",)),
        ({"allow_commands": ["pause"]}, ("allow_commands",)),
        (
            {"sources": source(tables=[{"table": "public.person"}, {"table": "b"}])},
            ("sources.hr.tables.b",),
        ),
        ({"sources": source(tables=[{"table": "b"}])}, ("sources.hr.tables.person", "sources.hr.tables.b")),
        (
            {"sources": source(tables=[{"table": "public.person", "columns": ["id"]}])},
            ("sources.hr.tables.person.columns",),
        ),
        ({"sources": source(dsn="postgresql://reader:new@db/hr")}, ("sources.hr.dsn",)),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, tuple) else "",
)
def test_what_may_change_while_running_does(changes, applied):
    """Limits, tables, secrets and the like take effect at once."""
    decided = plan(settings(), settings(**changes))

    assert (decided.applied, decided.refused) == (applied, ())
    assert decided.settings == settings(**changes)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"node": "other"}, ("node",)),
        ({"socket": "/run/other.sock"}, ("socket",)),
        ({"central": {"address": "elsewhere:1"}}, ("central.address",)),
        ({"exchange": {"url": "sqlite:////elsewhere.db"}}, ("exchange.url",)),
        ({"sources": source(slot="other")}, ("sources.hr.slot",)),
        ({"sources": source() + source(name="tax", slot="tax")}, ("sources.tax",)),
        ({"sources": source(name="tax")}, ("sources.hr", "sources.tax")),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, tuple) else "",
)
def test_what_needs_a_restart_is_refused_by_name(changes, refused):
    """The old value stays in force, and the sentence says which one was asked for in vain."""
    decided = plan(settings(), settings(**changes, log_level="debug"))

    assert (decided.applied, decided.refused) == (("log_level",), refused)
    assert decided.settings == settings(log_level="debug")
    assert decided.sentence == f"applied: log_level; needs a restart: {', '.join(refused)}"


def test_differences_never_tell_a_value():
    """A place in the file is enough to find it; a value may be a secret."""
    told = list(differences(settings(), settings(sources=source(dsn="postgresql://reader:hunter3@db/hr"))))

    assert told == ["sources.hr.dsn"]
    assert "hunter" not in repr(plan(settings(), settings()).settings)
    assert settings().sources[0].dsn == SecretStr("postgresql://reader:hunter2@db/hr")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A watched file, and what was in it whenever it changed."""
    path = tmp_path / "agent.yaml"
    path.write_text("one")
    seen: list[str] = []
    watch = SettingsWatch(path, lambda: seen.append(path.read_text()))
    watch.start()
    yield path, seen
    watch.stop()


def test_a_file_saved_in_place_is_noticed(watched):
    """The plainest of editors."""
    path, seen = watched
    path.write_text("two")

    eventually(lambda: seen, ["two"])


def test_a_file_put_in_the_place_of_the_old_one_is_noticed(watched):
    """As most editors save."""
    path, seen = watched
    for text in ("two", "three"):
        (path.parent / "new").write_text(text)
        (path.parent / "new").replace(path)
        eventually(partial(seen.count, text), 1)

    assert seen == ["two", "three"]


def test_a_swapped_symbolic_link_is_noticed(tmp_path):
    """As containers replace a directory of settings."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "agent.yaml").write_text(name)
    (tmp_path / "data").symlink_to("old")
    (tmp_path / "agent.yaml").symlink_to("data/agent.yaml")
    changed = threading.Event()
    watch = SettingsWatch(tmp_path / "agent.yaml", changed.set)
    watch.start()
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").replace(tmp_path / "data")

    assert changed.wait(10)
    watch.stop()


def test_the_same_content_again_is_no_change(watched):
    """Touching, reading, or a busy file beside it changes nothing."""
    path, seen = watched
    path.write_text("one")
    os.utime(path)
    path.read_text()
    for number in range(20):
        (path.parent / "exchange.db").write_text(str(number))
    threading.Event().wait(1.0)

    assert seen == []


@pytest.fixture
def system(tmp_path: Path, postgres15: Cluster) -> Iterator[System]:
    """Central and agent, running, with one table of two shared."""
    name = postgres15.new_database("business")
    dsn = f"postgresql://postgres@127.0.0.1:{postgres15.port}/{name}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table in ("person", "household"):
            connection.execute(f"CREATE TABLE {table} (id bigint PRIMARY KEY, name text)")
            connection.execute(f"INSERT INTO {table} SELECT n, 'n' || n FROM generate_series(1, 100) n")
    made = System(tmp_path / "system", dsn, [{"table": "public.person"}])
    made.prepare()
    made.start()
    yield made
    made.stop()
    postgres15.drop_database(name)


def edited(system: System, **changes: Any) -> str:
    """The text of the settings file with some changed."""
    return yaml.safe_dump(merged(yaml.safe_load(system.agent_config.read_text()), changes))


def copied(system: System) -> dict[str, int]:
    """The tables the agent shows and how many rows were copied."""
    return {table.table: table.rows_copied for table in report(system).tables if table.state == "RUNNING"}


def report(system: System) -> node_pb2.StreamReport:
    """What the agent says of its stream; nothing while it does not answer."""
    try:
        with LocalClient(socket_of(system.agent_config)) as agent:
            return agent.status().streams[0]
    except Refused:
        return node_pb2.StreamReport()


def test_a_running_agent_takes_up_tables_and_refuses_the_rest(system):
    """A new table is copied beside the running stream; a new address waits for a restart; a fault changes nothing."""
    eventually(lambda: copied(system), {"person": 100}, within_s=60)
    both = [{"table": "public.person"}, {"table": "public.household"}]
    wanted = edited(system, sources=[{**system.source, "tables": both}], central={"address": "elsewhere:1"})
    (system.home / "new").write_text(wanted)
    (system.home / "new").replace(system.agent_config)
    eventually(lambda: copied(system), {"person": 100, "household": 100}, within_s=60)
    log = system.agent.log.read_text()
    assert "sources.hr.tables.household" in log and '"refused": ["central.address"]' in log

    system.agent_config.write_text(wanted.replace("sources:", "sauces:"))
    with (
        LocalClient(socket_of(system.agent_config)) as agent,
        pytest.raises(Refused, match="did you mean sources"),
    ):
        agent.reload()
    eventually(lambda: "settings_not_reloaded" in system.agent.log.read_text())
    assert copied(system) == {"person": 100, "household": 100}

    system.agent_config.write_text(edited_without(wanted, "household"))
    eventually(lambda: copied(system), {"person": 100}, within_s=60)
    with psycopg.connect(system.business_dsn, autocommit=True) as connection:
        connection.execute("UPDATE household SET name = 'not shared any more'")
        connection.execute("INSERT INTO person VALUES (101, 'still shared')")
    # The hundred of each copy, and one: what was counted goes on through every reload.
    eventually(lambda: report(system).rows, 201, within_s=60)


def edited_without(text: str, table: str) -> str:
    """The same settings without one table."""
    changed = yaml.safe_load(text)
    tables = changed["sources"][0]["tables"]
    changed["sources"][0]["tables"] = [one for one in tables if not one["table"].endswith(table)]
    return yaml.safe_dump(changed)
