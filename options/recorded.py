"""The options of a training from its command line, from the options.json of a run, or from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from options.train import InputOptions, LoopOptions, RunOptions, TrainOptions, for_method
from options.typed import from_dict
from util.command_line import given, parse
from util.json_file import read_json


def published(cls: type[TrainOptions], method: Any) -> TrainOptions:
    """Defaults of a method's training: its options may have settings of their own for the common groups."""
    settings = method.settings
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
    stored, trains = _stored(Path(source)) if source else ({}, None)
    model = given(argv, "--model") or trains or RunOptions.model
    if model not in methods:
        raise ValueError(f"--model {model}: no such method; there are {', '.join(methods)}")
    if trains not in (None, model):
        if continuing:
            raise ValueError(f"--model {model}: the run {source.parent} trains {trains}")
        stored = {name: group for name, group in stored.items() if name != "method"}
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
