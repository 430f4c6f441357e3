"""Sizes and words: what makes a codebase tiring is kept out by counting."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("agent", "central", "proto", "replica")
ROOMS = (*PRODUCT, "demo", "tests")
FILE_LINES, FUNCTION_LINES, PARAMETERS = 400, 70, 7
DRAWERS = {"utils", "util", "common", "helpers", "helper", "base", "manager", "handler", "misc"}
# Written in two halves, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def files(rooms: tuple[str, ...] = ROOMS, pattern: str = "*.py") -> Iterator[Path]:
    """Every file written by hand, one after the other."""
    for room in rooms:
        yield from (path for path in sorted((ROOT / room).rglob(pattern)) if "_pb2" not in path.name)


def trees(rooms: tuple[str, ...] = ROOMS) -> Iterator[tuple[str, ast.Module]]:
    """Every file's name and syntax tree."""
    for path in files(rooms):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def functions(rooms: tuple[str, ...] = ROOMS) -> Iterator[tuple[str, Function]]:
    """Every function with where it is."""
    for name, tree in trees(rooms):
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{name}:{node.lineno} {node.name}", node


def parameters(function: Function) -> int:
    """How many things a caller must think of; ``self`` is not one."""
    arguments = function.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in {"self", "cls"}])


def test_files_fit_in_a_head():
    """No file is longer than a person can hold."""
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files()}

    assert {name: lines for name, lines in long.items() if lines > FILE_LINES} == {}


def test_functions_fit_on_a_screen():
    """No function is longer than a screen."""
    long = {where: (node.end_lineno or 0) - node.lineno + 1 for where, node in functions()}

    assert {where: lines for where, lines in long.items() if lines > FUNCTION_LINES} == {}


def test_parameter_lists_are_short():
    """A settings object counts as one; commands take theirs from the command line and tests from fixtures."""
    counts = {
        where: parameters(node)
        for where, node in functions()
        if not where.startswith(("tests/", "agent/cli", "central/cli"))
    }

    assert {where: count for where, count in counts.items() if count > PARAMETERS} == {}


def test_there_are_no_drawers():
    """A thing that fits nowhere shows that a name is missing."""
    names = {path.relative_to(ROOT) for path in files()}

    assert [name for name in names if DRAWERS & {*name.parts[:-1], name.stem}] == []


def test_nothing_is_left_for_later():
    """What is not done is not in the code."""
    rooms = [
        *files(),
        *files(pattern="*.proto"),
        *files(pattern="*.pyx"),
        *(ROOT / "scripts").iterdir(),
        ROOT / "Makefile",
    ]

    assert [str(path) for path in rooms if UNFINISHED.search(path.read_text())] == []


def test_waiting_ends_when_told_to():
    """The product waits on events, which wake at once on stop; it never sleeps."""
    assert [
        name for name, tree in trees(PRODUCT) for node in ast.walk(tree) if _is(node, "time", "sleep")
    ] == []


def test_nothing_is_pickled():
    """Bytes from elsewhere never become objects by themselves."""
    assert [name for name, tree in trees() for node in ast.walk(tree) if "pickle" in _imported(node)] == []


def test_only_one_room_reads_the_environment():
    """Settings come in once, by type."""
    asks = [
        name
        for name, tree in trees(PRODUCT)
        for node in ast.walk(tree)
        if any(_is(node, "os", word) for word in ("environ", "getenv", "environb"))
    ]

    assert [name for name in asks if not name.startswith("proto/process/")] == []


@pytest.mark.parametrize("package", PRODUCT)
def test_every_module_says_what_it_promises(package):
    """A docstring opens every file that holds anything."""
    assert [name for name, tree in trees((package,)) if tree.body and not ast.get_docstring(tree)] == []


def _is(node: ast.AST, module: str, word: str) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == module and word in {alias.name for alias in node.names}
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return (node.value.id, node.attr) == (module, word)
    return False


def _imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    return {(node.module or "").split(".")[0]} if isinstance(node, ast.ImportFrom) else set()
