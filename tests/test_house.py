"""The house: who may import whom, no circles, docstrings everywhere."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Room -> rooms that it may import from, besides itself. "util" here is its loose files.
ALLOWED = {
    "options": {"util"},
    "util": set(),
    "util.metrics": {"util"},
    "util.training": {"util", "util.metrics"},
    "util.pages": {"util", "util.metrics", "util.training"},
    "util.visdom": {"util", "util.metrics", "util.pages", "util.training"},
    "models": {"options", "util"},
    "models.inference": {"models", "options", "util", "util.training"},
    "models.convert": {"models", "options", "util"},
    "models.detection": {"util"},
    "data": {"data.layouts", "data.sample", "options", "util", "util.training"},
    "data.layouts": {"data", "options", "util"},
    "data.sample": {"data", "util"},
    "data.scoring": {"data", "data.layouts", "options", "util", "util.metrics", "util.training"},
    "data.output": {"data", "data.layouts", "options", "util", "util.metrics", "util.training"},
}
TOPS = ("options", "util", "models", "data", "scripts")
COMMANDS = "scripts"  # train.py, test.py, fuse.py and the folder: they import what they like, but no tests


def files() -> list[Path]:
    own = [path for top in TOPS for path in (ROOT / top).rglob("*.py")]
    return own + [path for name in ("train.py", "test.py", "fuse.py") if (path := ROOT / name).exists()]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(module: str) -> str:
    """The room of a module: the longest of ALLOWED that it lies in; the commands' for all others."""
    found = [name for name in ALLOWED if f"{module}.".startswith(f"{name}.")]
    return max(found, key=len, default=COMMANDS)


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


def wrong_arrows(path: Path) -> set[tuple[str, str]]:
    """(file, module) of what a file imports and its room may not."""
    here, wrong = room(name_of(path)), set()
    for module in imports(path):
        top = module.split(".")[0]
        ours = top in TOPS or top in ("train", "test", "fuse", "tests")
        if ours and (here != COMMANDS or top == "tests") and room(module) not in {here} | ALLOWED[here]:
            wrong.add((path.relative_to(ROOT).as_posix(), module))
    return wrong


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_and_docstrings(path: Path) -> None:
    assert not wrong_arrows(path)
    tree = ast.parse(path.read_text())
    if tree.body:
        assert ast.get_docstring(tree), "the first line of a file says its subject"
    for node in tree.body:
        public = isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
        if public:
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_few_loose_files_in_util() -> None:
    assert len([path for path in (ROOT / "util").glob("*.py") if path.name != "__init__.py"]) <= 6


def test_no_circles() -> None:
    graph = {name_of(path): imports(path) for path in files()}
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
