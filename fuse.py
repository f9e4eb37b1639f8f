"""Fuse visible and infrared images or videos with a trained network. python fuse.py --help names every option."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from data.images import ThermalRange
from data.inputs import Job, evenly, find_to_fuse
from data.output.finished import notes
from data.output.fused import KINDS, PIPELINE, Results, fits
from data.output.fused_video import fuse_video, fused_video
from data.output.generated import PIPELINE as GENERATED
from data.output.generated import at_own_size
from data.output.made import MADE, Made, own_folder
from data.output.writing import Wait, Writers, fetch
from data.transforms import Preprocess, resize
from data.video import FramePairs, is_video
from data.views import CUTS, note_views
from data.visible_images import FusionInputs, batch_limits, images_in, read_batches
from models import METHODS
from models.inference.fuser import Fuser
from models.inference.trained import (
    OWN_WEIGHTS,
    SHIPPED,
    SUFFIX,
    choose_weights,
    find_weights,
    load_network,
    open_run,
)
from models.inference.translator import Translator
from options.fuse import FuseOptions, NetworkOptions
from options.fusion_gan import FusionGANOptions
from options.train import TrainOptions
from util.command_line import given, parse, run_command, to_dict
from util.device import Compute, choose
from util.files import check_folder, digest
from util.text import plural
from util.training.run_folder import RunFolder

POLICIES = ("minmax", "clip")


def read_command(argv: Sequence[str]) -> tuple[FuseOptions, TrainOptions | None]:
    """The command's options, with the data options of the run that --name gives as defaults; the run's options."""
    argv = with_shipped_generator(argv)
    name = given(argv, "--name")
    if name is None or "-h" in argv or "--help" in argv:
        return parse(FuseOptions, argv), None
    folder = Path(given(argv, "--checkpoints_dir") or NetworkOptions().checkpoints_dir) / name
    run = RunFolder(folder)
    if not run.options.is_file():
        parse(FuseOptions, argv)  # a mistake in the command line comes before a run that is not there
    trained = open_run(run, "fusion")
    return parse(FuseOptions, argv, FuseOptions().with_data(trained.data, given(argv, "--dataroot"))), trained


def with_shipped_generator(argv: Sequence[str]) -> list[str]:
    """The command line with the file of the generator that comes with the project behind a --generator that has no
    value."""
    words = list(argv)
    if "--generator" in words:
        place = words.index("--generator") + 1
        if place == len(words) or words[place].startswith("--"):
            words.insert(place, str(SHIPPED))
    return words


def load_fusion(opts: NetworkOptions, trained: TrainOptions | None) -> tuple[torch.nn.Module, Any, dict[str, str]]:
    """The network that fuses, its method's options, and what its file says of it (with "weights", its path)."""
    fusing = [name for name, method in METHODS.items() if method.score_kind == "fusion"]
    if opts.model not in fusing:
        raise ValueError(f"--model {opts.model}: no such fusion method; there are {', '.join(fusing)}")
    if trained is not None:
        path = choose_weights(RunFolder(opts.checkpoints_dir / opts.name), opts.epoch)
    else:
        path = opts.weights or OWN_WEIGHTS / f"{opts.model}.safetensors"
    if not path.is_file() and opts.weights is None:
        raise ValueError(
            f"{path}: no such weights in this copy of the code; fetch them with git, or give a run by --name "
            "or a file by --weights"
        )
    network, options, facts = load_network(path, "fusion", trained)
    asked = given(sys.argv, "--model")
    if asked not in (None, facts["model"]):
        raise ValueError(f"--model {asked}: but {path} is for {facts['model']}; leave the one or the other out")
    return network, options, facts


@dataclass(frozen=True)
class Partner:
    """What makes the infrared partners of visible images, as test.py does. sees: whose working size its generator
    sees images at; None for their own. weights: its file. statistics: of batch norms. about: what it is, in words."""

    translator: Translator
    sees: Preprocess | None
    weights: Path
    statistics: str | None
    about: str

    def __call__(self, seen: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """[N, 3, h, w] as the generator sees it -> uint8 [N, 1, H, W] of a size, where the generator leaves it."""
        together = images_in(batch_limits(None, self.translator.compute.device), *seen.shape[-2:])
        made = (at_own_size(self.translator(part), [size] * len(part)) for part in seen.split(together))
        return torch.stack([image for part in made for image in part])

    def of_frames(self, visible: torch.Tensor) -> torch.Tensor:
        """Whole images, uint8 [N, 3, H, W] -> uint8 [N, 1, H, W], where the generator leaves it."""
        size = tuple(visible.shape[-2:])
        return self(resize(visible, self.sees.working_size(*size) if self.sees else size), size)


def load_partner(opts: NetworkOptions, generator: str, norm_statistics: str | None = None) -> Partner:
    """What --generator names: a run, or a weights file by its ending."""
    file = Path(generator) if generator.endswith(SUFFIX) else None
    path, trained = find_weights(generator, file, "auto", opts.checkpoints_dir)
    about = f"{path.parent}, {path.name}" if trained else generator
    compute = choose(opts.device, opts.precision)
    network, _, facts = load_network(path, "generation", trained, norm_statistics)
    sees = Preprocess.of_generator(trained, facts)
    return Partner(Translator(network, compute), sees, path, facts.get("norm_statistics"), about)


def fuse_batch(
    visible: torch.Tensor, items: Sequence[dict[str, Any]], fuser: Fuser, partner: Partner | None
) -> tuple[torch.Tensor, torch.Tensor, Wait]:
    """Fused luminance and raw ranges as of Fuser, on their way to the CPU, where every item gets its "visible" and
    "infrared" too, and what waits until all are there. visible: uint8 [N, 3, H, W] of the items of FusionInputs."""
    device = fuser.compute.device
    if partner:
        seen = torch.stack([item.pop("seen") for item in items]) if "seen" in items[0] else visible
        infrared = partner(seen, tuple(visible.shape[-2:]))
    else:  # each by itself: joined on the host they would no longer be pinned
        infrared = torch.stack([item["infrared"].to(device, non_blocking=True) for item in items])
    fused, spans = fuser(visible, infrared)
    (fused, spans, made), wait = fetch([fused, spans, infrared if partner else None], device)
    for place, item in enumerate(items):
        item |= {"visible": visible[place]} | ({"infrared": made[place]} if partner else {})
    return fused, spans, wait


def fuse_images(
    options: FuseOptions, jobs: Sequence[Job], fuser: Fuser, partner: Partner | None, results: Results
) -> None:
    """Every pair: read in workers, fused in batches, written in threads."""
    device, threads = fuser.compute.device, options.sources.num_threads
    limit, pixels = batch_limits(options.network.batch_size, device)
    thermal, sees = ThermalRange.from_options(options.data), partner.sees if partner else None
    dataset, pinned = FusionInputs(jobs, thermal, sees, pixels), device.type == "cuda"
    read = read_batches(dataset, limit, threads, options.data.strict, results.errors, "fusing", pinned)
    with closing(read) as reading, Writers(threads) as writers, torch.inference_mode():
        for visible, items in reading:
            fused, spans, wait = fuse_batch(visible, items, fuser, partner)
            for item, image, span in zip(items, fused, spans, strict=True):
                held = sum(x.numel() * x.element_size() for x in (item["visible"], item["infrared"], image))
                writers.submit(held, results.write, item, image, span, wait)


def made_by(facts: dict[str, Any], options: FuseOptions, compute: Compute, partner: Partner | None) -> dict[str, Any]:
    """By what images are fused: those that were fused by anything else are made anew. facts: with weights, range."""
    sees, made = partner and partner.sees, None
    if partner:
        made = [digest(partner.weights), asdict(sees) if sees else "input", partner.statistics, GENERATED]
    return {
        "weights": digest(Path(facts["weights"])),
        "generator": made,
        "thermal range": asdict(ThermalRange.from_options(options.data)),
        "precision": str(compute.dtype),
        "tiles": options.network.tile,
        "range": facts["range"],
        "gray": options.output.gray,
        "code": PIPELINE,
    }


def main() -> int:
    """The command."""
    options, trained = read_command(sys.argv[1:])
    sources, network_options = options.sources, options.network
    check_folder("--results_dir", options.output.results_dir, network_options.name or network_options.model)
    compute = choose(network_options.device, network_options.precision, channels_last="on")
    network, method, facts = load_fusion(network_options, trained)
    policy = options.output.range if options.output.range != "auto" else facts.get("range", "clip")
    if policy not in POLICIES:
        raise ValueError(f"{facts['weights']}: names the range {policy}: give --range {' or '.join(POLICIES)}")
    by_image = isinstance(method, FusionGANOptions) and method.bn_statistics == "image"
    fuser = Fuser(network, compute, network_options, policy, local=not by_image)
    partner = (
        load_partner(network_options, sources.generator, sources.norm_statistics)
        if sources.generator is not None
        else None
    )
    videos = [path for path in (sources.visible, sources.infrared) if path is not None and is_video(path)]
    facts = {key: facts[key] for key in ("model", "weights", "source", "run", "epoch") if key in facts}
    facts |= {"range": policy, "infrared": f"generated by {partner.about}" if partner else "given"}
    facts |= {"device": compute.describe(), "method": to_dict(method)}
    folder = options.output.results_dir / (network_options.name or facts["model"])
    if videos:
        return run_video(options, fuser, partner, folder, facts)
    found = find_to_fuse(sources, options.data)
    jobs, thermal = found.jobs, ThermalRange.from_options(options.data)
    announce(facts, found.summary, folder)
    tell(found.notes)
    if sources.visible is not None:  # data sets have notes of their own
        pairs = [(job.visible, job.real) for job in jobs if job.real is not None]
        remedy, why = CUTS.format("--visible and --infrared"), "they are fused pixel by pixel"
        tell(note_views(pairs, "visible images", "their infrared partners", remedy, why=why))
    read = [source.path for job in jobs for source in (job.visible, job.real) if source is not None]
    with own_folder(options.output.results_dir, folder, read, KINDS):
        made = Made(folder / MADE, made_by(facts, options, compute, partner), options.output.overwrite, fits)
        shown = {job.visible.stem for job in evenly(jobs, options.output.gallery)}
        results = Results(folder, options.output, shown, made)
        results.errors += found.skipped
        left, unscored = results.take_finished(jobs)
        tell(notes(made, len(jobs) - len(left), jobs, folder / "fused", ".png"))
        results.score_written(unscored, thermal, sources.num_threads)
        if results.errors and options.data.strict:
            raise results.errors[0]
        fuse_images(options, left, fuser, partner, results)
        return results.report(facts, len(jobs), f"images    {len(results.records)} in {folder / 'fused'}")


def tell(lines: Sequence[str]) -> None:
    """Notes."""
    for line in lines:
        print(f"note      {line}", flush=True)


def announce(facts: dict[str, Any], found: str, folder: Path) -> None:
    """The opening lines."""
    for name, text in (("network", f"{facts['model']}, {facts['weights']}"), ("data", found),
                       ("infrared", facts["infrared"]), ("range", facts["range"]), ("device", facts["device"]),
                       ("writes", f"{folder}/")):  # fmt: skip
        print(f"{name:9} {text}", flush=True)


def run_video(options: FuseOptions, fuser: Fuser, partner: Partner | None, folder: Path, facts: dict[str, Any]) -> int:
    """As main, for videos."""
    sources = options.sources
    if options.output.evaluate:
        raise ValueError("--evaluate scores images as they are saved, which a video's frames are not: leave it out")
    if not all(is_video(path) for path in (sources.visible, sources.infrared) if path is not None):
        raise ValueError(f"--visible {sources.visible} and --infrared {sources.infrared}: give two videos or none")
    device = fuser.compute.device
    limits, pinned = batch_limits(options.network.batch_size, device), device.type == "cuda"
    thermal = ThermalRange.from_options(options.data)
    pairs = FramePairs(sources.visible, sources.infrared, limits, sources.num_test, thermal, pinned)
    announce(facts, f"{sources.visible}, {float(pairs.visible.rate):g} frames/s", folder)
    if pairs.infrared and pairs.infrared.rate != pairs.visible.rate:
        tell([f"{sources.infrared} has {float(pairs.infrared.rate):g} frames/s: the nearest in time are fused"])
    if facts["range"] == "minmax":
        tell(["every frame is stretched by itself, so brightness can flicker; --range clip does not stretch"])

    def fuse(visible: torch.Tensor, infrared: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor, Wait]:
        infrared = partner.of_frames(visible) if partner else infrared
        fetched, wait = fetch([infrared, fuser(visible, infrared)[0]], device)
        return *fetched, wait

    results = Results(folder, options.output, set())
    read = [path for path in (sources.visible, sources.infrared) if path is not None]
    with own_folder(options.output.results_dir, folder, read, KINDS):
        results.remove_parts()
        (folder / MADE).touch()  # whose folder this is
        with torch.inference_mode():
            count = fuse_video(pairs, fuse, results)
        results.errors = pairs.errors
        if pairs.errors and options.data.strict:
            raise pairs.errors[0]
        if pairs.steps and pairs.steps.ended:
            tell([pairs.steps.ended])
        written = f"video     {plural(count, 'frame')} in {fused_video(folder, sources.visible)}"
        return results.report(facts | {"frames": count}, count, written)


if __name__ == "__main__":
    run_command(main)
