"""Generate infrared images from visible ones with a trained run. python test.py --help names every option."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from data.first_use import ensure_sample
from data.images import ImageError, ThermalRange, list_images, to_uint8, write_image
from data.inference import Job, VisibleImages, read_batches, unlike_stems
from data.layouts import UnknownLayout, find
from data.loader import evenly
from data.transforms import Preprocess, resize
from models.trained import choose_weights, load_network, open_run
from options.cli import given, parse, run_command
from options.test import GenerateOptions, TestOptions
from options.train import TrainOptions
from util.compute import Compute, choose
from util.gallery import Row, Table, write_gallery
from util.metrics.generation import HIGHER_IS_BETTER, METRICS, baselines, generation_scores
from util.run_folder import RunFolder, write_whole
from util.training_page import score_table

PREVIEW_WIDTH = 640  # pixels; copies for the gallery are no wider
CONVENTION = "8-bit grey levels, at the real image's size; SSIM Gaussian 11x11 sigma 1.5, peak 255"


def read_command(argv: Sequence[str]) -> tuple[TestOptions, TrainOptions | None, RunFolder]:
    """The command's options, with the run's own data options as defaults; the run's options; its folder."""
    defaults = GenerateOptions()
    folder = Path(given(argv, "--checkpoints_dir") or defaults.checkpoints_dir)
    run = RunFolder(folder / (given(argv, "--name") or defaults.name))
    if given(argv, "--weights") is not None:
        return parse(TestOptions, argv), None, run
    if "-h" in argv or "--help" in argv or not run.options.is_file():
        parse(TestOptions, argv)  # help, or a mistake in the command line, comes before a run that is not there
    trained = open_run(run, "generation")
    return parse(TestOptions, argv, TestOptions().with_data(trained.data, given(argv, "--dataroot"))), trained, run


def find_jobs(options: TestOptions) -> tuple[list[Job], str]:
    """What to generate from, and one line about it. A folder of no known layout is a folder of images."""
    roots = options.data.dataroot
    data = options.data.for_root()
    if len(roots) == 1 and roots[0].is_dir():
        try:
            listing = find(data)
        except UnknownLayout:
            if data.layout != "auto" or data.visible_dir is not None:
                raise
            jobs = [Job(source) for source in list_images(roots[0])]
            return jobs, f"{len(jobs)} images in {roots[0]}"
        wanted = [s for s in listing.splits if options.generate.split in (s, "all")]
        if not wanted:
            raise ValueError(
                f"{listing.root}: has no {options.generate.split} split but {', '.join(listing.splits)}: give --split"
            )
        splits = {}
        for name in wanted:
            partners = {pair.visible: pair.infrared for pair in listing.splits[name].pairs}
            splits[name] = [Job(source, partners.get(source)) for source in listing.splits[name].visible]
        return unlike_stems(splits), listing.summary()
    jobs = [Job(source) for root in roots for source in list_images(root)]
    stems = Counter(job.visible.stem.casefold() for job in jobs)
    twice = next((stem for stem, count in stems.items() if count > 1), None)
    if twice:
        raise ValueError(f"two of the files are called {twice}: their results would have one name; rename one")
    return jobs, f"{len(jobs)} images"


class Results:
    """What is written: images, copies for the gallery, scores, the page."""

    def __init__(self, folder: Path, shown: set[str]) -> None:
        self.folder, self.shown = folder, shown
        self.scores: dict[str, dict[str, dict[str, float]]] = {}  # method -> stem -> metric -> value
        self.rows: dict[str, Row] = {}
        self.errors: list[ImageError] = []

    def write(self, item: dict[str, Any], generated: torch.Tensor) -> None:
        """One generated image [1, H, W] on the CPU, and what the gallery shows of it; runs in a writer thread."""
        stem = item["job"].visible.stem
        written = self.folder / "infrared" / f"{stem}.png"
        write_image(written, to_uint8(generated))
        if stem not in self.shown:
            return
        images = {"visible": self.copy("visible", stem, item["shown"]), "generated": written}
        if "real" in item:
            images["infrared"] = self.copy("real", stem, item["real"])
        self.rows[stem] = Row(stem, images, self.scores.get("generated", {}).get(stem, {}))

    def copy(self, kind: str, stem: str, image: torch.Tensor) -> Path:
        """A small copy of an input [C, H, W], so that the results can be moved and looked at alone."""
        height, width = image.shape[-2:]
        if width > PREVIEW_WIDTH:
            image = resize(image, (round(height * PREVIEW_WIDTH / width), PREVIEW_WIDTH))
        path = self.folder / kind / f"{stem}.jpg"
        write_image(path, to_uint8(image.float() / 127.5 - 1 if image.dtype == torch.uint8 else image))
        return path

    def score(
        self, methods: dict[str, Callable], item: dict[str, Any], generated: torch.Tensor, compute: Compute
    ) -> None:
        """Compare with the real image, the generated one resized to it where sizes differ."""
        real, visible = (compute.images(item[name][None]) for name in ("real", "visible_at_real"))
        candidates = {"generated": resize(generated[None], tuple(real.shape[-2:]))}
        candidates |= {name: method(visible) for name, method in methods.items()}
        for name, candidate in candidates.items():
            values = {metric: float(value) for metric, value in generation_scores(candidate, real).items()}
            self.scores.setdefault(name, {})[item["job"].visible.stem] = values

    def means(self) -> dict[str, dict[str, float]]:
        """Method -> metric -> mean over images."""
        return {
            method: {m: sum(v[m] for v in images.values()) / len(images) for m in METRICS}
            for method, images in self.scores.items()
        }


def generate(
    network: torch.nn.Module, dataset: VisibleImages, options: GenerateOptions, compute: Compute, results: Results,
    methods: dict[str, Callable], strict: bool,
) -> None:  # fmt: skip
    """Every image of the dataset: read in workers, generated in batches, written in threads."""
    reading = read_batches(dataset, options.batch_size, options.num_threads, strict, results.errors, "generating")
    writing: list[Future] = []
    with ThreadPoolExecutor(max(1, options.num_threads)) as writers, torch.inference_mode():
        for visible, items in reading:
            with compute.autocast():
                made = network(compute.images(visible)).float()
            for item, image, shown in zip(items, made, visible, strict=True):
                image = resize(image, item["size"])
                item["shown"] = shown
                if "real" in item:
                    results.score(methods, item, image, compute)
                writing.append(writers.submit(results.write, item, image.cpu()))
            while len(writing) > 4 * options.batch_size:
                writing.pop(0).result()
        for future in writing:
            future.result()


def main() -> int:
    """The command."""
    options, trained, run = read_command(sys.argv[1:])
    opts = options.generate
    compute = choose(opts.device, opts.precision)
    weights = opts.weights or choose_weights(run, opts.epoch)
    network, _, metadata = load_network(weights, "generation", trained)
    compute.place(network)
    ensure_sample(options.data.dataroot[0])
    jobs, found = find_jobs(options)
    if opts.num_test is not None:
        jobs = evenly(jobs, opts.num_test)
    folder = opts.results_dir / opts.name
    for name, text in (("weights", str(weights)), ("data", found), ("device", compute.describe()),
                       ("writes", f"{folder}/")):  # fmt: skip
        print(f"{name:9} {text}", flush=True)
    scale = opts.scale if trained else "input"
    preprocess = Preprocess.from_options(trained.input) if scale == "train" else None
    dataset = VisibleImages(jobs, ThermalRange.from_options(options.data.for_root()), preprocess)
    results = Results(folder, {job.visible.stem for job in evenly(jobs, opts.gallery)})
    constant = metadata.get("mean_infrared")
    methods = baselines(None if constant is None else float(constant))
    generate(network, dataset, opts, compute, results, methods, options.data.strict)
    facts = {key: value for key, value in metadata.items() if key != "options"} | {"scale": scale}
    return report(results, options, facts, len(jobs), compute)


def report(results: Results, options: TestOptions, facts: dict[str, str], count: int, compute: Compute) -> int:
    """Scores, page, closing lines; exit status 1 where some images could not be read."""
    opts, folder = options.generate, results.folder
    means = results.means()
    tables: list[Table] = []
    if means:
        scored = len(results.scores["generated"])
        content = {"convention": CONVENTION, "count": scored} | facts
        content |= {"mean": means["generated"], "baselines": {k: v for k, v in means.items() if k != "generated"}}
        content |= {"images": results.scores["generated"]}
        write_whole(folder / "scores.json", json.dumps(content, indent=2).encode())
        tables.append(score_table(f"Scores on {scored} real infrared images", means, HIGHER_IS_BETTER))
        print(f"{'':20}" + "".join(f"{metric:>9}" for metric in METRICS))
        for method, values in means.items():
            print(f"{method:20}" + "".join(f"{values[metric]:9.3f}" for metric in METRICS))
    if opts.gallery and results.rows:
        shown = [results.rows[stem] for stem in sorted(results.rows)]
        about = {"weights": facts["weights"], "epoch": facts.get("epoch", "?"), "scale": facts["scale"],
                 "device": compute.describe(), "images": f"{len(shown)} of {count} shown"}  # fmt: skip
        write_gallery(folder / "index.html", f"{opts.name}: generated infrared", shown, tables, (), about)
        print(f"gallery   {(folder / 'index.html').resolve()}")
    for error in results.errors:
        print(f"skipped {error}", file=sys.stderr)
    print(f"images    {count - len(results.errors)} in {folder / 'infrared'}")
    return 1 if results.errors else 0


if __name__ == "__main__":
    run_command(main)
