"""Speed of the fusion metrics: milliseconds of each for a 640x480 pair on one core, and of a batch of 32 on CUDA."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch

from data.transforms import as_tensor
from scripts.benchmarks.common import BenchmarkOptions, Report, machine, streets, timed
from util.command_line import parse, to_dict
from util.device import select_device
from util.files import check_file
from util.metrics.fusion import CONVENTIONS, FUSION_METRICS, fusion_scores, score_function

HEIGHT, WIDTH, BATCH = 480, 640, 32
ALL = "all"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Options(BenchmarkOptions):
    """Time each fusion metric for one 640x480 pair, of one and of three channels, on one core in both conventions,
    and on CUDA in batches."""

    repeats: int = 5
    """Timed repetitions of each, after two that are not counted."""
    batch_size: int = BATCH
    """Pairs in a batch on CUDA."""

    def __post_init__(self) -> None:
        self.check_at_least(repeats=1, batch_size=1)


def pair(channels: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Fused, visible, infrared uint8 [1, channels, 480, 640] of a street scene; the fused one is their mean."""
    scene = streets(1)[0]
    visible, infrared = as_tensor(scene.visible)[None], as_tensor(scene.thermal)[None]
    visible, infrared = (image[:, :, -HEIGHT:, -WIDTH:].contiguous() for image in (visible, infrared))
    visible = visible if channels == 3 else visible[:, 1:2]
    infrared = infrared.expand(-1, channels, -1, -1)
    fused = (visible.int() + infrared.int()).div(2, rounding_mode="floor").to(torch.uint8)
    return fused, visible.contiguous(), infrared.contiguous()


def milliseconds(
    images: tuple[torch.Tensor, ...], convention: str, name: str, device: torch.device, repeats: int
) -> float:
    """Of a metric, or of all, for each image of the batch."""
    names = None if name == ALL else [name]
    seconds = timed(lambda: fusion_scores(*images, names, convention), device, repeats)
    return 1000 * seconds / len(images[0])


def main(argv: list[str]) -> int:
    """Time every convention on grey and colour images; returns the exit status."""
    options = parse(Options, argv)
    check_file("--out", options.out)
    device = select_device(options.device, "fp32").device
    facts = machine(device) | {"size": f"{WIDTH}x{HEIGHT}", "unit": "ms an image, on one core; _1, _3 channels"}
    facts |= {"batch_on_cuda": options.batch_size if device.type == "cuda" else "none", "options": to_dict(options)}
    conventions = [f"{name}_{channels}" for name in reversed(CONVENTIONS) for channels in (1, 3)]
    report = Report("fusion metrics, milliseconds an image", facts, options.out)
    report.rows = [{"metric": name} for name in (*FUSION_METRICS, ALL)]
    threads = torch.get_num_threads()
    for convention, channels in itertools.product(reversed(CONVENTIONS), (1, 3)):
        images = pair(channels)
        batch = tuple(image.to(device).repeat(options.batch_size, 1, 1, 1) for image in images)
        for row in report.rows:
            name, column = row["metric"], f"{convention}_{channels}"
            if name != ALL and not score_function(FUSION_METRICS[name], convention):
                continue
            torch.set_num_threads(1)
            row[column] = milliseconds(images, convention, name, CPU, options.repeats)
            torch.set_num_threads(threads)
            if device.type == "cuda":
                row[f"{column}_cuda"] = milliseconds(batch, convention, name, device, options.repeats)
            report.add()
    if device.type == "cuda":
        pairs = itertools.product(report.rows, conventions)
        slower = [f"{row['metric']} {name}" for row, name in pairs if row.get(f"{name}_cuda", 0) > row.get(name, 0)]
        report.facts["slower_on_cuda"] = ", ".join(slower) or "none"
    report.add()
    report.show()
    return 0
