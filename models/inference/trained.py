"""Trained networks from disk: a run's folder, or a weights file that names its method and options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from models import METHODS
from models.blocks import BatchNorm2d
from models.generators import OneDirection, make_generator
from options.recorded import from_dict, read_train
from options.shared import WeightsOptions
from options.train import TrainOptions
from util.command_line import given, parse
from util.json_file import JsonError, parse_json
from util.training.run_folder import BEST_BEFORE, RunFolder
from util.training.state import load_weights

SUFFIX = ".safetensors"  # of weights files
OWN_WEIGHTS = Path(__file__).parents[1] / "weights"
"""Folder of the weights that come with the project."""
SHIPPED = OWN_WEIGHTS / "to_infrared.safetensors"
"""The generator that comes with the project."""
STATISTICS = {"image": "image", "trained": "running"}  # of --norm_statistics -> of a batch norm
FORMS = {"direction": "to_infrared|to_visible", "mean_infrared": r"-?[01](\.[0-9]+)?", "range": "[a-z]+"}
"""How entries of a weights file's metadata look."""
NETWORK = ("netG", "ngf", "norm", "dropout", "upsample", "spectral_norm", "decoder_activation")
SHAPELESS = ("norm", "spectral_norm", "decoder_activation")
"""Options that make a network, and those that do so without another shape of any weight."""
OTHER_COMMAND = {"generation": "test.py, or fuse.py --generator", "fusion": "fuse.py"}

T = TypeVar("T")


def open_run(run: RunFolder, kind: str | None = None) -> TrainOptions:
    """Read the options of a run whose method is for "generation" or "fusion", or for either without a kind. ValueError
    where there is none."""
    if not run.options.is_file():
        raise ValueError(f"{run.options}: no such run; train one with python train.py --name {run.path.name}")
    trained = read_train(run.options, {name: method.Options for name, method in METHODS.items()})
    of = METHODS[trained.run.model].score_kind
    if kind not in (None, of):
        raise ValueError(f"{run.path} trains {trained.run.model}, which is used by {OTHER_COMMAND[of]}")
    return trained


def parse_with_run(options: type[T], argv: Sequence[str], kind: str) -> tuple[T, TrainOptions | None]:
    """A command line's options, with the data options of the run that --name gives as their defaults, and the run's own
    options; None where no run is named. options: a class that has with_data. kind: as open_run takes it."""
    name = given(argv, "--name")
    if name is None or given(argv, "--weights") is not None or {"-h", "--help"} & set(argv):
        return parse(options, argv), None
    run = RunFolder(Path(given(argv, "--checkpoints_dir") or WeightsOptions().checkpoints_dir) / name)
    if not run.options.is_file():
        parse(options, argv)  # a mistake in the command line comes before a run that is not there
    trained = open_run(run, kind)
    return parse(options, argv, options().with_data(trained.data, given(argv, "--dataroot"))), trained


def select_weights(run: RunFolder, epoch: str) -> Path:
    """The weights file that --epoch names: best, last, the number of an epoch, or auto (best, else last)."""
    if epoch == "auto":
        epoch = "best" if run.weights("best").is_file() else "last"
    path = run.weights(epoch)
    if not path.is_file():
        kept = sorted(
            file.stem.removeprefix("epoch_").lstrip("0")
            for file in run.path.glob("*.safetensors")
            if file.stem != BEST_BEFORE
        )
        raise ValueError(f"{path}: no such weights; --epoch can be {', '.join(kept) or 'nothing yet: train first'}")
    return path


def find_weights(options: WeightsOptions, kind: str | None = "generation") -> tuple[Path, TrainOptions | None]:
    """Find (weights file, options of its run): a weights file, a run's, or, where neither is named, the generator that
    comes with the project. kind: as open_run takes it. ValueError where there is none."""
    if options.weights is None and options.name is not None:
        run = RunFolder(options.checkpoints_dir / options.name)
        trained = open_run(run, kind)
        return select_weights(run, options.epoch), trained
    if options.weights is None and not SHIPPED.is_file():
        raise ValueError(f"{SHIPPED}: is not in this copy of the code; fetch it with git, or give --name or --weights")
    return options.weights or SHIPPED, None


def named_weights(named: str, checkpoints_dir: Path) -> Path:
    """The weights file that --init_from means: a file by its ending, .safetensors, or a run's best ones, else last."""
    path = Path(named)
    if path.suffix != SUFFIX:
        run = RunFolder(checkpoints_dir / named)
        if not run.options.is_file():
            raise ValueError(f"--init_from {named}: is no run in {checkpoints_dir}, nor a file ending in {SUFFIX}")
        path = select_weights(run, "auto")
    return path


def load_initial(network: nn.Module, named: str, path: Path, options: Any) -> dict[str, str]:
    """--init_from: give the network's parts (to_infrared, ...) the weights that a file has of them; parts that it does
    not have stay as they are. Returns what the file says of itself. options: of the network's method. ValueError where
    the file has no such part, or where their architectures differ."""
    metadata, tensors = load_weights(path)
    ours, loaded = network.state_dict(), {}
    source = _stored_options(metadata["model"], metadata, path) if metadata.get("model") in METHODS else None
    other = any(getattr(source, name, None) not in (None, getattr(options, name, None)) for name in SHAPELESS)
    parts = sorted({name.partition(".")[0] for name in ours})
    for part in parts:
        expected = {name: tensor.shape for name, tensor in ours.items() if name.startswith(f"{part}.")}
        found = {name: tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}
        if found and (other or {name: tensor.shape for name, tensor in found.items()} != expected):
            raise ValueError(f"--init_from {named}: its {part} is another network than this run's: {_remedy(source)}")
        loaded |= found
    if not loaded:
        raise ValueError(
            f"--init_from {named}: {path} is for {metadata.get('model') or 'no method it names'}, and has nothing of "
            f"this run's networks ({', '.join(parts)})"
        )
    network.load_state_dict(ours | loaded)
    return metadata


def _direction(metadata: Mapping[str, str], options: Any, path: Path) -> nn.Module:
    """The network of a generator imported alone."""
    if metadata["direction"] == "to_visible":
        raise ValueError(f"{path}: makes visible images; import the other generator (--direction to_infrared)")
    channels = metadata.get("in_channels"), metadata.get("out_channels")
    if not set(channels) <= {"1", "3"}:
        raise ValueError(f"{path}: does not say that it takes and makes 1 or 3 channels; import it anew")
    common = (options.ngf, options.norm, options.dropout, options.upsample)
    return OneDirection(make_generator(options.netG, *map(int, channels), *common))


def _choose_statistics(
    network: nn.Module, wanted: str | None, metadata: Mapping[str, str], path: Path
) -> dict[str, str]:
    """Makes batch norms use what --norm_statistics wants, or what the file says; {"norm_statistics"} for its metadata,
    {} where there are none. Imported ones use each image's, as the project does that they are from."""
    norms = [module for module in network.modules() if isinstance(module, BatchNorm2d)]
    if wanted and not norms:
        raise ValueError(f"--norm_statistics {wanted}: {path} has no batch norms, which alone have both; leave it out")
    chosen = wanted or metadata.get("norm_statistics") or ("image" if "direction" in metadata else "trained")
    if chosen not in STATISTICS:
        raise ValueError(f"{path}: names norm statistics {chosen}; give --norm_statistics {' or '.join(STATISTICS)}")
    for norm in norms:
        norm.statistics = STATISTICS[chosen]
    return {"norm_statistics": chosen} if norms else {}


def load_network(
    path: Path, kind: str, trained: TrainOptions | None = None, norm_statistics: str | None = None
) -> tuple[nn.Module, Any, dict[str, str]]:
    """(network in eval mode, its method's options, the file's metadata with "model" and "weights" in it).

    trained: the options of the run that the weights belong to; without them the file itself must name its method
    and options. norm_statistics: as --norm_statistics, of a generator. ValueError where the file does not fit."""
    metadata, tensors = load_weights(path)
    for name, form in FORMS.items():
        if name in metadata and not re.fullmatch(form, metadata[name]):
            raise ValueError(f"{path}: its {name} is {metadata[name][:40]!r}, which no such file says: write it anew")
    model = trained.run.model if trained else metadata.get("model", "")
    usable = [name for name, method in METHODS.items() if method.score_kind == kind]
    if model not in usable:
        raise ValueError(f"{path}: is for {model[:40] or 'no method it names'}; wanted is {' or '.join(usable)}")
    options = trained.method if trained else _stored_options(model, metadata, path)
    imported = kind == "generation" and "direction" in metadata
    network = _direction(metadata, options, path) if imported else METHODS[model].network(options)
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise ValueError(f"{path}: its tensors are not those of {model} with the options it names") from None
    about = metadata | {"model": model, "weights": str(path)}
    if kind == "generation":
        about |= _choose_statistics(network, norm_statistics, metadata, path)
    elif norm_statistics:
        raise ValueError(f"--norm_statistics {norm_statistics} is of generators, and {path} fuses: leave it out")
    return network.eval(), options, about


def _remedy(options: Any) -> str:
    """The options that make the network of a weights file, to be given. options: of its method, or None."""
    values = {name: getattr(options, name) for name in NETWORK if hasattr(options, name)}
    known = [
        f"--{'' if value else 'no_'}{name}" if isinstance(value, bool) else f"--{name} {value}"
        for name, value in values.items()
    ]
    return f"give {' '.join(known)}" if known else "give the options of its network"


def _stored_options(model: str, metadata: dict[str, str], path: Path) -> Any:
    try:
        stored = parse_json(metadata.get("options", "{}"), "options")
        return from_dict(METHODS[model].Options, stored, str(path))
    except JsonError:
        raise ValueError(f"{path}: the options in it cannot be read; write it anew") from None
