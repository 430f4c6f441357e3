"""The committed stubs are what the .proto files say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def stubs(root: Path) -> dict[str, str]:
    """Every generated file below *root*, by name."""
    return {path.name: path.read_text() for path in (root / "proto" / "v1").glob("*_pb2*.py*")}


def test_the_stubs_are_up_to_date(tmp_path):
    """``make stubs`` would change nothing."""
    subprocess.run(
        [ROOT / "scripts" / "make-stubs", tmp_path],
        check=True,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"},
    )
    made, kept = stubs(tmp_path), stubs(ROOT)

    assert made
    assert sorted(made) == sorted(kept)
    assert [name for name in made if made[name] != kept[name]] == []


def test_every_contract_is_in_our_package():
    """Names are global in a process and on the wire; the imports start at the repository's root."""
    for path in (ROOT / "proto" / "v1").glob("*.proto"):
        text = path.read_text()
        assert "\npackage exchange.v1;\n" in text, path.name
        imports = [line for line in text.splitlines() if line.startswith("import ")]
        assert all('"proto/v1/' in line or '"google/protobuf/' in line for line in imports), path.name
