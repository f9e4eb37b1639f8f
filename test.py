"""Generate infrared images from visible ones with a trained run. python test.py --help names every option."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from data.counts import ThermalRange
from data.images import ImageError
from data.inputs import Job, evenly, find_to_generate
from data.output.finished import notes
from data.output.generated import GENERATED, KINDS, PIPELINE, Results, at_own_size, fits, score_batch
from data.output.made import MADE, Made, own_folder
from data.output.writing import Writers, fetch
from data.scoring.generated_scores import Case, mean_grey, print_scores, score_cases, write_scores
from data.threads import thread_count
from data.transforms import Preprocess
from data.visible_images import VisibleImages, batch_limits, read_batches
from models.inference.trained import find_weights, load_network, open_run
from models.inference.translator import Translator
from options.test import GenerateOptions, TestOptions
from util.command_line import given, parse, run_command
from util.device import Compute, choose
from util.files import check_folder, digest, write_whole
from util.metrics.generation import HIGHER_IS_BETTER, METRICS, Generate, baselines
from util.metrics.learned import LearnedMetrics, load_learned
from util.metrics.score_sheet import finite
from util.pages.gallery import write_gallery
from util.pages.table_panel import Table
from util.pages.training_page import score_table
from util.text import format_number, metric_title, plural
from util.training.run_folder import RunFolder

FEW_SIZES = 4  # of images; each costs a search for the fastest algorithms, or a compilation
CONVENTION = (
    "8-bit grey levels, at the real image's size; SSIM Gaussian 11x11 sigma 1.5, peak 255; CC Pearson correlation of "
    "grey levels, edge CC of Sobel magnitudes: none of a constant image"
)


def read_command(argv: Sequence[str]) -> TestOptions:
    """The command's options, with the data options of the run that --name gives as defaults."""
    name = given(argv, "--name")
    if name is None or given(argv, "--weights") is not None or "-h" in argv or "--help" in argv:
        return parse(TestOptions, argv)
    run = RunFolder(Path(given(argv, "--checkpoints_dir") or GenerateOptions().checkpoints_dir) / name)
    if not run.options.is_file():
        parse(TestOptions, argv)  # a mistake in the command line comes before a run that is not there
    trained = open_run(run, "generation")
    return parse(TestOptions, argv, TestOptions().with_data(trained.data, given(argv, "--dataroot")))


def generate(
    translator: Translator, dataset: VisibleImages, options: GenerateOptions, results: Results,
    methods: dict[str, Generate], strict: bool,
) -> None:  # fmt: skip
    """Every image of the dataset: read in workers, generated in batches, written in threads."""
    compute, threads = translator.compute, thread_count(options.num_threads)
    limit = batch_limits(options.batch_size, compute.device)[0]
    if len(dataset.working_sizes()) <= FEW_SIZES:
        compute.expect_one_size()
    pinned = compute.device.type == "cuda"
    read = read_batches(dataset, limit, threads, strict, results.errors, "generating", pinned)
    with closing(read) as reading, Writers(threads) as writers, torch.inference_mode():
        for visible, items in reading:
            made = translator(visible)
            scores = score_batch(made, items, methods, compute)
            images = at_own_size(made, [item["size"] for item in items])
            fetched, wait = fetch([*images, *scores], compute.device)
            images, scores = fetched[: len(items)], fetched[len(items) :]
            for item, image, score, shown in zip(items, images, scores, visible, strict=True):
                kept = item["job"].visible.stem in results.shown  # what waits to be written holds no more than it needs
                item = {"job": item["job"]} | ({"shown": shown, "real": item.get("real")} if kept else {})
                writers.submit(image.numel(), results.write, item, image, score, wait)


def made_by(weights: Path, preprocess: Preprocess | None, thermal: ThermalRange, opts: GenerateOptions,
            compute: Compute) -> dict[str, Any]:  # fmt: skip
    """By what results are made: images that were made by anything else are made anew."""
    return {
        "weights": digest(weights),
        "scale": asdict(preprocess) if preprocess else "input",
        "thermal range": asdict(thermal),
        "precision": str(compute.dtype),
        "tiles": [opts.tile, opts.tile_statistics],
        "scores": list(METRICS),
        "code": PIPELINE,
    }


def main() -> int:
    """The command."""
    options = read_command(sys.argv[1:])
    opts = options.generate
    check_folder("--results_dir", opts.results_dir, opts.result_name)
    compute = choose(opts.device, opts.precision)
    weights, trained = find_weights(opts.name, opts.weights, opts.epoch, opts.checkpoints_dir)
    network, _, metadata = load_network(weights, "generation", trained, opts.norm_statistics)
    if trained is None and given(sys.argv, "--infrared_range") is None:  # real images are scored in the same range
        options = options.with_range(metadata.get("infrared_range"))
    translator = Translator(network, compute, opts.tile, opts.tile_statistics, opts.compile)
    trained_on = [one.dataroot.resolve() for one in trained.data.roots] if trained else []
    inputs = find_to_generate(options.data, opts.split, opts.num_test, options.data.dataroot[0].resolve() in trained_on)
    jobs, found = inputs.jobs, inputs.summary
    if opts.evaluate and not any(job.real for job in jobs):
        raise ValueError(f"--evaluate: {found} have no real infrared images to score against; leave it out")
    learned = load_learned(opts.inception_weights, opts.lpips_weights, compute.device) if opts.evaluate else None
    folder = opts.results_dir / opts.result_name
    for name, text in (("weights", str(weights)), ("data", found), ("device", compute.describe()),
                       ("writes", f"{folder}/")):  # fmt: skip
        print(f"{name:9} {text}", flush=True)
    sees = Preprocess.of_generator(trained, metadata)
    preprocess = sees if opts.scale == "train" else None
    scale = "train" if preprocess else "input"
    thermal = ThermalRange.from_options(options.data.for_root())
    if opts.compile != "off" and (count := len(VisibleImages(jobs, thermal, preprocess).working_sizes())) > FEW_SIZES:
        raise ValueError(f"--compile compiles each size of images anew, and these have {count}: leave it out")
    constant = metadata.get("mean_infrared")
    methods = baselines(None if constant is None else float(constant))
    read = [source.path for job in jobs for source in (job.visible, job.real) if source is not None]
    with own_folder(opts.results_dir, folder, read, KINDS):
        key = made_by(weights, preprocess, thermal, opts, compute)
        key["norm statistics"] = metadata.get("norm_statistics")
        made = Made(folder / MADE, key, opts.overwrite, partial(fits, baselines=methods))
        results = Results(folder, {job.visible.stem for job in evenly(jobs, opts.gallery)}, made, methods)
        left = results.take_finished(jobs)
        for line in list(inputs.notes) + notes(made, len(jobs) - len(left), jobs, folder / "infrared", ".png"):
            print(f"note      {line}", flush=True)
        dataset = VisibleImages(left, thermal, preprocess, batch_limits(opts.batch_size, compute.device)[1])
        generate(translator, dataset, opts, results, methods, options.data.strict)
        facts = {key: value for key, value in metadata.items() if key != "options"} | {"scale": scale}
        return report(results, options, facts, jobs, inputs.skipped, compute, learned)


def evaluate(
    results: Results, options: TestOptions, facts: dict[str, str], jobs: Sequence[Job], compute: Compute,
    learned: LearnedMetrics,
) -> list[ImageError]:  # fmt: skip
    """--evaluate: the fuller table of the images as they were saved, as scripts.evaluate generation prints it; what
    could not be scored."""
    opts, thermal = options.generate, ThermalRange.from_options(options.data.for_root())
    made = results.scores.get(GENERATED, {})  # those of which the real image could be read
    cases = [
        Case(job.visible.stem, job.real, {GENERATED: results.written(job.visible.stem)}, job.visible)
        for job in jobs
        if job.visible.stem in made
    ]
    if not cases:
        print("note      --evaluate: no generated image has a real one that can be read: none is scored")
        return []
    trained = facts.get("mean_infrared")
    constant = mean_grey(cases, thermal, opts.num_threads) if trained is None else (float(trained) + 1) * 127.5
    about = f"grey level {constant:.0f}, mean of {'these real' if trained is None else 'the training'} images"
    scored = score_cases(cases, thermal, learned, constant, compute.device, opts.num_threads)
    if scored.errors and options.data.strict:
        raise scored.errors[0]
    print_scores(scored, about)
    kept = {key: str(facts[key]) for key in ("weights", "epoch", "scale") if key in facts}
    out = results.folder / "evaluation.json"
    page = write_scores(out, f"{opts.result_name}: scores", scored, cases, thermal, kept | {"constant": about})
    print(f"scores    {page.resolve()}")
    return scored.errors


def report(
    results: Results, options: TestOptions, facts: dict[str, str], jobs: Sequence[Job],
    passed_over: Sequence[ImageError], compute: Compute, learned: LearnedMetrics | None,
) -> int:  # fmt: skip
    """Scores, page, closing lines; exit status 1 where some images could not be read. passed_over: files of the data
    set that are in no job."""
    opts, folder, count = options.generate, results.folder, len(jobs)
    made = count - len(results.errors)
    results.errors += passed_over
    means = results.means()
    tables: list[Table] = []
    if means:
        scored = len(results.scores["generated"])
        known = {method: finite(values) for method, values in means.items()}
        content = {"convention": CONVENTION, "count": scored} | facts
        content |= {"mean": known["generated"], "baselines": {k: v for k, v in known.items() if k != "generated"}}
        content |= {"images": {stem: finite(values) for stem, values in sorted(results.scores["generated"].items())}}
        write_whole(folder / "scores.json", json.dumps(content, indent=2, allow_nan=False).encode())
        tables.append(score_table(f"Scores on {plural(scored, 'real infrared image')}", means, HIGHER_IS_BETTER))
        print(f"{'':20}" + "".join(f"{metric_title(metric):>10}" for metric in METRICS))
        for method, values in means.items():
            print(f"{method:20}" + "".join(f"{format_number(values[metric]):>10}" for metric in METRICS))
    else:
        (folder / "scores.json").unlink(missing_ok=True)  # an earlier run's, of other images
    if not (opts.gallery and results.rows):
        (folder / "index.html").unlink(missing_ok=True)
    else:
        shown = [results.rows[stem] for stem in sorted(results.rows)]
        about = {"weights": facts["weights"], "epoch": facts.get("epoch", "?"), "scale": facts["scale"],
                 "device": compute.describe(), "images": f"{len(shown)} of {count} shown"}  # fmt: skip
        write_gallery(folder / "index.html", f"{opts.result_name}: generated infrared", shown, tables, (), about)
        print(f"gallery   {(folder / 'index.html').resolve()}")
    for error in results.errors:
        print(f"skipped {error}", file=sys.stderr)
    unscored = evaluate(results, options, facts, jobs, compute, learned) if learned is not None else []
    for error in unscored:
        print(f"skipped {error}, not scored", file=sys.stderr)
    print(f"images    {made} in {folder / 'infrared'}")
    return 1 if results.errors or unscored else 0


if __name__ == "__main__":
    run_command(main)
