"""Trained networks from disk: a run's folder, or a weights file that names its method and options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from models import METHODS
from models.generators import OneDirection, make_generator
from options.json_file import JsonError, parse_json
from options.recorded import read_train
from options.train import TrainOptions
from options.typed import from_dict
from util.run_folder import RunFolder
from util.weights import load_weights

OTHER_COMMAND = {"generation": "test.py, or fuse.py --generator", "fusion": "fuse.py"}


def open_run(run: RunFolder, kind: str) -> TrainOptions:
    """The options of a run whose method is for "generation" or "fusion"; ValueError where there is none."""
    if not run.options.is_file():
        raise ValueError(f"{run.options}: no such run; train one with python train.py --name {run.path.name}")
    trained = read_train(run.options, {name: method.Options for name, method in METHODS.items()})
    of = METHODS[trained.run.model].score_kind
    if of != kind:
        raise ValueError(f"{run.path} trains {trained.run.model}, which is used by {OTHER_COMMAND[of]}")
    return trained


def choose_weights(run: RunFolder, epoch: str) -> Path:
    """The weights file that --epoch names: best, last, the number of an epoch, or auto (best, else last)."""
    if epoch == "auto":
        epoch = "best" if run.weights("best").is_file() else "last"
    path = run.weights(epoch)
    if not path.is_file():
        kept = sorted(file.stem.removeprefix("epoch_").lstrip("0") for file in run.path.glob("*.safetensors"))
        raise ValueError(f"{path}: no such weights; --epoch can be {', '.join(kept) or 'nothing yet: train first'}")
    return path


def load_network(path: Path, kind: str, trained: TrainOptions | None = None) -> tuple[nn.Module, Any, dict[str, str]]:
    """(network in eval mode, its method's options, the file's metadata with "model" and "weights" in it).

    trained: the options of the run that the weights belong to; without them the file itself must name its method
    and options. ValueError where it does not, or where the tensors do not fit."""
    metadata, tensors = load_weights(path)
    model = trained.run.model if trained else metadata.get("model", "")
    usable = [name for name, method in METHODS.items() if method.score_kind == kind]
    if model not in usable:
        raise ValueError(f"{path}: is for {model or 'no method it names'}; wanted is {' or '.join(usable)}")
    options = trained.method if trained else _stored_options(model, metadata, path)
    direction = metadata.get("direction")
    if direction == "to_visible":
        raise ValueError(f"{path}: makes visible images; import the other generator (--direction to_infrared)")
    if direction:
        channels = int(metadata["in_channels"]), int(metadata["out_channels"])
        common = (options.ngf, options.norm, options.dropout, options.upsample)
        network: nn.Module = OneDirection(make_generator(options.netG, *channels, *common))
    else:
        network = METHODS[model].network(options)
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise ValueError(f"{path}: its tensors are not those of {model} with the options it names") from None
    return network.eval(), options, metadata | {"model": model, "weights": str(path)}


def _stored_options(model: str, metadata: dict[str, str], path: Path) -> Any:
    try:
        stored = parse_json(metadata.get("options", "{}"), "options")
        return from_dict(METHODS[model].Options, stored, str(path))
    except JsonError:
        raise ValueError(f"{path}: the options in it cannot be read; write it anew") from None
