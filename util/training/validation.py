"""Validation while training: scores on held-out pairs beside trivial baselines, and sample images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from util.device import Device
from util.images import luminance
from util.metrics import generation
from util.metrics.fusion import BASELINES, FUSION_METRICS, fusion_scores
from util.training import ranks

Batch = Mapping[str, torch.Tensor]
Make = Callable[[Batch], torch.Tensor]  # a batch -> images [N, 1, H, W] in [-1, 1]
Scores = dict[str, dict[str, float]]  # method -> metric -> mean

FUSION_SHOWN = ("EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM")


@dataclass(frozen=True)
class Task:
    """What is made, how it is scored, and what a score must beat."""

    output_name: str
    make: Callable[[nn.Module, Batch], torch.Tensor]
    score: Callable[[torch.Tensor, Batch], dict[str, torch.Tensor]]
    baselines: Callable[[float], dict[str, Make]]
    higher_is_better: Mapping[str, bool]
    best_metric: str


def _visible_only(constant: float) -> dict[str, Make]:
    def of_visible(make: Callable[[torch.Tensor], torch.Tensor]) -> Make:
        return lambda batch: make(batch["visible"])

    return {name: of_visible(make) for name, make in generation.baselines(constant).items()}


def _fusion_scores(fused: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
    images = (fused, batch["visible"], batch["infrared"])
    of_fused, visible, infrared = ((image.float().clamp(-1, 1) + 1) * 127.5 for image in images)
    return fusion_scores(of_fused, visible, infrared, metrics=FUSION_SHOWN)


def _fusion_baselines(constant: float) -> dict[str, Make]:
    def of_both(make: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Make:
        return lambda batch: make(luminance(batch["visible"]), batch["infrared"])

    return {name: of_both(make) for name, make in BASELINES.items()}


TASKS = {
    "generation": Task(
        output_name="generated",
        make=lambda network, batch: network(batch["visible"]),
        score=lambda made, batch: generation.generation_scores(made, batch["infrared"]),
        baselines=_visible_only,
        higher_is_better=generation.HIGHER_IS_BETTER,
        best_metric="cc",
    ),
    "fusion": Task(
        output_name="fused",
        make=lambda network, batch: network(luminance(batch["visible"]), batch["infrared"]),
        score=_fusion_scores,
        baselines=_fusion_baselines,
        higher_is_better={name: FUSION_METRICS[name].higher_is_better for name in FUSION_SHOWN},
        best_metric="Qabf",
    ),
}


class Validation:
    """Scores on samples {"visible", "infrared", ("mask",) "stem"} held in memory.

    Every rank scores its share of the samples, and all learn the means."""

    def __init__(self, task: Task, samples: Sequence[Mapping[str, Any]], device: Device, constant: float) -> None:
        """constant: mean grey level of the training infrared images, in [-1, 1]."""
        self.task, self.samples, self.device, self.constant = task, samples, device, constant
        self.baselines: Scores = {}

    @torch.no_grad()
    def scores(self, network: nn.Module) -> Scores:
        """Of what the network makes, and of each baseline, which are computed once."""
        if not self.baselines:
            self.baselines = self._means(self.task.baselines(self.constant))
        network.eval()

        def make(batch: Batch) -> torch.Tensor:
            with self.device.autocast():
                return self.task.make(network, batch)

        return self._means({self.task.output_name: make}) | self.baselines

    @torch.no_grad()
    def previews(
        self, preview: Callable[[nn.Module, Batch], dict], network: nn.Module, count: int
    ) -> list[tuple[str, dict[str, torch.Tensor]]]:
        """Return (stem, what `preview` gives) of at most `count` samples, evenly spread, for the gallery."""
        count = min(count, len(self.samples))
        chosen = [self.samples[i * len(self.samples) // count] for i in range(count)]
        network.eval()
        with self.device.autocast():
            return [(sample["stem"], preview(network, self._batch(sample))) for sample in chosen]

    def _batch(self, sample: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """A sample as a batch of one on the device."""
        return {name: self.device.images(image[None]) for name, image in sample.items() if name != "stem"}

    def _means(self, methods: Mapping[str, Make]) -> Scores:
        """Mean of every metric for every method, over the samples of all ranks that have a value; nan without any."""
        metrics = list(self.task.higher_is_better)
        sums = torch.zeros(len(methods), len(metrics), dtype=torch.float64, device=self.device.device)
        counts = torch.zeros_like(sums)
        for sample in ranks.share(self.samples):
            batch = self._batch(sample)
            for row, count, make in zip(sums, counts, methods.values(), strict=True):
                scores = self.task.score(make(batch), batch)
                values = torch.stack([scores[metric].sum().double() for metric in metrics])
                row += torch.where(values.isnan(), 0, values)
                count += ~values.isnan()
        ranks.average([sums, counts])
        means = (sums / counts).tolist()
        return {name: dict(zip(metrics, row, strict=True)) for name, row in zip(methods, means, strict=True)}
