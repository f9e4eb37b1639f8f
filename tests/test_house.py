"""The house: who may import whom, no circles, docstrings everywhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

ALLOWED = {
    "options": {"options"},
    "util": {"util"},
    "models": {"models", "options", "util"},
    "data": {"data", "options", "util"},
    "scripts": {"scripts", "options", "util", "models", "data"},
    "commands": {"options", "util", "models", "data"},
}
ROOMS = ("options", "util", "models", "data", "scripts")


def files() -> list[Path]:
    own = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return own + [path for name in ("train.py", "test.py", "fuse.py") if (path := ROOT / name).exists()]


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return parts[0] if len(parts) > 1 else "commands"


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                found.add(inner if is_module(inner) else node.module)
    return found


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_and_docstrings(path: Path) -> None:
    for module in imports(path):
        top = module.split(".")[0]
        if top in ROOMS or top in ("train", "test", "fuse", "tests"):
            assert top in ALLOWED[room(path)], f"{path.name} imports {module}"
    tree = ast.parse(path.read_text())
    if tree.body:
        assert ast.get_docstring(tree), "the first line of a file says its subject"
    for node in tree.body:
        public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
        if public:
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_no_circles() -> None:
    graph = {}
    for path in files():
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[module] = imports(path)
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module in done or module not in graph:
            return
        for other in graph[module]:
            visit(other, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())
