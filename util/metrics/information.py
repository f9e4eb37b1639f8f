"""Fusion metrics from histograms: entropy, mutual information, cross entropy."""

from __future__ import annotations

import math

import torch

from util.metrics.triplet import LEVELS, Triplet, histogram


def shannon(probability: torch.Tensor) -> torch.Tensor:
    """[..., K] probabilities -> [...] entropy in nats."""
    return torch.special.entr(probability).sum(-1)


def mutual_nats(triplet: Triplet) -> torch.Tensor:
    """I(V; F) + I(I; F) in nats, [N, C], from the joint histograms of 256 x 256 bins."""
    total = torch.zeros(())
    for source in triplet.sources:
        joint = histogram(LEVELS * source.image + triplet.fused, LEVELS * LEVELS)
        total = total + shannon(source.once(histogram, LEVELS)) + shannon(triplet.fused_histogram) - shannon(joint)
    return total


def entropy(triplet: Triplet) -> torch.Tensor:
    """EN, -sum_k p_k log2 p_k of the fused image over 256 levels; 0..8 bit, higher is better.

    van Aardt, J. Appl. Remote Sens. 2008; the same in both conventions."""
    return shannon(triplet.fused_histogram) / math.log(2)


def mutual_information(triplet: Triplet) -> torch.Tensor:
    """MI, I(V; F) + I(I; F) of the grey levels as they are, log2; 0..16 bit, higher is better.

    Qu, Zhang and Yan, Electronics Letters 2002. Convention: the sum, neither its mean nor normalised."""
    return mutual_nats(triplet) / math.log(2)


def mutual_information_vifb(triplet: Triplet) -> torch.Tensor:
    """MI of VIFB: natural logarithm, each image first stretched to 0..255; 0..11.1 nat, higher is better."""
    return mutual_nats(triplet.rescaled)


def cross_entropy(triplet: Triplet) -> torch.Tensor:
    """CE, mean over the sources s of sum_k p_s log2(p_s / p_f), lower is better, 0 where histograms agree.

    Bulanon et al., Biosystems Engineering 2009. Both conventions take VIFB's: the Kullback-Leibler divergence
    over the levels present in both images, so it can fall below 0."""
    fused = triplet.fused_histogram
    total = torch.zeros(())
    for source in (source.once(histogram, LEVELS) for source in triplet.sources):
        terms = source * torch.log2(source / fused)
        total = total + torch.where((source > 0) & (fused > 0), terms, 0.0).sum(-1)
    return total / 2
