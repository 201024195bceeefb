"""The packages of the code, where their imports point, and how long functions are (docs/architecture.md).

How it is counted: a package is a folder that holds Python files, nested ones too. The top level of
`tf_simclrv2/` is one package, the lowest, without its doors `__init__`, `__main__` and `public`, which only
pass on names from above and count nowhere. An import inside a function points as much as one at the head of
a file.

The body of a function runs from the first statement after its docstring to its last line, comments and blank
lines included. Its parameters are all that it names, `*args` and `**options` too, except `self` and `cls`.
"""

from __future__ import annotations

import ast
import graphlib
import itertools
import re
from collections.abc import Iterator

import pytest

from tests.source_code import ROOT, files_of, imported_names, module_name

LIBRARY = "tf_simclrv2"
DOORS = {f"{LIBRARY}.{name}" for name in ("__init__", "__main__", "public")}
MOST_PACKAGES = 25
LONGEST_BODY = 50
MANY_PARAMETERS = 6
MOST_WITH_MANY = 0.01
CODE = (LIBRARY, "benchmarks", "export", "flags")
COUNTED = '''
class A:
    def f(self, a, /, b, *c, d=1, **e):
        """Text."""

        # Why.
        g = 1

        return g
'''

Function = ast.FunctionDef | ast.AsyncFunctionDef


def package_of(name: str) -> str | None:
    """The folder, with dots, in which an imported module lies; None if it is none of ours."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        if path.is_dir():
            return ".".join(parts[:length])
        if path.with_suffix(".py").is_file():
            return ".".join(parts[: length - 1])
    return None


def arrows(folder: str) -> dict[str, set[str]]:
    """For each package below a folder, the other packages below it that its modules import."""
    found: dict[str, set[str]] = {}
    for path in files_of(folder):
        name = module_name(path)
        package = name.rpartition(".")[0]
        imported = found.setdefault(package, set())
        if name not in DOORS:
            imports = (used for used in imported_names(path.read_text()) if used.split(".")[0] == folder)
            imported |= {used for used in map(package_of, imports) if used}
    return {package: imported - {package} for package, imported in found.items()}


def functions() -> Iterator[tuple[str, Function]]:
    """Every function of the programs and the library, with its file and name."""
    for path in (ROOT / "run.py", *itertools.chain.from_iterable(map(files_of, CODE))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, Function):
                yield f"{path.relative_to(ROOT)}: {node.name}", node


def body_length(function: Function) -> int:
    first = function.body[1:2] if ast.get_docstring(function, clean=False) is not None else function.body[:1]
    return (function.end_lineno or 0) - first[0].lineno + 1 if first else 0


def parameters(function: Function) -> list[str]:
    named = function.args
    starred = [argument for argument in (named.vararg, named.kwarg) if argument]
    every = [*named.posonlyargs, *named.args, *named.kwonlyargs, *starred]
    return [argument.arg for argument in every if argument.arg not in ("self", "cls")]


def rows_of_the_architecture() -> list[str]:
    """The folders in the table of docs/architecture.md, the lowest first."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    (table,) = re.findall(r"each row may import the rows above it:\n\n((?:\|.*\n)+)", text)
    return re.findall(r"^\| `(\w+)/` \|", table, re.MULTILINE)


@pytest.mark.parametrize("folder", [LIBRARY, "benchmarks"])
def test_no_packages_import_each_other_in_a_circle(folder: str) -> None:
    graphlib.TopologicalSorter(arrows(folder)).prepare()  # Raises CycleError, which shows the circle.


def test_every_import_points_to_a_row_above_in_the_architecture() -> None:
    def row(package: str) -> str:
        return (*package.split("."), "")[1]

    order = {name: place for place, name in enumerate(["", *rows_of_the_architecture()])}
    assert order.keys() == {row(package) for package in arrows(LIBRARY)}
    upward = [
        f"{package} imports {used}"
        for package, imported in arrows(LIBRARY).items()
        for used in imported
        if order[row(used)] > order[row(package)]
    ]
    assert not upward


def test_nothing_in_the_library_imports_through_its_doors() -> None:
    """`from tf_simclrv2 import Run` would hide which package is meant."""
    inner = [
        path
        for path in files_of(LIBRARY)
        if module_name(path).removesuffix(".__init__") not in (LIBRARY, *DOORS)
    ]
    for path in inner:
        for name in imported_names(path.read_text()):
            assert not f"{name}.".startswith(tuple(f"{door}." for door in DOORS)), f"{path}: {name}"
            if name.startswith(f"{LIBRARY}.") and name.count(".") == 1 and name not in DOORS:
                inside = ROOT / LIBRARY / name.partition(".")[2]
                assert inside.is_dir() or inside.with_suffix(".py").is_file(), f"{path}: {name}"


def test_the_packages_are_few() -> None:
    assert len(arrows(LIBRARY)) <= MOST_PACKAGES, sorted(arrows(LIBRARY))


def test_the_picture_shows_every_folder() -> None:
    picture = (ROOT / "docs" / "images" / "rooms.svg").read_text()
    drawn = set(re.findall(r"(\w+)/", " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", picture))))
    assert set(rows_of_the_architecture()) <= drawn


def test_every_module_at_the_top_level_has_a_reason() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    (table,) = re.findall(r"\| module \| why it lies there \|\n((?:\|.*\n)+)", text)
    named = [name for row in table.splitlines() for name in re.findall(r"`(\w+\.py)`", row.split("|")[1])]
    assert sorted(named) == sorted(path.name for path in (ROOT / LIBRARY).glob("*.py"))


def test_no_function_is_long() -> None:
    lengths = {f"{name}:{node.lineno}": body_length(node) for name, node in functions()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_BODY}


def test_few_functions_take_many_parameters() -> None:
    counts = {f"{name}:{node.lineno}": len(parameters(node)) for name, node in functions()}
    many = {name: count for name, count in counts.items() if count > MANY_PARAMETERS}
    assert len(many) <= MOST_WITH_MANY * len(counts), many


def test_how_functions_are_counted() -> None:
    (function,) = [node for node in ast.walk(ast.parse(COUNTED)) if isinstance(node, Function)]
    assert body_length(function) == 3 and parameters(function) == ["a", "b", "d", "c", "e"]
