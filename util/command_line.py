"""From a dataclass to a command line and back: parsing, one-line errors, options.json."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import math
import os
import re
import signal
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from PIL import Image

T = TypeVar("T")
USER_ERROR = 2


def parse(cls: type[T], argv: Sequence[str] | None = None, default: T | None = None) -> T:
    """Command line -> instance of the dataclass `cls`, whose nested dataclasses share one flat namespace.

    default: where options not given come from. A mistake prints one line and exits with status 2."""
    messages = io.StringIO()
    extra: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(messages):
            options = tyro.cli(
                cls,
                args=argv,
                use_underscores=True,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
                **extra,
            )
        _check_finite(options)
        return options
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        fail(_one_line(messages.getvalue(), sys.argv[1:] if argv is None else argv))
    except ValueError as error:
        fail(str(error))


def _check_finite(options: Any) -> None:
    """ValueError where an option, in whatever group, is no finite number: options.json, for one, could not hold it."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            _check_finite(value)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, float) and not math.isfinite(item):
                raise ValueError(f"--{field.name} is {item}: give a finite number")


def fail(message: str) -> typing.NoReturn:
    """Print one line for the user and exit with status 2."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(USER_ERROR)


def run_command(command: Callable[[], int | None]) -> typing.NoReturn:
    """Run a command's main; a user's mistake (ValueError, OSError) becomes one line and exit status 2, and Ctrl-C one
    and 130, whatever error a library makes of it."""
    Image.MAX_IMAGE_PIXELS = None  # every command reads pictures of any size, of which Pillow would refuse large ones
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need be no text
    pressed = []

    def note(number: int, frame: types.FrameType | None) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # nohup and a shell's & have it ignored
        signal.signal(signal.SIGINT, note)
    try:
        raise SystemExit(command())
    except BrokenPipeError:  # whoever read the output has seen enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except (KeyboardInterrupt, Exception) as error:
        if pressed or isinstance(error, KeyboardInterrupt):
            print("stopped by Ctrl-C", file=sys.stderr)
            raise SystemExit(130) from None
        if isinstance(error, OSError) and error.strerror and error.filename is not None:
            fail(f"{error.strerror}: {os.fspath(error.filename)}")
        if isinstance(error, (ValueError, OSError)):
            fail(str(error))
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def run_subcommand(usage: str, modules: Mapping[str, tuple[str, str]], kind: str, argv: Sequence[str]) -> int:
    """Run main(argv) of the module that the first word names; without one, or with --help, tell what there is.

    modules: word -> (module, what it is for). kind: what a word names, for the message about one that does not."""
    if not argv or argv[0] in ("-h", "--help"):
        width = max(map(len, modules)) + 1
        lines = [f"  {name:{width}} {what}" for name, (_, what) in modules.items()]
        command = usage.partition(" WHAT")[0]
        print("\n".join([f"usage: {usage}", "", *lines, "", f"{command} WHAT --help names the options of each."]))
        return 0 if argv else USER_ERROR
    if argv[0] not in modules:
        raise ValueError(f"{argv[0]}: no such {kind}; give {', '.join(modules)}")
    # One module is imported, not all: each needs packages that the others do not.
    return importlib.import_module(modules[argv[0]][0]).main(list(argv[1:]))


def _of_another_type(message: str) -> str:
    """tyro's message, in words where it is about a value that is no number."""
    option = r"^Error parsing (--[\w-]+): "
    kinds = {"INT": "a whole number", "FLOAT": "a number", "{INT INT}": "two whole numbers"}
    union = option + r"no type matching \{None\}\|(\{.*?\}|\w+) could be instantiated from \[(.*?)\]\. Got errors.*"
    if found := re.fullmatch(union, message):
        return f"{found[1]} {found[3]}: give {kinds.get(found[2], found[2])}, or None"
    message = re.sub(option + r"invalid literal for int.*?: (.*)", r"\1 \2: give a whole number", message)
    message = re.sub(option + r"could not convert string to float: (.*)", r"\1 \2: give a number", message)
    return re.sub(option + "Exceeds the limit.*", r"\1: give a number of fewer digits", message)


def _one_line(box: str, argv: Sequence[str]) -> str:
    """The message of tyro's error box, and what it suggests, as one line. Where the output is ASCII the box is lines
    of hyphens below a title. argv: the command line that it is about."""
    lines = [line.strip("│ ").strip() for line in box.splitlines() if line.startswith("│")]
    parts = re.split("─{5,}", " ".join(lines)) if lines else re.split("-{5,}", box)[1:]
    parts = [" ".join(part.split()) for part in parts] or [""]
    message = _of_another_type(re.sub(r"^Error parsing (?!--)[\w.-]+: ", "", parts[0]))
    message = re.sub(r"^Unrecognized options", "unknown option", message)
    stray = re.fullmatch(r"unknown option: ([^-].*)", message)
    if stray and stray[1] in argv[1:] and (before := argv[argv.index(stray[1], 1) - 1]).startswith("--"):
        message = f"{before} takes no value such as {stray[1]}: leave that out"
    elif stray and stray[1] in argv[2:] and argv[argv.index(stray[1], 2) - 2].startswith("--"):
        option, value = argv[argv.index(stray[1], 2) - 2 :][:2]
        message = f"{option} takes one value, not {value} {stray[1]}: leave one out"
    elif stray and Path(stray[1]).exists():
        message = f"{stray[1]}: say what it is for, such as --dataroot {stray[1]}"
    missing = re.match(r"Missing value for argument '(--[\w-]+)'", message)
    if missing and missing[1] in argv[:-1]:
        option, value = argv[argv.index(missing[1]) :][:2]
        message = f"{option} has no value: give one, as {option}={value} where it begins with a hyphen"
    if "--gpu_ids" in message:
        message = "--gpu_ids is no option here: give --device cuda:N, or --device cpu"
    message = re.sub(
        r"^Missing from \S+: (--[\w-]+).*?\](?:\])?\s+(.*?)\s*\(required\)$", r"\1 is missing: \2", message
    )
    suggestions = [
        match.group(0)
        for part in parts[1:]
        if "Perhaps you meant" in part or "Similar" in part
        for match in re.finditer(r"--[\w-]+", part)
    ]
    if suggestions:
        message += f" (did you mean {' or '.join(dict.fromkeys(suggestions[:3]))}?)"
    return message or " ".join(box.split())


def to_dict(options: Any) -> dict[str, Any]:
    """A dataclass, nested ones included, as JSON-ready values."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, (tuple, list)):
            return [plain(item) for item in value]
        return value

    return plain(options)


def given(argv: Sequence[str], option: str) -> str | None:
    """The value given for one option, before the whole command line is understood; None where absent. The last one
    where it is given twice, as everywhere."""
    names, found = {option, option.replace("_", "-")}, None
    for position, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name in names:
            found = value if equals else (argv[position + 1] if position + 1 < len(argv) else None)
    return found
