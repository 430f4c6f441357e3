"""What may leave is what the settings list and the catalogue knows, less what is not shared: every case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.binding import NothingCatalogued, bind
from agent.sources.dropfolder.settings import FolderTable
from agent.sources.journal.settings import JournalTable
from agent.sources.polling.settings import PollingTable
from agent.sources.settings import TableSettings
from proto.catalogue import NodeCatalogue, NodeColumn, NodeEntry
from proto.schema import Column, TableSchema
from proto.values import Kind

OPEN, CLOSED, DIRECTED = "unconditional", "not_shared", "directed"
PERSON = {"id": OPEN, "姓名": "conditional", "身份证号": CLOSED}


def entry(
    columns: dict[str, str], table: str = "person", code: str = "3010010/1", key: str = "id"
) -> NodeEntry:
    """An entry with these columns and how each is shared."""
    made = tuple(
        NodeColumn(
            name,
            f"信息项{name}",
            "C",
            name == key,
            CLOSED if how == DIRECTED else how,
            directed=how == DIRECTED,
        )
        for name, how in columns.items()
    )
    return NodeEntry(code, 1, "人口信息", "hr", table, "conditional", "daily", "P1D", True, made)


def catalogue(*entries: NodeEntry, binds: bool = True, release: int = 3) -> NodeCatalogue:
    """What the platform says."""
    return NodeCatalogue("police", release, 1, entries, binds)


def table(columns: tuple[str, ...] | None = None, **other: Any) -> TableSettings:
    """A captured table."""
    return TableSettings(table="public.person", columns=columns, **other)


def leaves(settings: TableSettings, part: NodeCatalogue | None) -> tuple[str, ...] | str | None:
    """The columns that leave, or why the table does not."""
    bound = bind("hr", (settings,), part)
    return bound.tables[0].listed if bound.tables else bound.reasons[settings.catalogued]


@pytest.mark.parametrize("part", [None, catalogue(release=0)])
def test_before_the_first_release_everything_leaves(part):
    """A trial, and the first day."""
    assert leaves(table(("id", "身份证号")), part) == ("id", "身份证号")
    assert leaves(table(), part) is None


@pytest.mark.parametrize(
    ("listed", "wanted"),
    [
        (("id", "姓名"), ("id", "姓名")),
        (("姓名", "id"), ("姓名", "id")),
        (("id",), ("id",)),
        (("id", "姓名", "身份证号"), ("id", "姓名")),
        (None, ("id", "姓名")),
    ],
)
def test_the_catalogue_only_takes_away(listed, wanted):
    """Nothing leaves because it stands in the catalogue; what is not shared never does (SD05.2)."""
    assert leaves(table(listed), catalogue(entry(PERSON))) == wanted


def test_what_a_grant_is_directed_at_leaves_if_the_settings_ask_for_it():
    """The department still decides whether it is captured at all (SD05.4)."""
    part = catalogue(entry({**PERSON, "身份证号": DIRECTED}))

    assert leaves(table(), part) == ("id", "姓名", "身份证号")
    assert leaves(table(("id",)), part) == ("id",)


def test_what_is_missing_is_named():
    """A table without an entry, a column without an item (SD21.1)."""
    assert leaves(table(), catalogue()) == "the sharing catalogue has no entry for table person"
    assert leaves(table(), catalogue(replace(entry(PERSON), source="tax"))) == leaves(table(), catalogue())
    told = leaves(table(("id", "住址", "电话")), catalogue(entry(PERSON)))
    assert told == "entry 3010010/1 of the sharing catalogue has no item for column 住址, 电话"


def test_other_tables_go_on():
    """One that is held takes nobody with it; when all are, there is nothing to read."""
    house = TableSettings(table="public.house")
    bound = bind("hr", (table(), house), catalogue(entry(PERSON)))

    assert [each.catalogued for each in bound.tables] == ["person"]
    hold = bound.hold("house")
    assert hold is not None
    assert (hold.code, hold.state, hold.table) == ("NOT_CATALOGUED", "SCHEMA_HOLD", "house")
    assert "hr" in hold.fix
    assert bound.hold("person") is None
    bound.demand_any()
    with pytest.raises(NothingCatalogued, match="no entry for table house"):
        bind("hr", (house,), catalogue(entry(PERSON))).demand_any()


def test_a_key_must_leave():
    """Without its key a table is no copy: named in the settings, or in the catalogue, or added by the source itself."""
    closed = catalogue(entry({"id": CLOSED, "姓名": OPEN}))
    assert leaves(table(), closed) == "column id is not shared (entry 3010010/1), but it is the key"
    part = catalogue(entry({"no": CLOSED, "id": OPEN}))
    assert "column no is not shared" in str(leaves(table(key=("no",)), part))
    bound = bind("hr", (table(("id",)),), catalogue(entry({"id": OPEN, "no": CLOSED})))

    def shape(*names: str) -> TableSchema:
        return TableSchema("person", tuple(Column(name, Kind.TEXT) for name in names), ("id",))

    assert bound.refusal(shape("id")) is None
    assert "no is not shared" in str(bound.refusal(shape("id", "no")))
    assert "no item for column extra" in str(bound.refusal(shape("id", "extra")))


def test_nothing_left_to_share_is_a_hold():
    """A table of which every listed column stays here."""
    assert "no item" in str(leaves(table(("身份证号",)), catalogue(entry(PERSON))))


def test_a_lenient_platform_only_closes():
    """``uncatalogued: note``: what the catalogue does not know leaves; what is not shared still never does."""
    part = catalogue(entry(PERSON), binds=False)

    assert leaves(table(("id", "住址", "身份证号")), part) == ("id", "住址")
    assert leaves(table(), part) == ("id", "姓名")
    assert leaves(table(), catalogue(binds=False)) is None
    assert leaves(table(), catalogue(entry({"id": OPEN}), binds=False)) is None


def test_two_resources_of_one_table():
    """What one of them does not share is not shared, unless a grant is directed at it."""
    first, second = entry(PERSON), entry({"id": OPEN, "身份证号": OPEN}, code="3010010/2")
    assert leaves(table(), catalogue(first, second)) == ("id", "姓名")
    directed = entry({"id": OPEN, "身份证号": DIRECTED}, code="3010010/2")
    assert leaves(table(), catalogue(first, directed)) == ("id", "姓名", "身份证号")


def test_every_kind_of_table_can_be_narrowed():
    """Everything else in its settings stays as it is."""
    part = catalogue(entry(PERSON))
    polled = PollingTable(table="person", watermark="改于", every_s=5)
    assert bind("hr", (polled,), part).tables == (polled.model_copy(update={"columns": ("id", "姓名")}),)
    told = leaves(PollingTable(table="person", watermark="身份证号", columns=("id",)), part)
    assert "as the watermark" in str(told)
    journal = JournalTable(table="person", charsets={"姓名": "gbk"})
    assert bind("hr", (journal,), part).tables[0].charsets == {"姓名": "gbk"}


def test_a_folder_is_narrowed_by_its_rules():
    """Its rules are its columns; the shape is worked out anew."""
    rules = [{"name": "id", "kind": "int64"}, {"name": "姓名"}, {"name": "身份证号"}]
    said = {
        "table": "person",
        "files": "*.csv",
        "mode": "delta",
        "rules": rules,
        "key": ["id"],
        "delimiter": ";",
    }
    folder = FolderTable.model_validate(said)
    assert [column.name for column in folder.shape.columns] == ["id", "姓名", "身份证号"]
    bound = bind("hr", (folder,), catalogue(entry(PERSON)))

    assert [column.name for column in bound.tables[0].shape.columns] == ["id", "姓名"]
    assert bound.tables[0].delimiter == ";"
    assert bound.sentence == "person.身份证号"


def test_a_part_is_another_one_when_anything_but_the_moment_is():
    """Nodes fetch by the digest, so it must change with a grant as with a release."""
    part = catalogue(entry(PERSON))

    assert part.digest == replace(part, at_us=99).digest == NodeCatalogue.read(part.document).digest
    others = [
        replace(part, release=4),
        replace(part, binds=False),
        catalogue(entry({**PERSON, "身份证号": DIRECTED})),
        catalogue(),
    ]
    assert len({part.digest, *(each.digest for each in others)}) == 5
