"""Fuse visible and infrared images or videos with a trained network. python fuse.py --help names every option."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from data.first_use import ensure_sample
from data.fusion_inputs import Found, FramePairs, FusionInputs, find_data_set, find_pairs, find_visible
from data.generated import copy_small
from data.images import ImageError, ThermalRange, to_uint8, write_image
from data.inference import read_batches
from data.samples import evenly
from data.transforms import Preprocess, resize
from data.video import VideoWriter, is_video
from models import METHODS
from models.fuser import Fuser
from models.fusion_blocks import as_luminance
from models.trained import choose_weights, load_network, open_run
from options.cli import given, parse, run_command, to_dict
from options.fuse import FuseOptions, NetworkOptions
from options.fusion_gan import FusionGANOptions
from options.train import TrainOptions
from util.compute import choose
from util.fusion_page import FUSED, FusionScores
from util.gallery import Row, write_gallery
from util.run_folder import ROOT, RunFolder, write_whole

OWN_WEIGHTS = ROOT / "models" / "weights"
STRIP = 512  # rows that are coloured at once
VIDEO_FRAMES = 12  # that the gallery shows
POLICIES = ("minmax", "clip")


def read_command(argv: Sequence[str]) -> tuple[FuseOptions, TrainOptions | None]:
    """The command's options, with the data options of the run that --name gives as defaults; the run's options."""
    name = given(argv, "--name")
    if name is None or "-h" in argv or "--help" in argv:
        return parse(FuseOptions, argv), None
    folder = Path(given(argv, "--checkpoints_dir") or NetworkOptions().checkpoints_dir) / name
    run = RunFolder(folder)
    if not run.options.is_file():
        parse(FuseOptions, argv)  # a mistake in the command line comes before a run that is not there
    trained = open_run(run, "fusion")
    return parse(FuseOptions, argv, FuseOptions().with_data(trained.data, given(argv, "--dataroot"))), trained


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


class Maker:
    """A trained generator: visible uint8 [N, 3, H, W] on the CPU -> infrared uint8 [N, 1, H, W], as test.py."""

    def __init__(self, folder: Path, opts: NetworkOptions) -> None:
        run = RunFolder(folder)
        trained = open_run(run, "generation")
        path = choose_weights(run, "auto")
        self.compute = choose(opts.device, opts.precision)
        network = load_network(path, "generation", trained)[0]
        self.network, self.about = self.compute.place(network), f"{folder}, {path.name}"
        self.preprocess = Preprocess.from_options(trained.input)

    def __call__(self, visible: torch.Tensor) -> torch.Tensor:
        size = tuple(visible.shape[-2:])
        small = torch.stack([resize(image, self.preprocess.working_size(*size)) for image in visible])
        with self.compute.autocast():
            made = self.network(self.compute.images(small)).float()
        return torch.stack([torch.from_numpy(to_uint8(resize(image, size)))[None] for image in made])


def coloured(visible: torch.Tensor, fused: torch.Tensor, gray: bool) -> np.ndarray:
    """Visible uint8 [3, H, W], fused luminance [1, H, W] in [-1, 1] -> uint8 [H, W, 3], the visible image's Cb and Cr
    with the fused Y, or [H, W] where the visible image has no colour."""
    if gray or (torch.equal(visible[0], visible[1]) and torch.equal(visible[1], visible[2])):
        return to_uint8(fused)
    strips = []
    for colour, light in zip(visible.split(STRIP, 1), fused.split(STRIP, 1), strict=True):
        colour = colour.float() / 127.5 - 1
        # With Cb and Cr kept, B - Y and R - Y are, and so is G - Y: all channels shift alike.
        strips.append(to_uint8(colour + (light - as_luminance(colour))))
    return np.concatenate(strips)


class Results:
    """What is written: images, copies for the gallery, scores, a record of each image, the page."""

    def __init__(self, folder: Path, options: FuseOptions, shown: set[str]) -> None:
        self.folder, self.options, self.shown = folder, options, shown
        self.scores = FusionScores()
        self.rows: dict[str, Row] = {}
        self.records: dict[str, dict[str, Any]] = {}
        self.errors: list[ImageError] = []
        self.resized: list[str] = []

    def write(self, item: dict[str, Any], fused: torch.Tensor, span: list[float]) -> None:
        """One fused image [1, H, W] on the CPU; runs in a writer thread."""
        job, visible, infrared = item["job"], item["visible"], item["infrared"]
        stem = job.visible.stem
        array = coloured(visible, fused, self.options.output.gray)
        written = self.folder / "fused" / f"{stem}.png"
        write_image(written, array)
        if job.real is None:
            write_image(self.folder / "infrared" / f"{stem}.png", infrared[0].numpy())
        if self.options.output.evaluate:
            shown = torch.from_numpy(array if array.ndim == 3 else array[..., None]).permute(2, 0, 1)
            self.scores.score(stem, shown, visible, infrared)
        source = "generated" if job.real is None else str(job.real.path)
        self.records[stem] = {"visible": str(job.visible.path), "infrared": source, "raw_range": span}
        if "resized" in item:
            self.resized.append(stem)
            self.records[stem]["infrared_size_before"] = list(item["resized"])
        if stem in self.shown:
            self.show(stem, visible, infrared, written)

    def show(self, stem: str, visible: torch.Tensor, infrared: torch.Tensor, fused: Path | np.ndarray) -> None:
        """One row of the gallery; inputs and video frames are copied, so that the results can be moved alone."""
        images = {"visible": self.copy("visible", stem, visible), "infrared": self.copy("infrared", stem, infrared)}
        if isinstance(fused, np.ndarray):
            picture = torch.from_numpy(fused if fused.ndim == 3 else fused[..., None]).permute(2, 0, 1)
            fused = self.copy("fused", stem, picture)
        self.rows[stem] = Row(stem, images | {"fused": fused}, self.scores.of(FUSED, stem))

    def copy(self, kind: str, stem: str, image: torch.Tensor) -> Path:
        """A small copy of uint8 [C, H, W]."""
        path = self.folder / "previews" / kind / f"{stem}.jpg"
        copy_small(path, image)
        return path

    def report(self, facts: dict[str, Any], count: int, where: str) -> int:
        """Records, scores, page, closing lines; exit status 1 where something was skipped."""
        write_whole(self.folder / "results.json", json.dumps(facts | {"images": self.records}, indent=2).encode())
        tables = []
        if self.scores.rows:
            self.scores.write(self.folder / "scores.json", facts)
            tables.append(self.scores.table(f"Scores of {len(self.records)} fused images, range {facts['range']}"))
            print(self.scores.text())
        if self.rows:
            about = {k: str(facts[k]) for k in ("weights", "range", "infrared", "device")}
            about |= {"images": f"{len(self.rows)} of {count} shown"}
            rows = [self.rows[stem] for stem in sorted(self.rows)]
            page = self.folder / "index.html"
            write_gallery(page, f"{self.folder.name}: fused images", rows, tables, (), about)
            print(f"gallery   {page.resolve()}")
        if self.resized:
            print(f"note      infrared resized to its visible image's size in {len(self.resized)} pairs: "
                  f"{', '.join(sorted(self.resized)[:3])}{', ...' * (len(self.resized) > 3)}")  # fmt: skip
        for error in self.errors:
            print(f"skipped {error}", file=sys.stderr)
        print(where)
        return 1 if self.errors else 0


def find_inputs(options: FuseOptions) -> Found:
    """What to fuse, of the command's folders, files or data set."""
    sources = options.sources
    if sources.visible is not None:
        found = find_pairs(sources.visible, sources.infrared) if sources.infrared else find_visible(sources.visible)
    else:
        data = options.data.for_root()
        ensure_sample(data.dataroot)
        found = find_data_set(data, sources.split, with_infrared=sources.generator is None)
    if found.skipped and options.data.strict:
        raise found.skipped[0]
    return found


def fuse_images(options: FuseOptions, found: Found, fuser: Fuser, maker: Maker | None, results: Results) -> None:
    """Every pair: read in workers, fused in batches, written in threads."""
    sources, strict = options.sources, options.data.strict
    dataset = FusionInputs(found.jobs, ThermalRange.from_options(options.data))
    results.errors = list(found.skipped)
    reading = read_batches(dataset, options.network.batch_size, sources.num_threads, strict, results.errors, "fusing")
    writing: list[Future] = []
    with ThreadPoolExecutor(max(1, sources.num_threads)) as writers, torch.inference_mode():
        for visible, items in reading:
            infrared = maker(visible) if maker else torch.stack([item["infrared"] for item in items])
            fused, spans = fuser(visible, infrared)
            for item, colour, heat, image, span in zip(items, visible, infrared, fused, spans.tolist(), strict=True):
                item |= {"visible": colour, "infrared": heat}
                writing.append(writers.submit(results.write, item, image.cpu(), [round(end, 2) for end in span]))
            while len(writing) > 2 * max(1, sources.num_threads):
                writing.pop(0).result()
        for future in writing:
            future.result()


def fuse_video(options: FuseOptions, pairs: FramePairs, fuser: Fuser, maker: Maker | None, results: Results) -> int:
    """Every frame, one batch in memory at each of reading, fusing and writing; returns the number of frames."""
    stem, done = options.sources.visible.stem, 0
    shown = set(evenly(range(max(1, pairs.visible.count)), min(VIDEO_FRAMES, options.output.gallery)))

    def write(first: int, times: list[float], *batch: torch.Tensor) -> None:
        for number, (time, colour, heat, image) in enumerate(zip(times, *batch, strict=True), first):
            array = coloured(colour, image, options.output.gray)
            video.write(time, array)
            if heat_video:
                heat_video.write(time, heat[0].numpy())
            if number in shown:
                results.show(f"{stem}_{number:06d}", colour, heat, array)

    bar = tqdm(total=pairs.visible.count or None, unit="frame", disable=not sys.stderr.isatty(), desc="fusing")
    with ExitStack() as stack, torch.inference_mode():
        rate = pairs.visible.rate
        video = stack.enter_context(VideoWriter(results.folder / "fused" / f"{stem}.mp4", rate))
        heat_path = results.folder / "infrared" / f"{stem}.mp4"
        heat_video = stack.enter_context(VideoWriter(heat_path, rate)) if maker else None
        reader, writer = (stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2))
        batches, written = iter(pairs), None
        reading = reader.submit(next, batches, None)
        while (batch := reading.result()) is not None:
            reading = reader.submit(next, batches, None)
            times, visible, infrared = batch
            infrared = maker(visible) if maker else infrared
            fused = fuser(visible, infrared)[0].cpu()
            if written:
                written.result()
            written = writer.submit(write, done, times, visible, infrared, fused)
            done += len(times)
            bar.update(len(times))
        if written:
            written.result()
    bar.close()
    return done


def main() -> int:
    """The command."""
    options, trained = read_command(sys.argv[1:])
    sources, network_options = options.sources, options.network
    compute = choose(network_options.device, network_options.precision, channels_last="on")
    network, method, facts = load_fusion(network_options, trained)
    policy = options.output.range if options.output.range != "auto" else facts.get("range", "clip")
    if policy not in POLICIES:
        raise ValueError(f"{facts['weights']}: names the range {policy}: give --range {' or '.join(POLICIES)}")
    by_image = isinstance(method, FusionGANOptions) and method.bn_statistics == "image"
    fuser = Fuser(network, compute, network_options, policy, local=not by_image)
    maker = Maker(network_options.checkpoints_dir / sources.generator, network_options) if sources.generator else None
    videos = [path for path in (sources.visible, sources.infrared) if path is not None and is_video(path)]
    facts = {key: facts[key] for key in ("model", "weights", "source", "run", "epoch") if key in facts}
    facts |= {"range": policy, "infrared": f"generated by {maker.about}" if maker else "given"}
    facts |= {"device": compute.describe(), "method": to_dict(method)}
    folder = options.output.results_dir / (network_options.name or facts["model"])
    if videos:
        return run_video(options, fuser, maker, folder, facts)
    found = find_inputs(options)
    if sources.num_test is not None:
        found = Found(evenly(found.jobs, sources.num_test), found.skipped, found.summary)
    announce(facts, found.summary, folder)
    shown = {job.visible.stem for job in evenly(found.jobs, options.output.gallery)}
    results = Results(folder, options, shown)
    fuse_images(options, found, fuser, maker, results)
    return results.report(facts, len(found.jobs), f"images    {len(results.records)} in {folder / 'fused'}")


def announce(facts: dict[str, Any], found: str, folder: Path) -> None:
    """The opening lines."""
    for name, text in (("network", f"{facts['model']}, {facts['weights']}"), ("data", found),
                       ("infrared", facts["infrared"]), ("range", facts["range"]), ("device", facts["device"]),
                       ("writes", f"{folder}/")):  # fmt: skip
        print(f"{name:9} {text}", flush=True)


def run_video(options: FuseOptions, fuser: Fuser, maker: Maker | None, folder: Path, facts: dict[str, Any]) -> int:
    """As main, for videos."""
    sources = options.sources
    if options.output.evaluate:
        raise ValueError("--evaluate scores images as they are saved, which a video's frames are not: leave it out")
    if not all(is_video(path) for path in (sources.visible, sources.infrared) if path is not None):
        raise ValueError(f"--visible {sources.visible} and --infrared {sources.infrared}: give two videos or none")
    pairs = FramePairs(sources.visible, sources.infrared, options.network.batch_size, sources.num_test)
    announce(facts, f"{sources.visible}, {float(pairs.visible.rate):g} frames/s", folder)
    if pairs.infrared and pairs.infrared.rate != pairs.visible.rate:
        print(
            f"note      {sources.infrared} has {float(pairs.infrared.rate):g} frames/s: the nearest in time are fused"
        )
    if facts["range"] == "minmax":
        print("note      every frame is stretched by itself, so brightness can flicker; --range clip does not stretch")
    results = Results(folder, options, set())
    count = fuse_video(options, pairs, fuser, maker, results)
    results.errors = pairs.errors
    if pairs.errors and options.data.strict:
        raise pairs.errors[0]
    if pairs.steps and pairs.steps.ended:
        print(f"note      {pairs.steps.ended}")
    written = folder / "fused" / f"{sources.visible.stem}.mp4"
    return results.report(facts | {"frames": count}, count, f"video     {count} frames in {written}")


if __name__ == "__main__":
    run_command(main)
