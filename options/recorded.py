"""The options of a training from its command line, from the options.json of a run, or from both; values of JSON files,
each of its option's own type."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from options.train import InputOptions, LoopOptions, RunOptions, TrainOptions, for_method
from util.command_line import given, parse
from util.json_file import read_json

T = TypeVar("T")
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
WORDS |= {types.NoneType: "null"}


def _as(hint: Any, value: Any) -> Any:
    """The value as one plain type; TypeError where it is of another."""
    if typing.get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_as(typing.get_args(hint)[0], each) for each in value)
    if typing.get_origin(hint) is typing.Literal and value in typing.get_args(hint):
        return value
    if hint in (bool, types.NoneType, int) and type(value) is hint:
        return value
    if hint is float and type(value) in (int, float):
        return float(value)
    if hint in (str, Path) and type(value) is str and "\0" not in value:
        return hint(value)
    raise TypeError


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _described(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(map(json.dumps, typing.get_args(hint)))}"
    return WORDS.get(hint, "a list")


def _typed(hint: Any, value: Any, name: str, where: str) -> Any:
    """A value of a JSON file as the option's type, of which text is none of a number, or the other way round."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_dict(hint, value, where)
    choices = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for choice in choices:
        with contextlib.suppress(TypeError, OverflowError):
            return _as(choice, value)
    wanted = " or ".join(_described(choice) for choice in choices)
    raise ValueError(f"{where}: {name} is {_shown(value)}: give {wanted}")


def from_dict(cls: type[T], values: Any, where: str) -> T:
    """Invert util.command_line.to_dict. Options that `values` lacks take their defaults; a ValueError, which begins
    with `where`, names one that is unknown, of another type than the option's, or out of its limits."""
    if not isinstance(values, dict):
        raise ValueError(f"{where}: {_shown(values)} stands where a group of options belongs: write it anew")
    hints = typing.get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(typing.cast(Any, cls))}
    unknown = sorted(set(values) - names)
    if unknown:
        raise ValueError(f"{where}: unknown options {', '.join(unknown)}; remove them from the file")
    typed = {name: _typed(hints[name], value, name, where) for name, value in values.items()}
    try:
        return cls(**typed)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def published(cls: type[TrainOptions], method: Any) -> TrainOptions:
    """Defaults of a method's training: its options may have settings of their own for the common groups."""
    settings = _settings(method)
    return cls(input=InputOptions(**settings.get("input", {})), loop=LoopOptions(**settings.get("loop", {})))


def _stored(path: Path) -> tuple[dict[str, Any], Any]:
    """(groups of options, name of the method) in an options.json; ValueError where it is another kind of file."""
    groups = read_json(path).get("options", {})
    run = groups.get("run", {}) if isinstance(groups, dict) else None
    if not isinstance(run, dict) or not isinstance(run.get("model", ""), str):
        raise ValueError(f"{path}: is not an options.json of train.py")
    return groups, run.get("model")


def _continues(argv: Sequence[str]) -> bool:
    """Whether --continue_train is given, and not taken back after that."""
    words = [word.replace("-", "_") for word in argv]
    given = [word for word in words if word in ("__continue_train", "__no_continue_train")]
    return given[-1:] == ["__continue_train"]


def _settings(method: Any) -> Mapping[str, Any]:
    """What a method's options set in the common groups; nothing for a method that is not known."""
    return getattr(method, "settings", {})


def _for_other(stored: Mapping[str, Any], before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """The stored groups of options for another method than theirs: without its own, and with what the other one sets in
    the common groups instead of what theirs did."""
    common = {name: group for name, group in stored.items() if name != "method"}
    for name, group in common.items():
        if isinstance(group, dict):
            kept = {option: value for option, value in group.items() if option not in before.get(name, {})}
            common[name] = kept | now.get(name, {})
    return common


def parse_train(argv: Sequence[str], methods: Mapping[str, type]) -> tuple[TrainOptions, TrainOptions | None]:
    """Command line of train.py -> its options, and the recorded ones where a run is continued.

    methods: name -> dataclass of options. With --continue_train the run's own options.json stands in for
    every option that is not given; with --options FILE that file does."""
    continuing = _continues(argv)
    source: Any = given(argv, "--options")
    if continuing:
        defaults = RunOptions()
        folder = Path(given(argv, "--checkpoints_dir") or defaults.checkpoints_dir)
        source = folder / (given(argv, "--name") or defaults.name) / "options.json"
        if not source.is_file():
            raise ValueError(f"{source}: no such run; leave --continue_train out to train one")
    stored, trains = _stored(Path(source)) if source else ({}, None)
    model = given(argv, "--model") or trains or RunOptions.model
    if model not in methods:
        raise ValueError(f"--model {model}: no such method; there are {', '.join(methods)}")
    if trains not in (None, model):
        if continuing:
            raise ValueError(f"--model {model}: the run {source.parent} trains {trains}")
        stored = _for_other(stored, _settings(methods.get(trains)), _settings(methods[model]))
    cls = for_method(methods[model])
    default = from_dict(cls, stored, str(source)) if stored else published(cls, methods[model])
    options = parse(cls, argv, default)
    if not continuing:
        return options, None
    if options.run.init_from != default.run.init_from:
        raise ValueError(
            f"--init_from {options.run.init_from} --continue_train: a run goes on from its own weights; leave "
            "--init_from out, or start a run of another --name"
        )
    if options.run.options != default.run.options:
        raise ValueError(
            f"--options {options.run.options} --continue_train: a run goes on by its own options; leave --options out, "
            "and give what is to change by itself"
        )
    if options.method != default.method:
        before, now = vars(default.method), vars(options.method)
        changed = [name for name in now if now[name] != before[name]]
        raise ValueError(
            f"--{' --'.join(changed)}: a run goes on with the method it began with ({source}); "
            "leave the option out, or start a run of another --name"
        )
    return options, default


def read_train(path: Path, methods: Mapping[str, type]) -> TrainOptions:
    """The options a run was trained with, from its options.json."""
    stored, model = _stored(path)
    if model not in methods:
        raise ValueError(f"{path}: names the method {model!r}; there are {', '.join(methods)}")
    return from_dict(for_method(methods[model]), stored, str(path))
