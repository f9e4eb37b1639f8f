"""Speed of the fusion metrics: milliseconds of each for a 640x480 pair on one core, and of a batch of 32 on CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from data.transforms import as_tensor
from scripts.benchmarks.common import machine, print_report, timed
from scripts.benchmarks.pictures import streets
from util.command_line import parse, to_dict
from util.device import choose
from util.files import check_file
from util.metrics.fusion import CONVENTIONS, FUSION_METRICS, fusion_scores, score_function

HEIGHT, WIDTH, BATCH = 480, 640, 32
ALL = "all"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Options:
    """Time each fusion metric for one 640x480 pair, of one and of three channels, on one core in both conventions,
    and on CUDA in batches."""

    device: str = "auto"
    """auto (also a CUDA GPU where there is one), cpu, cuda or cuda:N."""
    repeats: int = 5
    """Timed repetitions of each, after two that are not counted."""
    batch_size: int = BATCH
    """Pairs in a batch on CUDA."""
    out: Path | None = None
    """JSON file to write."""

    def __post_init__(self) -> None:
        for name in ("repeats", "batch_size"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"--{name} is {getattr(self, name)}: give at least 1")


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
    """The benchmark."""
    options = parse(Options, argv)
    check_file("--out", options.out)
    device = choose(options.device, "fp32").device
    threads = torch.get_num_threads()
    rows: dict[str, dict[str, object]] = {name: {"metric": name} for name in (*FUSION_METRICS, ALL)}
    for convention in reversed(CONVENTIONS):
        names = [name for name, metric in FUSION_METRICS.items() if score_function(metric, convention)]
        for channels in (1, 3):
            images = pair(channels)
            torch.set_num_threads(1)
            for name in (*names, ALL):
                found = milliseconds(images, convention, name, CPU, options.repeats)
                rows[name][f"{convention}_{channels}"] = found
            torch.set_num_threads(threads)
            if device.type != "cuda":
                continue
            batch = tuple(image.to(device).repeat(options.batch_size, 1, 1, 1) for image in images)
            for name in (*names, ALL):
                found = milliseconds(batch, convention, name, device, options.repeats)
                rows[name][f"{convention}_{channels}_cuda"] = found
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    slower = [
        f"{name} {column}"
        for name, row in rows.items()
        for column in columns
        if f"{column}_cuda" in row and row[f"{column}_cuda"] > row[column]
    ]
    facts = machine(device) | {"size": f"{WIDTH}x{HEIGHT}", "unit": "ms an image, on one core; _1, _3 channels"}
    if device.type == "cuda":
        facts |= {"batch_on_cuda": options.batch_size, "slower_on_cuda": ", ".join(slower) or "none"}
    title = "fusion metrics, milliseconds an image"
    print_report(title, columns, list(rows.values()), facts | {"options": to_dict(options)}, options.out)
    return 0
