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
    """Lines of every function or class, without its signature and docstring."""
    found: dict[str, int] = {}
    for name, tree in nodes().items():
        for node in tree:
            if isinstance(node, kinds):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                size = node.end_lineno - body[0].lineno + 1 if body else 0
                found[f"{name}::{node.name}"] = max(size, found.get(f"{name}::{node.name}", 0))
    return found


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
        "accessor.py": 498,
        "engines/iterative.py": 424,
        "engines/marginals.py": 550,
        "engines/system.py": 397,
        "grid/encode.py": 433,
        "grid/metric.py": 351,
        "kernels/evaluate.py": 444,
        "kernels/spec.py": 411,
        "learning/composite.py": 427,
        "learning/heldout.py": 489,
        "linalg/draws.py": 358,
        "linalg/lattice.py": 398,
        "linalg/loops.py": 768,
        "model.py": 632,
        "pictures.py": 389,
        "prediction.py": 377,
        "results.py": 689,
    },
    "function": {
        "fitting.py::fit": 90,
        "linalg/loops.py::by_formula": 43,
        "linalg/pairs.py::filled": 68,
        "linalg/tables.py::of": 45,
    },
    "class": {
        "engines/iterative.py::IterativePosterior": 286,
        "engines/marginals.py::Marginals": 290,
        "engines/system.py::System": 226,
        "model.py::FittedModel": 540,
        "pictures.py::Pictures": 256,
        "results.py::Reconstruction": 489,
    },
    "private": {
        "aggregating.py": 3,
        "conditioning.py": 1,
        "pictures.py": 1,
        "plotting/calibration.py": 2,
        "prediction.py": 5,
        "reconstruction.py": 3,
        "report/document.py": 2,
        "report/experiments.py": 1,
        "report/single.py": 7,
        "report/source.py": 3,
        "sampling.py": 6,
        "summarising.py": 2,
        "targets.py": 3,
    },
    "folder": {
        ".": 40,
        "engines": 13,
        "grid": 22,
        "kernels": 12,
        "linalg": 21,
        "plotting": 23,
        "tiling": 14,
    },
}
RULES: dict[str, tuple[Callable[[], dict[str, int]], int]] = {
    "module": (lines, MODULE),
    "function": (lambda: sized(ast.FunctionDef, ast.AsyncFunctionDef), FUNCTION),
    "class": (lambda: sized(ast.ClassDef), CLASS),
    "private": (private_names, 0),
}


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
