"""The plan of the house: how large modules, functions, classes and folders are, and what is private between modules.

What was larger when a rule was made is named with its size, which may fall and not rise.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = Path(__file__).parents[1] / "xgpfill"
MODULE, FUNCTION, CLASS, FOLDER, ROOT = 350, 40, 200, 10, 12
"""Lines of a module, of a function and of a class without their docstrings, modules of a folder and of the root."""


@cache
def nodes() -> dict[str, list[ast.AST]]:
    """Every module's nodes."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): list(ast.walk(ast.parse(path.read_text()))) for path in paths}


def lines() -> dict[str, int]:
    """Lines of every module."""
    return {name: len((PACKAGE / name).read_text().splitlines()) for name in nodes()}


def sized(*kinds: type) -> dict[str, int]:
    """Lines of every function or class, without its signature and all docstrings in it."""
    found: dict[str, int] = {}
    for name, tree in nodes().items():
        for node in tree:
            if isinstance(node, kinds):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                size = node.end_lineno - body[0].lineno + 1 - sum(map(told, body)) if body else 0
                found[f"{name}::{node.name}"] = max(size, found.get(f"{name}::{node.name}", 0))
    return found


def told(node: ast.AST) -> int:
    """Lines of the docstrings of functions and classes in a node, its own among them."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    documented = [n.body[0] for n in ast.walk(node) if isinstance(n, kinds) and ast.get_docstring(n) is not None]
    return sum(text.end_lineno - text.lineno + 1 for text in documented)


def folders() -> dict[str, int]:
    """Modules of every folder."""
    return Counter(str(Path(name).parent) for name in nodes() if not name.endswith("__init__.py"))


OF_NAMED_TUPLES = ("_replace", "_asdict", "_fields")
"""Public, whatever their names look like."""


def private_names() -> dict[str, int]:
    """How often each module reads a private name of an object that is none of its own."""
    found: Counter[str] = Counter()
    for name, tree in nodes().items():
        attributes = [node for node in tree if isinstance(node, ast.Attribute)]
        own = {node.attr for node in attributes if of_self(node)}
        own |= {node.name for node in tree if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        own |= {n.target.id for n in tree if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
        for node in attributes:
            if node.attr.startswith("_") and not node.attr.startswith("__") and node.attr not in OF_NAMED_TUPLES:
                found[name] += node.attr not in own
    return +found


def of_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


KNOWN: dict[str, dict[str, int]] = {
    "module": {
        "covariance/evaluate.py": 465,
        "grid/metric.py": 353,
        "kernels/spec.py": 370,
        "layout/encode.py": 431,
        "learning/composite.py": 427,
        "learning/heldout.py": 488,
        "model.py": 420,
        "operators/draws.py": 359,
        "operators/lattice.py": 381,
        "posterior/points.py": 380,
        "results/estimate.py": 421,
        "results/pictures.py": 398,
        "vecchia/local.py": 364,
        "vecchia/loops.py": 767,
    },
    "function": {
        "fitting.py::fit": 93,
        "kernels/hyperparameters.py::to_dataset": 41,
        "operators/pairs.py::filled": 68,
        "operators/tables.py::of": 45,
        "vecchia/loops.py::by_formula": 43,
    },
    "class": {
        "results/estimate.py::Estimate": 233,
    },
    "private": {
        "report/document.py": 2,
    },
    "folder": {},
}
RULES: dict[str, tuple[Callable[[], dict[str, int]], int]] = {
    "module": (lines, MODULE),
    "function": (lambda: sized(ast.FunctionDef, ast.AsyncFunctionDef), FUNCTION),
    "class": (lambda: sized(ast.ClassDef), CLASS),
    "private": (private_names, 0),
}


def test_no_circle_of_imports_those_of_types_and_in_functions_included() -> None:
    left = {name: imported(name) for name in nodes()}
    while free := {name for name, needs in left.items() if not needs & left.keys() - {name}}:
        left = {name: needs for name, needs in left.items() if name not in free}
    assert left == {}


def imported(name: str) -> set[str]:
    """The modules of the package that one imports, anywhere in it."""
    found: set[str] = set()
    for node in nodes()[name]:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE.name:
            place = Path(*node.module.split(".")[1:])
            for one in node.names:
                named = {f"{place / one.name}.py", f"{place / one.name}/__init__.py"} & nodes().keys()
                found |= named or {f"{place}.py", (place / "__init__.py").as_posix()}
    return found & nodes().keys()


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_larger_than_the_rule_or_than_it_was(rule: str) -> None:
    sizes, most = RULES[rule]
    assert {name: n for name, n in sizes().items() if n > KNOWN[rule].get(name, most)} == {}


def test_no_folder_has_more_modules_than_the_rule_or_than_it_had() -> None:
    most = {".": ROOT}
    assert {f: n for f, n in folders().items() if n > KNOWN["folder"].get(f, most.get(f, FOLDER))} == {}


@pytest.mark.parametrize("rule", RULES)
def test_what_keeps_the_rule_by_now_is_no_longer_named(rule: str) -> None:
    sizes, most = RULES[rule]
    found = sizes()
    assert [name for name in KNOWN[rule] if found.get(name, 0) <= most] == []


def test_the_page_on_the_house_names_files_that_are_there() -> None:
    text = (PACKAGE.parent / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", text))
    places = [PACKAGE, PACKAGE.parent, PACKAGE / "learning"]
    assert len(named) > 60
    assert [name for name in sorted(named) if not any((place / name).exists() for place in places)] == []
