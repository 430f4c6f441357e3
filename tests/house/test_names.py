"""Our package names are short and generic; nobody else may own them where we run."""

from __future__ import annotations

import importlib.util
from importlib import import_module, metadata
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

ROOT = Path(__file__).parents[2]
OURS = ("agent", "central", "proto", "replica")
# proto-plus installs these below a package proto of its own; without common names both can live.
RESERVED = {
    "message",
    "enums",
    "fields",
    "primitives",
    "modules",
    "utils",
    "version",
    "datetime_helpers",
    "marshal",
    "_file_info",
    "_package_info",
}


@pytest.mark.parametrize("package", OURS)
def test_a_package_is_the_one_in_this_repository(package):
    """Not a namesake from somewhere else."""
    spec = importlib.util.find_spec(package)

    assert spec is not None and spec.origin is not None
    assert Path(spec.origin).resolve() == ROOT / package / "__init__.py"


@pytest.mark.parametrize("package", OURS)
def test_a_package_has_one_owner(package):
    """pip would overwrite silently."""
    assert set(metadata.packages_distributions().get(package, [])) <= {"exchange-node"}


def test_proto_plus_is_not_here():
    """Each daemon has an environment of its own, without it."""
    names = {distribution.metadata["Name"] for distribution in metadata.distributions()}

    assert names.isdisjoint({"proto-plus", "proto", "agent"})


def test_proto_leaves_room_for_a_namesake():
    """An empty __init__.py and no reserved name: either may be installed over the other and both still work."""
    ours = {path.name.split(".")[0] for path in (ROOT / "proto").iterdir()}

    assert (ROOT / "proto" / "__init__.py").read_text() == ""
    assert ours.isdisjoint(RESERVED)


@pytest.mark.parametrize("module", ["agent.exchange.store", "central.store.migration"])
def test_the_versions_of_a_database_are_the_names_of_their_files(module):
    """A start looks no further than these to see that nothing is to be migrated."""
    config = Config()
    config.set_main_option("script_location", f"{module.rpartition('.')[0]}:migrations")
    steps = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]

    assert tuple(reversed(steps)) == import_module(module).VERSIONS
