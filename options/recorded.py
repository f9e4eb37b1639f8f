"""The options of a training from its command line, from the options.json of a run, or from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from options.cli import from_dict, given, parse
from options.json_file import read_json
from options.train import InputOptions, LoopOptions, RunOptions, TrainOptions, for_method


def published(cls: type[TrainOptions], method: type) -> TrainOptions:
    """Defaults of a method's training: its options may have settings of their own for the common groups."""
    settings = method.settings
    return cls(input=InputOptions(**settings.get("input", {})), loop=LoopOptions(**settings.get("loop", {})))


def parse_train(argv: Sequence[str], methods: Mapping[str, type]) -> tuple[TrainOptions, TrainOptions | None]:
    """Command line of train.py -> its options, and the recorded ones where a run is continued.

    methods: name -> dataclass of options. With --continue_train the run's own options.json stands in for
    every option that is not given; with --options FILE that file does."""
    continuing = "--continue_train" in argv or "--continue-train" in argv
    source = given(argv, "--options")
    if continuing:
        defaults = RunOptions()
        folder = Path(given(argv, "--checkpoints_dir") or defaults.checkpoints_dir)
        source = folder / (given(argv, "--name") or defaults.name) / "options.json"
    stored = read_json(Path(source)).get("options", {}) if source else {}
    if not isinstance(stored, dict) or not isinstance(stored.get("run", {}), dict):
        raise ValueError(f"{source}: is not an options.json of train.py")
    model = given(argv, "--model") or stored.get("run", {}).get("model", RunOptions.model)
    if model not in methods:
        raise ValueError(f"--model {model}: no such method; there are {', '.join(methods)}")
    if stored and stored.get("run", {}).get("model", model) != model:
        if continuing:
            raise ValueError(f"--model {model}: the run {source.parent} trains {stored['run']['model']}")
        stored = {name: group for name, group in stored.items() if name != "method"}
    cls = for_method(methods[model])
    default = from_dict(cls, stored, str(source)) if stored else published(cls, methods[model])
    options = parse(cls, argv, default)
    if not continuing:
        return options, None
    if options.method != default.method:
        changed = [f.name for f in fields(options.method)
                   if getattr(options.method, f.name) != getattr(default.method, f.name)]  # fmt: skip
        raise ValueError(
            f"--{' --'.join(changed)}: a run goes on with the method it began with ({source}); "
            "leave the option out, or start a run of another --name"
        )
    return options, default


def read_train(path: Path, methods: Mapping[str, type]) -> TrainOptions:
    """The options a run was trained with, from its options.json."""
    stored = read_json(path).get("options", {})
    model = stored.get("run", {}).get("model")
    if model not in methods:
        raise ValueError(f"{path}: names the method {model!r}; there are {', '.join(methods)}")
    return from_dict(for_method(methods[model]), stored, str(path))
