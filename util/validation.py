"""Validation while training: scores on held-out pairs beside trivial baselines, and sample images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from util import distributed
from util.compute import Compute
from util.metrics.generation import baselines, total_scores
from util.previews import Previews

Scores = dict[str, dict[str, float]]  # method -> metric -> mean


class Validation:
    """Scores of generated infrared images on samples {"visible", "infrared", "stem"} held in memory.

    Every rank scores its share of the samples, and all learn the means."""

    def __init__(self, samples: Sequence[Mapping[str, Any]], compute: Compute, mean_infrared: float) -> None:
        self.samples, self.compute = samples, compute
        self.constant = mean_infrared
        self.baselines: Scores = {}

    @torch.no_grad()
    def scores(self, network: nn.Module) -> Scores:
        """{"generated": ..., and each baseline, computed once}."""
        if not self.baselines:
            self.baselines = self._means(baselines(self.constant))
        network.eval()
        with self.compute.autocast():
            return self._means({"generated": network}) | self.baselines

    @torch.no_grad()
    def write_previews(
        self, preview: Callable[[nn.Module, Mapping[str, torch.Tensor]], dict], network: nn.Module, count: int,
        epoch: int, previews: Previews,
    ) -> None:  # fmt: skip
        """Images of at most `count` samples, evenly spread, for the gallery."""
        count = min(count, len(self.samples))
        chosen = [self.samples[i * len(self.samples) // count] for i in range(count)]
        network.eval()
        with self.compute.autocast():
            made = [(sample["stem"], preview(network, self._batch(sample))) for sample in chosen]
        previews.write(epoch, made)

    def _batch(self, sample: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """A sample as a batch of one on the device."""
        return {name: self.compute.images(image[None]) for name, image in sample.items() if name != "stem"}

    def _means(self, methods: Mapping[str, Callable[[torch.Tensor], torch.Tensor]]) -> Scores:
        share = self.samples[distributed.rank() :: distributed.world()]
        totals, count = total_scores(methods, map(self._batch, share))
        sums = [count, *(value for scores in totals.values() for value in scores.values())]
        flat = torch.tensor(sums, dtype=torch.float64, device=self.compute.device)
        distributed.average([flat])
        count, *values = flat.tolist()
        means = iter(value / count for value in values)
        return {name: {metric: next(means) for metric in scores} for name, scores in totals.items()}
