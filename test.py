"""Generate infrared images from visible ones with a trained run. python test.py --help names every option."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from data.counts import ThermalRange
from data.images import write_image
from data.inputs import Inputs, Job, evenly, find_to_generate
from data.output.results import Results, manifest_key, own_folder
from data.output.writing import Wait, Writers, at_own_size, copy_small, fetch
from data.scoring.generation import GeneratedScorer, load_for_all, mean_grey
from data.scoring.scores import Scores, are_scores
from data.threads import thread_count
from data.transforms import Preprocess
from data.visible_images import VisibleImages, batch_limits, read_batches
from models.inference.trained import find_weights, load_network, parse_with_run
from models.inference.translator import Translator
from options.test import TestOptions
from scripts.report import (
    announce,
    cases_of,
    print_scores,
    remove_evaluation,
    score_results,
    tell,
    tell_skipped,
    write_evaluation,
    write_page,
    write_scores,
)
from util.command_line import given, run_command
from util.device import Device, select_device
from util.files import check_folder
from util.metrics.learned import LearnedMetrics
from util.text import plural
from util.training import ranks

FEW_SIZES = 4  # of images; each costs a search for the fastest algorithms, or a compilation
GENERATED = "generated"
KINDS = {"infrared": ".png", "visible": ".jpg", "real": ".jpg"}  # folder of results -> how its files end


def finish(results: Results, job: Job, image: torch.Tensor, copies: Mapping[str, torch.Tensor], wait: Wait) -> None:
    """Write one generated image uint8 [1, H, W] and the small copies that the gallery shows; runs in a writer thread.
    copies: kind of file -> image [C, H, W]. wait: until the image has arrived on the CPU."""
    wait()
    stem = job.visible.stem
    if (inputs := results.inputs(job)) is None:
        return
    write_image(results.file("infrared", stem), image[0].numpy())
    for kind, copied in copies.items():
        copy_small(results.file(kind, stem), copied)
    results.add(stem, {"inputs": inputs})


def generate(
    translator: Translator, dataset: VisibleImages, options: TestOptions, results: Results, shown: set[str]
) -> None:
    """Every image of the dataset: read in workers, generated in batches, written in threads. shown: stems of those in
    the gallery."""
    opts, device = options.generate, translator.device
    threads, limit = thread_count(opts.num_threads), batch_limits(opts.batch_size, device.device)[0]
    if len(dataset.working_sizes()) <= FEW_SIZES:
        device.expect_one_size()
    pinned = device.device.type == "cuda"
    read = read_batches(dataset, limit, threads, options.data.strict, results.errors, "generating", pinned)
    with closing(read) as reading, Writers(threads) as writers, torch.inference_mode():
        for visible, items in reading:
            made = at_own_size(translator(visible), [item["size"] for item in items])
            images, wait = fetch(made, device.device)
            for item, image, seen in zip(items, images, visible, strict=True):
                copies = {"visible": seen} | ({"real": item["ground_truth"]} if "ground_truth" in item else {})
                kept = item["job"].visible.stem in shown  # what waits to be written holds no more than it needs
                writers.submit(image.numel(), finish, results, item["job"], image, copies if kept else {}, wait)


def score(
    results: Results,
    jobs: Sequence[Job],
    options: TestOptions,
    facts: Mapping[str, Any],
    device: torch.device,
    learned: LearnedMetrics | None,
) -> Scores | None:
    """Score the generated images as they were saved, and print the table: by all metrics with --evaluate, whose files
    are written too, else by those that take little time, which are kept in the records; None where there is no real
    image to score against."""
    opts, thermal = options.generate, ThermalRange.from_options(options.data)
    cases = cases_of(results, [job for job in jobs if job.ground_truth is not None], GENERATED, "infrared")
    if not cases:
        return None
    constant, whose = None, "the training"
    if "mean_infrared" in facts:
        constant = (float(facts["mean_infrared"]) + 1) * 127.5
    elif learned is not None:
        constant, whose = mean_grey(cases, thermal, opts.num_threads), "these real"
    scorer = GeneratedScorer(thermal, device, constant, learned)
    scores = score_results(results, cases, scorer, opts.num_threads, options.data.strict)
    if not scores.sheet.rows or not ranks.is_writer():
        return scores
    about = "none" if constant is None else f"grey level {constant:.0f}, mean of {whose} images"
    print_scores(scores, f"{plural(len(scores.sizes), 'image')}; constant: {about}")
    if learned is not None:
        kept = {key: str(facts[key]) for key in ("weights", "epoch", "scale") if key in facts} | {"constant": about}
        write_evaluation(results.folder / "evaluation.json", f"{opts.result_name}: scores", scores, cases, kept)
    return scores


def manifest_facts(options: TestOptions, preprocess: Preprocess | None, device: Device, statistics: str | None) -> dict:
    """By what results are made, besides the weights. statistics: of batch norms."""
    return {
        "scale": asdict(preprocess) if preprocess else "input",
        "thermal range": asdict(ThermalRange.from_options(options.data)),
        "precision": str(device.dtype),
        "tiles": [options.generate.tile, options.generate.tile_statistics],
        "norm statistics": statistics,
    }


def fits(record: Mapping[str, Any]) -> bool:
    """Whether a record read back is as `finish` and `score` make it."""
    return "scores" not in record or are_scores(record)


@ranks.sharing
def main() -> int:
    """Generate and score what the command line asks for; returns the exit status."""
    options, _ = parse_with_run(TestOptions, sys.argv[1:], "generation")
    opts = options.generate
    check_folder("--results_dir", opts.results_dir, opts.result_name)
    device = select_device(opts.device, opts.precision)
    weights, trained = find_weights(opts)
    network, _, metadata = load_network(weights, "generation", trained, opts.norm_statistics)
    if trained is None and given(sys.argv, "--infrared_range") is None:  # real images are scored in the same range
        options = options.with_range(metadata.get("infrared_range"))
    sees = Preprocess.of_generator(trained, metadata)
    seen_at = sees.working_size if sees else None
    translator = Translator(network, device, opts.tile, opts.tile_statistics, opts.compile, seen_at)
    trained_on = [one.dataroot.resolve() for one in trained.data.roots] if trained else []
    own = {root.resolve() for root in options.data.dataroot} <= set(trained_on)
    inputs = find_to_generate(options.data, opts.split, opts.num_test, own)
    jobs, folder = inputs.jobs, opts.results_dir / opts.result_name
    if opts.evaluate and not any(job.ground_truth for job in jobs):
        raise ValueError(f"--evaluate: {inputs.summary} have no real infrared images to score against; leave it out")
    learned = load_for_all(opts.inception_weights, opts.lpips_weights, device.device) if opts.evaluate else None
    opening = {"weights": weights, "data": inputs.summary, "device": device.describe(), "writes": f"{folder}/"}
    announce(opening)
    preprocess = sees if opts.scale == "train" else None
    thermal, limits = ThermalRange.from_options(options.data), batch_limits(opts.batch_size, device.device)
    if opts.compile != "off" and (count := len(VisibleImages(jobs, thermal, preprocess).working_sizes())) > FEW_SIZES:
        raise ValueError(f"--compile compiles each size of images anew, and these have {count}: leave it out")
    key = manifest_key(weights, manifest_facts(options, preprocess, device, metadata.get("norm_statistics")))
    shown = {job.visible.stem for job in evenly(jobs, opts.gallery)}
    with own_folder(opts.results_dir, folder, inputs.paths, KINDS):
        results = Results(folder, KINDS, key, opts.overwrite, fits, jobs)
        left = results.left(lambda job: columns(results, job, job.visible.stem in shown).values())
        tell("note", [*inputs.notes, *results.notes(left, "infrared")])
        generate(translator, VisibleImages(left, thermal, preprocess, limits[1]), options, results, shown)
        results.collect()
        if left and ranks.is_writer():  # of other images
            remove_evaluation(folder / "evaluation.json")
        facts = {key: value for key, value in metadata.items() if key != "options"}
        facts["scale"] = "train" if preprocess else "input"
        return report(results, options, facts, inputs, shown, device, learned)


def columns(results: Results, job: Job, whole: bool = True) -> dict[str, Path]:
    """Column of the gallery -> file, of a job's result. whole: with the copies of what it was made of and is to be."""
    stem = job.visible.stem
    made = {GENERATED: results.file("infrared", stem)}
    real = {"infrared": results.file("real", stem)} if job.ground_truth else {}
    return {"visible": results.file("visible", stem)} | made | real if whole else made


def report(
    results: Results,
    options: TestOptions,
    facts: Mapping[str, str],
    inputs: Inputs,
    shown: set[str],
    device: Device,
    learned: LearnedMetrics | None,
) -> int:
    """Scores, page, closing lines; exit status 1 where some images could not be read or scored."""
    done = [job for job in inputs.jobs if job.visible.stem in results.records]
    scores = score(results, done, options, facts, device.device, learned)
    if not ranks.is_writer():
        return 0
    if learned is not None and (scores is None or not scores.sheet.rows):
        tell("note", ["--evaluate: no generated image has a real one that can be read: none is scored"])
    write_scores(results.folder, scores, facts)
    rows = {job.visible.stem: columns(results, job) for job in done if job.visible.stem in shown}
    about = {"weights": facts["weights"], "epoch": facts.get("epoch", "?"), "scale": facts["scale"]}
    about |= {"device": device.describe(), "images": f"{len(rows)} of {len(inputs.jobs)} shown"}
    write_page(results.folder, "generated infrared", rows, scores, about)
    unscored = scores.errors if scores is not None else []
    status = tell_skipped([*results.errors, *inputs.skipped]) | tell_skipped(unscored, ", not scored")
    print(f"images    {len(done)} in {results.folder / 'infrared'}")
    return status


if __name__ == "__main__":
    run_command(main)
