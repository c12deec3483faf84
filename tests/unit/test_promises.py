"""docs/promises.md names tests that exist, with a star where `make stress` alone runs one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| .* \| `(?:(\w+)/)?(test_\w+\.py)` `(test_\w+)`( \*)? \|$", re.MULTILINE)
PAGE = (ROOT / "docs/promises.md").read_text()


def marks(tree: ast.Module, name: str) -> list[str]:
    """The decorators of a test as text, and the marks of its file."""
    (test,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    whole = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    return [ast.unparse(mark) for mark in [*test.decorator_list, *whole]]


@pytest.mark.parametrize(("scenario", "file", "name", "star"), ROW.findall(PAGE), ids=lambda value: value or "-")
def test_a_promise_has_its_test(scenario, file, name, star):
    tree = ast.parse((ROOT / f"molecule/{scenario or 'site'}/tests" / file).read_text())
    stressed = any("mark.stress" in mark and "parametrize" not in mark for mark in marks(tree, name))
    assert (stressed or scenario == "selinux") == bool(star)


def test_each_row_is_read():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and line != "| promise | test |"]
    assert len(ROW.findall(PAGE)) == len(rows) > 40
