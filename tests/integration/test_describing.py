"""A node says how its tables are: of every kind of source, every column, structure only, nothing outside its settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import TypeAdapter
from sqlalchemy import select

from agent.describing import describe
from agent.sources.kinds import AnySettings, SourceSettings
from agent.sources.source import NoMirror
from central.catalogue.describing import keep
from central.catalogue.gathering import shapes_of
from central.store import reading, writing
from central.store.catalogue import SHAPES
from proto.catalogue import verify_node
from proto.errors import Refused
from proto.v1 import node_pb2
from tests.support.manysources import KINDS, Bureaus
from tests.support.shares import entry_of, put_in_force

SETTINGS: TypeAdapter[AnySettings] = TypeAdapter(SourceSettings)
SECRET = "机密内容"


@pytest.fixture(scope="module")
def bureaus(tmp_path_factory: pytest.TempPathFactory, postgres15, mariadb) -> Iterator[Bureaus]:
    """A business database of every kind, with a row nobody may see."""
    home: Path = tmp_path_factory.mktemp("bureaus")
    made = Bureaus(home, postgres15, mariadb)
    for kind in KINDS:
        made.all[kind].put((1, SECRET, SECRET))
    yield made
    made.close()


def _settings(bureaus: Bureaus, kind: str, **table: Any) -> AnySettings:
    section = bureaus.all[kind].section
    [only] = section["tables"]
    return SETTINGS.validate_python({**section, "name": kind, "tables": [{**only, **table}]})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_describes_its_tables(bureaus, kind):
    """Every column there is, which of them are captured, the key; and not one value."""
    chosen = {} if kind == "dropfolder" else {"columns": ["id", "name"]}
    [shape] = describe(f"police/{kind}", _settings(bureaus, kind, **chosen), NoMirror())
    assert (shape.stream, shape.table, shape.trouble) == (f"police/{kind}", "person", "")
    # What is polled has a column besides that says when a row changed.
    assert [column.name for column in shape.columns if column.name != "changed"] == ["id", "name", "note"]
    assert [column for column in shape.captured if column != "changed"] == (
        ["id", "name"] if chosen else ["id", "name", "note"]
    )
    assert list(shape.key) == ["id"]
    assert all(column.kind for column in shape.columns)
    assert SECRET.encode() not in shape.SerializeToString()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dropfolder"])
def test_what_cannot_be_looked_at_says_why(bureaus, kind):
    """A table that is gone is a sentence, not an error that stops the heartbeat."""
    table = {"table": "nowhere", "name": "nowhere"}
    [shape] = describe(f"police/{kind}", _settings(bureaus, kind, **table), NoMirror())
    assert shape.table == "nowhere" and shape.trouble and not shape.columns


def test_a_heartbeat_brings_descriptions_and_takes_the_release_home(central):
    """Asked by DESCRIBE, kept at central; the report that statuses read does not carry them."""
    node = central.node("police")
    column = {"name": "id_no", "kind": "text", "source_type": "varchar(18)"}
    shape = node_pb2.TableShape(stream="police/hr", table="person", columns=[column], key=["id_no"])
    reply = node.desk.Heartbeat(node_pb2.HeartbeatRequest(shapes=[shape]))
    assert reply.release == 0
    with reading(central.engine) as connection:
        found, at_us = shapes_of(connection, ["police/hr"])["police/hr", "person"]
    assert found == shape and at_us > 0
    assert not central.registry.node("police").report.shapes
    node.desk.Heartbeat(node_pb2.HeartbeatRequest())
    with reading(central.engine) as connection:
        assert len(connection.execute(select(SHAPES)).all()) == 1


def test_a_description_without_measure_is_named_not_kept(central):
    """The heartbeat goes on; the check says why it cannot compare."""
    column = {"name": "c" * 100, "kind": "text", "source_type": "x" * 300_000}
    shape = node_pb2.TableShape(stream="police/hr", table="person", columns=[column])
    keep(central.engine, "police", [shape])
    with reading(central.engine) as connection:
        found, _ = shapes_of(connection, ["police/hr"])["police/hr", "person"]
    assert "bytes" in found.trouble and not found.columns


def test_a_node_fetches_its_own_part_of_the_newest_release(central):
    """Signed by the platform, about its own streams, whatever release it names; and the heartbeat told it to (SD07.1)."""
    node = central.node("police")
    ours = entry_of("3070101/1", "police/hr", "person", ("id_no", "name"), name="人口")
    theirs = entry_of("3070101/2", "police-2/hr", "person", ("id_no",), name="别人的")
    with writing(central.engine) as connection:
        release = put_in_force(connection, ours, theirs)
    assert node.desk.Heartbeat(node_pb2.HeartbeatRequest()).release == release
    part = node.desk.GetCatalogue(node_pb2.GetCatalogueRequest(release=99))
    authorities = (central.folder / "ca.pem").read_bytes()
    found = verify_node(part.document, part.signature, part.certificate, authorities)
    assert (found.node, found.release) == ("police", release)
    assert [(each.code, each.table) for each in found.entries] == [("3070101/1", "person")]
    stranger = central.client("police", central.authority.issue_node("police"))
    with pytest.raises(grpc.RpcError):
        stranger.desk.GetCatalogue(node_pb2.GetCatalogueRequest())


def test_a_node_describes_no_other_nodes_tables(central):
    """Refused, and nothing is kept."""
    shape = node_pb2.TableShape(stream="health/hr", table="patient")
    with pytest.raises(Refused, match="another node's"):
        keep(central.engine, "police", [shape])
    with reading(central.engine) as connection:
        assert connection.execute(select(SHAPES)).all() == []
