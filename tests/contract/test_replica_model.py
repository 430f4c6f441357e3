"""Random histories: after any deltas, every dialect holds what a dictionary would."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proto.batch import Delta, Frames, Partial
from proto.frames import split
from proto.schema import TableSchema
from proto.values import Kind
from tests.support.tables import frame, frames, keys, listed, schema_of

if TYPE_CHECKING:
    from tests.support.replicas import Home

pytest_plugins = ["tests.support.replicas"]

COLUMNS = {"b": Kind.TEXT, "n": Kind.FLOAT64, "a": Kind.INT32, "d": Kind.DECIMAL}
SCHEMA = schema_of("model", COLUMNS, key=("a", "b"))
Key = tuple[str, str]
Rest = tuple[str | None, str | None]
Model = dict[Key, Rest]

numbers = st.sampled_from(["0", "-0", "NaN", "1.5", "-Infinity", None])
decimals = st.sampled_from(["0", "1.50", "NaN", "-99999999999999999999.1", None])
verbs = st.sampled_from(["insert", "insert", "upsert", "upsert", "delete", "set n", "set d", "move"])


@dataclass(frozen=True)
class Change:
    """One row of a delta."""

    place: int
    verb: str
    rest: Rest
    away: bool

    @property
    def key(self) -> Key:
        """Every place has two keys, so that a row can move without meeting another row's change."""
        return (str(self.place), "away" if self.away else "家")

    @property
    def new_key(self) -> Key:
        """Where a moving row goes."""
        return (str(self.place), "家" if self.away else "away")


changes = st.builds(Change, st.integers(0, 70), verbs, st.tuples(numbers, decimals), st.booleans())
deltas = st.tuples(st.booleans(), st.lists(changes, max_size=70, unique_by=lambda change: change.place))
histories = st.lists(
    deltas.map(lambda pair: (pair[0] and len(pair[1]) % 5 == 0, pair[1])), min_size=1, max_size=6
)


def told(truncated: bool, listed_changes: list[Change]) -> Delta:
    """The delta that says so."""
    by_verb = {
        verb: [c for c in listed_changes if c.verb == verb] for verb in {c.verb for c in listed_changes}
    }

    def full(verb: str) -> Frames:
        return frames(SCHEMA, *((c.key[1], c.rest[0], c.key[0], c.rest[1]) for c in by_verb.get(verb, ())))

    return Delta(
        SCHEMA,
        inserts=full("insert"),
        upserts=full("upsert"),
        deletes=keys(SCHEMA, *(c.key for c in by_verb.get("delete", ()))),
        partials=(
            partly((1,), [(*c.key, c.rest[0]) for c in by_verb.get("set n", ())]),
            partly((3, 2, 0), [(*c.key, c.rest[1], *c.key) for c in by_verb.get("set d", ())]),
            partly((0, 1), [(*c.key, c.new_key[1], c.rest[0]) for c in by_verb.get("move", ())]),
        ),
        truncated=truncated,
    )


def partly(columns: tuple[int, ...], rows: list[tuple[str | None, ...]]) -> Partial:
    """A partial section."""
    kinds = [SCHEMA.kinds[place] for place in (*SCHEMA.key_indexes, *columns)]
    return Partial(columns, Frames(b"".join(frame(kinds, row) for row in rows), len(rows)))


def follow(model: Model, truncated: bool, listed_changes: list[Change]) -> None:
    """What the delta means; no key occurs twice, so the order within does not matter."""
    if truncated:
        model.clear()
    for change in listed_changes:
        here = model.get(change.key)
        match change.verb:
            case "insert" | "upsert":
                model[change.key] = change.rest
            case "delete":
                model.pop(change.key, None)
            case "set n" if here:
                model[change.key] = (change.rest[0], here[1])
            case "set d" if here:
                model[change.key] = (here[0], change.rest[1])
            case "move" if here:
                del model[change.key]
                model[change.new_key] = (change.rest[0], here[1])


def held(home: Home, schema: TableSchema) -> list[bytes]:
    """The table's rows in an order of our own."""
    with home.engine.begin() as connection:
        return sorted(f for page in home.replica.scan(connection, schema, 40) for f in split(page.data))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories, together=st.booleans())
def test_every_dialect_does_what_a_dictionary_does(
    homes: list[Home], history: list[tuple[bool, list[Change]]], together: bool
):
    """Deltas of all sizes, in one transaction or one each, then the last one once more."""
    model: Model = {}
    for step in history:
        follow(model, *step)
    said = [told(*step) for step in history]
    wanted = frames(SCHEMA, *((key[1], rest[0], key[0], rest[1]) for key, rest in model.items()))

    for home in homes:
        home.prepare(SCHEMA)
        home.apply(Delta(SCHEMA, truncated=True))
        for group in [said] if together else [[delta] for delta in said]:
            home.apply(*group)
        home.apply(said[-1])
        assert held(home, SCHEMA) == sorted(listed(wanted)), home.dialect
    assert len({home.digest(SCHEMA).content for home in homes}) == 1
