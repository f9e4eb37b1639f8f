"""Fuse visible and infrared images or videos with a trained network. python fuse.py --help names every option."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from data.counts import ThermalRange, stretched
from data.images import write_image
from data.inputs import Job, evenly, find_to_fuse
from data.output.fused_video import fuse_video, note_videos, open_videos
from data.output.results import MANIFEST, Results, manifest_key, own_folder, remove_all_parts
from data.output.writing import Wait, Writers, at_own_size, coloured, copy_small, fetch
from data.remarks import CUTS, note_views
from data.scoring.fusion import FUSED, FusedScorer
from data.scoring.scores import Scores, are_scores
from data.transforms import Preprocess
from data.video import is_video
from data.visible_images import FusionInputs, batch_limits, images_in, read_batches
from models import METHODS
from models.inference.fuser import Fuser
from models.inference.trained import (
    OWN_WEIGHTS,
    SHIPPED,
    SUFFIX,
    find_weights,
    load_network,
    parse_with_run,
    select_weights,
)
from models.inference.translator import Translator
from options.fuse import FuseOptions, NetworkOptions
from options.fusion_gan import FusionGANOptions
from options.shared import WeightsOptions
from options.train import TrainOptions
from scripts.report import announce, cases_of, print_scores, score_results, tell, tell_skipped, write_page, write_scores
from util.command_line import given, run_command, to_dict
from util.device import select_device
from util.files import check_folder, digest, short, write_whole
from util.images import resize
from util.json_file import read_json
from util.text import first_few, plural
from util.training import ranks
from util.training.run_folder import RunFolder

POLICIES = ("minmax", "clip")
KINDS = {"fused": ".png", "infrared": ".png", "previews/visible": ".jpg", "previews/infrared": ".jpg"}
"""Folder of results -> how its files end."""


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
        path = select_weights(RunFolder(opts.checkpoints_dir / opts.name), opts.epoch)
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
    sees images at; None for their own. thermal: the range that its images come to, as those on disk do. weights: its
    file. statistics: of batch norms. about: what it is, in words."""

    translator: Translator
    thermal: ThermalRange
    sees: Preprocess | None
    weights: Path
    statistics: str | None
    about: str

    def __call__(self, seen: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
        """[N, 3, h, w] as the generator sees it -> uint8 [N, 1, H, W] of a size, where the generator leaves it."""
        together = images_in(batch_limits(None, self.translator.device.device), *seen.shape[-2:])
        made = (at_own_size(self.translator(part), [size] * len(part)) for part in seen.split(together))
        images = torch.stack([image for part in made for image in part])
        if self.thermal.eight_bit == "asis":
            return images
        levels = (torch.from_numpy(stretched(image.numpy(), self.thermal)) for image in images[:, 0].cpu())
        return torch.stack(list(levels))[:, None].to(images.device)

    def made_by(self) -> list[Any]:
        """By what its images are made, as JSON."""
        return [digest(self.weights), asdict(self.sees) if self.sees else "input", self.statistics]

    def of_frames(self, visible: torch.Tensor) -> torch.Tensor:
        """Whole images, uint8 [N, 3, H, W] -> uint8 [N, 1, H, W], where the generator leaves it."""
        size = tuple(visible.shape[-2:])
        return self(resize(visible, self.sees.working_size(*size) if self.sees else size), size)


def load_partner(
    opts: NetworkOptions, thermal: ThermalRange, generator: str, norm_statistics: str | None = None
) -> Partner:
    """What --generator names: a run, or a weights file by its ending. thermal: as of Partner."""
    file = Path(generator) if generator.endswith(SUFFIX) else None
    path, trained = find_weights(WeightsOptions(generator, opts.checkpoints_dir, weights=file))
    about = f"{path.parent}, {path.name}" if trained else generator
    device = select_device(opts.device, opts.precision)
    network, _, facts = load_network(path, "generation", trained, norm_statistics)
    sees = Preprocess.of_generator(trained, facts)
    return Partner(Translator(network, device), thermal, sees, path, facts.get("norm_statistics"), about)


def fuse_batch(
    visible: torch.Tensor, items: Sequence[dict[str, Any]], fuser: Fuser, partner: Partner | None
) -> tuple[torch.Tensor, torch.Tensor, Wait]:
    """Fused luminance and raw ranges as of Fuser, on their way to the CPU, where every item gets its "visible" and
    "infrared" too, and what waits until all are there. visible: uint8 [N, 3, H, W] of the items of FusionInputs."""
    device = fuser.device.device
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


def finish(
    results: Results,
    item: Mapping[str, Any],
    fused: torch.Tensor,
    span: torch.Tensor,
    gray: bool,
    shown: bool,
    wait: Wait,
) -> None:
    """Write one fused image, of luminance [1, H, W], the infrared one where it was made, and, if shown, copies of the
    inputs, so that the results can be moved alone; runs in a writer thread. item: of FusionInputs, with "infrared".
    span: grey levels of the network's raw output, [2]. wait: until all have arrived on the CPU."""
    wait()
    job, images = item["job"], {kind: item[kind] for kind in ("visible", "infrared")}
    stem = job.visible.stem
    if (inputs := results.inputs(job)) is None:
        return
    write_image(results.file("fused", stem), coloured(images["visible"], fused, gray))
    if job.ground_truth is None:
        write_image(results.file("infrared", stem), images["infrared"][0].numpy())
    for kind, image in images.items() if shown else ():
        copy_small(results.file(f"previews/{kind}", stem), image)
    facts = {
        "visible": str(job.visible.path),
        "infrared": str(job.ground_truth.path) if job.ground_truth else "generated",
    }
    facts["raw_range"] = [round(end, 2) for end in span.tolist()]
    facts |= {"infrared_size_before": list(item["resized"])} if "resized" in item else {}
    results.add(stem, {"inputs": inputs, "facts": facts})


def fits(record: Mapping[str, Any]) -> bool:
    """Whether a record read back is as `finish` and scoring make it."""
    return isinstance(record.get("facts"), dict) and ("scores" not in record or are_scores(record))


def fuse_images(
    options: FuseOptions, jobs: Sequence[Job], fuser: Fuser, partner: Partner | None, results: Results, shown: set[str]
) -> None:
    """Every pair: read in workers, fused in batches, written in threads. shown: stems of those in the gallery."""
    device, threads, gray = fuser.device.device, options.sources.num_threads, options.output.gray
    limit, pixels = batch_limits(options.network.batch_size, device)
    thermal, sees = ThermalRange.from_options(options.data), partner.sees if partner else None
    dataset, pinned = FusionInputs(jobs, thermal, sees, pixels), device.type == "cuda"
    read = read_batches(dataset, limit, threads, options.data.strict, results.errors, "fusing", pinned)
    with closing(read) as reading, Writers(threads) as writers, torch.inference_mode():
        for visible, items in reading:
            fused, spans, wait = fuse_batch(visible, items, fuser, partner)
            for item, image, span in zip(items, fused, spans, strict=True):
                held = sum(x.numel() * x.element_size() for x in (item["visible"], item["infrared"], image))
                copied = item["job"].visible.stem in shown
                writers.submit(held, finish, results, item, image, span, gray, copied, wait)


def manifest_facts(facts: Mapping[str, Any], options: FuseOptions, fuser: Fuser) -> dict[str, Any]:
    """By what images are fused, besides the weights. facts: with the range."""
    return {
        "thermal range": asdict(ThermalRange.from_options(options.data)),
        "exposure": "standard" if fuser.standard else "as given",
        "precision": str(fuser.device.dtype),
        "tiles": options.network.tile,
        "range": facts["range"],
        "gray": options.output.gray,
    }


def columns(results: Results, job: Job) -> dict[str, Path]:
    """Column of the gallery -> file, of a job's result."""
    kinds = {"visible": "previews/visible", "infrared": "previews/infrared", FUSED: "fused"}
    return {label: results.file(kind, job.visible.stem) for label, kind in kinds.items()}


def needed(results: Results, job: Job, shown: bool) -> Iterable[Path]:
    """The files without which a job is not done."""
    stem = job.visible.stem
    kinds = ["fused"] + (["infrared"] if job.ground_truth is None else [])
    return [*(results.file(kind, stem) for kind in kinds), *(columns(results, job).values() if shown else ())]


def report(
    folder: Path,
    facts: Mapping[str, Any],
    images: Mapping[str, Any],
    rows: Mapping[str, Mapping[str, Path]],
    scores: Scores | None,
    count: int,
) -> None:
    """Records, scores, page. images: name -> facts. rows: name -> column of the gallery -> file. count: of all."""
    write_whole(folder / "results.json", json.dumps({**facts, "images": images}, indent=2).encode())
    if write_scores(folder, scores, facts):
        print_scores(scores, f"{plural(len(scores.sizes), 'image')}; range: {facts['range']}")
    about = {key: str(facts[key]) for key in ("weights", "range", "infrared", "device")}
    write_page(folder, "fused", rows, scores, about | {"images": f"{len(rows)} of {count} shown"})


@ranks.sharing
def main() -> int:
    """Fuse what the command line names; returns the exit status."""
    options, trained = parse_with_run(FuseOptions, with_shipped_generator(sys.argv[1:]), "fusion")
    if options.sources.visible is not None and given(sys.argv, "--dataroot") is not None:
        raise ValueError("--visible and --dataroot: give folders or files, or a data set, not both")
    sources, network_options = options.sources, options.network
    videos = any(is_video(path) for path in (sources.visible, sources.infrared) if path is not None)
    own = f"_{short(sources.visible.stem)}" if videos else ""  # each has a page of its own
    folder = options.output.results_dir / f"{network_options.result_name}{own}"
    check_folder("--results_dir", options.output.results_dir, folder.name)
    device = select_device(network_options.device, network_options.precision, channels_last="on")
    network, method, facts = load_fusion(network_options, trained)
    policy = options.output.range if options.output.range != "auto" else facts.get("range", "clip")
    if policy not in POLICIES:
        raise ValueError(f"{facts['weights']}: names the range {policy}: give --range {' or '.join(POLICIES)}")
    by_image = isinstance(method, FusionGANOptions) and method.bn_statistics == "image"
    learnt = facts.get("infrared_range", "asis")
    seen = learnt if given(sys.argv, "--infrared_range") is None else options.data.infrared_range
    # The Fuser makes the standard exposure, of whatever it fuses and no score knows.
    options = options.with_range("percentile" if seen == "percentile" else "asis")
    fuser = Fuser(network, device, network_options, policy, not by_image, "standard" in (learnt, seen))
    thermal = ThermalRange.from_options(options.data)
    partner = (
        load_partner(network_options, thermal, sources.generator, sources.norm_statistics)
        if sources.generator is not None
        else None
    )
    facts = {key: facts[key] for key in ("model", "weights", "source", "run", "epoch") if key in facts}
    facts |= {"range": policy, "infrared": f"generated by {partner.about}" if partner else "given"}
    facts |= {"device": device.describe(), "method": to_dict(method)}
    opening = {"network": f"{facts['model']}, {facts['weights']}"}
    opening |= {name: facts[name] for name in ("infrared", "range", "device")} | {"writes": f"{folder}/"}
    announce(opening)
    if videos:
        return run_videos(options, fuser, partner, folder, facts)
    return run_images(options, fuser, partner, folder, facts)


def run_images(
    options: FuseOptions, fuser: Fuser, partner: Partner | None, folder: Path, facts: Mapping[str, Any]
) -> int:
    """Fuse images; exit status 1 where some were skipped."""
    sources, device, inputs = options.sources, fuser.device, find_to_fuse(options.sources, options.data)
    jobs = inputs.jobs
    tell("data", [inputs.summary])
    tell("note", inputs.notes)
    if sources.visible is not None:  # data sets have notes of their own
        pairs = [(job.visible, job.ground_truth) for job in jobs if job.ground_truth is not None]
        remedy, why = CUTS.format("--visible and --infrared"), "they are fused pixel by pixel"
        tell("note", note_views(pairs, "visible images", "their infrared partners", remedy, why=why))
    key = manifest_key(Path(facts["weights"]), manifest_facts(facts, options, fuser))
    shown = {job.visible.stem for job in evenly(jobs, options.output.gallery)}
    with own_folder(options.output.results_dir, folder, inputs.paths, KINDS):
        maker = partner and partner.made_by()
        results = Results(folder, KINDS, key, options.output.overwrite, fits, jobs, maker)
        left = results.left(lambda job: needed(results, job, job.visible.stem in shown))
        tell("note", results.notes(left, "fused"))
        fuse_images(options, left, fuser, partner, results, shown)
        results.collect()
        done = [job for job in jobs if job.visible.stem in results.records]
        scores = None
        if options.output.evaluate:
            scorer = FusedScorer(ThermalRange.from_options(options.data), device.device)
            cases = cases_of(results, done, FUSED, "fused")
            scores = score_results(results, cases, scorer, sources.num_threads, options.data.strict)
        if not ranks.is_writer():
            return 0
        images = {job.visible.stem: results.records[job.visible.stem]["facts"] for job in done}
        rows = {job.visible.stem: columns(results, job) for job in done if job.visible.stem in shown}
        report(folder, facts, images, rows, scores, len(jobs))
        if resized := [stem for stem, of_image in images.items() if "infrared_size_before" in of_image]:
            pairs = plural(len(resized), "pair")
            tell("note", [f"infrared resized to its visible image's size in {pairs}: {first_few(resized)}"])
        status = tell_skipped([*inputs.skipped, *results.errors])
        status |= tell_skipped(scores.errors, ", not scored") if scores is not None else 0
        print(f"images    {len(done)} in {folder / 'fused'}")
        return status


def check_source(file: Path, visible: str, overwrite: bool) -> None:
    """ValueError where a results.json tells of another video, whose results would be lost."""
    try:
        other = read_json(file).get("visible", visible)
    except ValueError:  # none is there
        return
    if other != visible and not overwrite:
        raise ValueError(f"{file.parent} holds what was made of {other}: give another --results_dir, or --overwrite")


def run_videos(options: FuseOptions, fuser: Fuser, partner: Partner | None, folder: Path, facts: dict[str, Any]) -> int:
    """Fuse a visible video and an infrared one, or one that is made here; exit status 1 where one ended broken."""
    sources, output, device = options.sources, options.output, fuser.device.device
    if output.evaluate:
        raise ValueError("--evaluate scores images as they are saved, which a video's frames are not: leave it out")
    if ranks.world() > 1:
        tell("note", ["a video is fused by one process, rank 0; the others end here"])
    if not ranks.is_writer():
        return 0
    limits, pinned = batch_limits(options.network.batch_size, device), device.type == "cuda"
    pairs = open_videos(sources, ThermalRange.from_options(options.data), limits, pinned)
    tell("data", [f"{sources.visible}, {float(pairs.visible.rate):g} frames/s"])
    tell("note", note_videos(pairs))
    fuser.begin_video()

    def fuse(visible: torch.Tensor, infrared: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor, Wait]:
        infrared = partner.of_frames(visible) if partner else infrared
        fetched, wait = fetch([infrared, fuser(visible, infrared)[0]], device)
        return *fetched, wait

    with own_folder(output.results_dir, folder, pairs.paths, KINDS), torch.inference_mode():
        source = str(pairs.visible.path.resolve())
        check_source(folder / "results.json", source, output.overwrite)
        remove_all_parts(folder, (*KINDS, "previews/fused"))
        (folder / MANIFEST).touch()  # whose folder this is
        count, video, rows = fuse_video(pairs, fuse, folder, output.gray, output.gallery)
        if pairs.errors and options.data.strict:
            raise pairs.errors[0]
        if pairs.steps and pairs.steps.ended:
            tell("note", [pairs.steps.ended])
        report(folder, {**facts, "visible": source, "frames": count}, {}, rows, None, count)
        status = tell_skipped(pairs.errors)
        if count:
            print(f"video     {plural(count, 'frame')} in {video}")
        return status


if __name__ == "__main__":
    run_command(main)
