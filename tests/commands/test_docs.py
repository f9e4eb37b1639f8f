"""What README and docs tell a reader to type is valid, and what they point to is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path

import pytest

import fuse
from models import METHODS
from options.augment import AugmentOptions
from options.detection import DetectionOptions
from options.evaluate import EvaluateFusionOptions, EvaluateGenerationOptions
from options.fuse import FuseOptions
from options.recorded import parse_train
from options.test import TestOptions
from options.train import TrainOptions
from scripts.benchmarks import data, generate, metrics, train
from scripts.benchmarks import fuse as benchmark_fuse
from scripts.dashboard import DashboardOptions
from scripts.export import ExportOptions
from scripts.import_weights import ImportOptions
from scripts.inspect_data import InspectOptions
from scripts.make_sample_data import SampleOptions
from scripts.screenshots import ScreenshotOptions
from scripts.visdom_offline import VisdomOfflineOptions
from tests.conftest import ROOT
from util.command_line import parse

TABLE = {name: method.Options for name, method in METHODS.items()}
OPTIONS = {
    "test.py": TestOptions,
    "fuse.py": FuseOptions,
    "scripts.augment": AugmentOptions,
    "scripts.benchmark data": data.Options,
    "scripts.benchmark fuse": benchmark_fuse.Options,
    "scripts.benchmark generate": generate.Options,
    "scripts.benchmark metrics": metrics.Options,
    "scripts.benchmark train": train.Options,
    "scripts.dashboard": DashboardOptions,
    "scripts.evaluate detection": DetectionOptions,
    "scripts.evaluate fusion": EvaluateFusionOptions,
    "scripts.evaluate generation": EvaluateGenerationOptions,
    "scripts.export": ExportOptions,
    "scripts.import_weights": ImportOptions,
    "scripts.inspect_data": InspectOptions,
    "scripts.make_sample_data": SampleOptions,
    "scripts.screenshots": ScreenshotOptions,
    "scripts.visdom_offline": VisdomOfflineOptions,
}
OTHERS = {
    "--no-build-isolation", "--max_restarts", "--nproc_per_node", "--nnodes", "--node_rank", "--master_addr",
    "--shm-size", "--browser",
    "--eval", "--help", "--check", "--reference", "--cuda",
}  # fmt: skip
"""Options of pip, torchrun, docker, the shell scripts and another project's test.py."""
COMMAND = re.compile(r"(?:python|torchrun)\s.*?((?:train|test|fuse)\.py|scripts\.\w+)(?=\s|$)(.*)")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "models/weights").glob("*.md")])
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def pieces(text: str) -> Iterator[str]:
    """Lines of code blocks, those that end in a backslash joined with the next, and code within sentences."""
    text = re.sub(r"\\\n\s*", " ", text)
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
    text = re.sub(r"^ *```\w*\n.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"^    (.*)", text, re.MULTILINE)
    yield from (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text))


def commands(page: Path) -> Iterator[tuple[str, list[str]]]:
    """(command, its arguments) of every command of the project that a page shows whole."""
    for piece in pieces(page.read_text(encoding="utf-8")):
        found = COMMAND.match(piece)
        words = shlex.split(found[2], comments=True) if found else ["..."]
        if "..." in words or "--help" in words:  # shortened, or nothing to check
            continue
        name = found[1]
        if name in ("scripts.evaluate", "scripts.benchmark") and words:
            name = f"{name} {words.pop(0)}"
        yield name, words


def check(name: str, words: Sequence[str]) -> None:
    """Parse a command line as its command does, but for the options of the run that it names, which is not there."""
    if name == "train.py":
        parse_train([word for word in words if word != "--continue_train"], TABLE)
    elif words:
        parse(OPTIONS[name], fuse.with_shipped_generator(words))
    else:  # a command that a sentence names
        module = name.split()[0].removesuffix(".py").replace(".", "/")
        assert (ROOT / f"{module}.py").is_file()


@by_page
def test_commands_are_valid(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for file in ("checkpoints/flir/losses.jsonl", "checkpoints/other/losses.jsonl", "CHECKOUT/test.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()  # options look for them
    monkeypatch.chdir(tmp_path)
    for name, words in commands(page):
        try:
            check(name, words)
        except SystemExit:
            pytest.fail(f"{name} {shlex.join(words)}: {capsys.readouterr().err}")


def test_the_commands_of_readme_are_found() -> None:
    found = [name for name, _ in commands(ROOT / "README.md")]
    assert {"train.py", "test.py", "fuse.py", "scripts.evaluate detection"} <= set(found) and found.count(
        "train.py"
    ) >= 4


def names_of(group: type) -> set[str]:
    """The options that a dataclass, nested ones included, gives a command line."""
    names = set()
    for field in fields(group):
        inner = field.default_factory
        if isinstance(inner, type) and is_dataclass(inner):
            names |= names_of(inner)
        else:
            names |= {f"--{field.name}", f"--no_{field.name}"}
    return names


@cache
def known_options() -> set[str]:
    """Every option of the project's commands, and those of others that the pages name."""
    return set().union(OTHERS, *map(names_of, (TrainOptions, *TABLE.values(), *OPTIONS.values())))


@by_page
def test_options_exist(page: Path) -> None:
    code = " ".join(pieces(page.read_text(encoding="utf-8")))
    assert set(re.findall(r"(?<!\w)--[a-zA-Z][\w-]+", code)) <= known_options()


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md", "docs/adding_a_method.md"])
def test_named_files_are_there(page: str) -> None:
    """Pages about the code name files from the project's root."""
    for path in re.findall(r"`((?:data|models|options|util|tests|scripts|docs)/[\w./]*)`", (ROOT / page).read_text()):
        if path.startswith(("models/weights/", "data/cache")) or "." not in path:
            continue
        assert (ROOT / path).exists(), f"{page} names {path}"
