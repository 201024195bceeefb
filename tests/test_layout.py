"""Where a test belongs: `tests/FOLDER` tests `tf_simclrv2/FOLDER`, and nothing lies anywhere else."""

from __future__ import annotations

import ast
import pathlib

import pytest

import tf_simclrv2

TESTS = pathlib.Path(__file__).parent
LIBRARY = pathlib.Path(tf_simclrv2.__file__).parent
FOLDERS = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
# What no single folder answers for.
ACROSS = {
    "benchmarks": "programs outside the library",
    "conformance": "every layer, loss and stage against the same list of demands",
    "docs": "pages, and the commands in them",
    "faults": "programs that are killed",
    "goldens": "numbers of the published code, and the tests that load them",
}
# Packages at the root that only pass on what a folder has.
ENTRY_POINTS = {"flags": "cli", "export": "export"}
# Tests that import nothing of what they test: a program that they start does, or a fixture.
INDIRECT = {
    "cli/test_quiet.py",
    "distribution/test_lost_worker.py",
    "distribution/test_two_workers.py",
    "modules/test_serving_signatures.py",
    "training/test_resume.py",
}


def imported_folders(path: pathlib.Path) -> set[str]:
    """The folders of the library that a file imports from, through the package's public names too."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "tf_simclrv2":
            for alias in node.names:
                named = getattr(tf_simclrv2, alias.name, None)
                modules |= {f"tf_simclrv2.{alias.name}", getattr(named, "__module__", "")}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    parts = [module.split(".") for module in modules]
    inside = {names[1] for names in parts if names[0] == "tf_simclrv2" and len(names) > 1}
    return inside | {ENTRY_POINTS[names[0]] for names in parts if names[0] in ENTRY_POINTS}


def test_the_folders_of_tests_are_those_of_the_library():
    folders = {path.parent.name for path in TESTS.glob("*/test_*.py")}
    assert folders - ACROSS.keys() == FOLDERS


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_a_test_uses_the_folder_that_it_tests(folder):
    files = {path: f"{folder}/{path.name}" for path in (TESTS / folder).glob("test_*.py")}
    elsewhere = [
        name for path, name in files.items() if name not in INDIRECT and folder not in imported_folders(path)
    ]
    assert not elsewhere, f"{elsewhere} import nothing of tf_simclrv2/{folder}; move them to what they test"
