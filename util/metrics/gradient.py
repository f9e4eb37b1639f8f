"""Fusion metrics from gradients: AG, EI, SF, and the edge transfers Qabf and Nabf."""

from __future__ import annotations

import math

import torch

from util.images import sobel
from util.metrics.triplet import Triplet


def average_gradient(triplet: Triplet) -> torch.Tensor:
    """AG, sum of sqrt((gx^2 + gy^2) / 2) over (H - 1)(W - 1), fused image; 0..about 128, higher is better.

    Cui et al., Optics Communications 2015. Both conventions: differences central, one-sided at the border."""
    height, width = triplet.fused.shape[-2:]
    vertical, horizontal = torch.gradient(triplet.fused, dim=(-2, -1))
    return torch.sqrt((vertical**2 + horizontal**2) / 2).sum((-2, -1)) / ((height - 1) * (width - 1))


def edge_intensity(triplet: Triplet) -> torch.Tensor:
    """EI, mean of sqrt(sx^2 + sy^2), unnormalised Sobel with repeated border, fused image; higher is better.

    Rajalingam and Priya, IJESI 2018; 0..about 1140; the same in both conventions."""
    return torch.hypot(*sobel(triplet.fused, "replicate")).mean((-2, -1))


def spatial_frequency(triplet: Triplet) -> torch.Tensor:
    """SF, sqrt(mean dx^2 + mean dy^2) of neighbour differences in the fused image; 0..361, higher is better.

    Eskicioglu and Fisher, IEEE Trans. Communications 1995. Convention: means over the true number of differences."""
    rows = triplet.fused.diff(dim=-1).square().mean((-2, -1))
    columns = triplet.fused.diff(dim=-2).square().mean((-2, -1))
    return torch.sqrt(rows + columns)


def spatial_frequency_vifb(triplet: Triplet) -> torch.Tensor:
    """SF of VIFB, [N, 1]: channels laid side by side as one image [H, C W], so the seams between them count,
    and both sums divided by the number of pixels."""
    image = torch.cat(triplet.fused.unbind(1), dim=-1)
    squares = image.diff(dim=-1).square().sum((-2, -1)) + image.diff(dim=-2).square().sum((-2, -1))
    return torch.sqrt(squares / (image.shape[-2] * image.shape[-1])).unsqueeze(1)


def edges(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Strength and orientation in [-pi/2, pi/2] of the edges, zeros outside the image."""
    right, down = sobel(image, "constant")
    # The sign matters: a vertical orientation is +pi/2, and its distance from others depends on it.
    angle = torch.where(right == 0, math.pi / 2, torch.atan(-down / right))
    return torch.hypot(right, down), angle


def edge_transfer(triplet: Triplet) -> torch.Tensor:
    """Qabf, sum(Q_vf g_v + Q_if g_i) / sum(g_v + g_i), Q = Qg Qa; 0..0.976, higher is better.

    Xydeas and Petrovic, Electronics Letters 2000; nan where both sources are flat. Both conventions take VIFB's:
    Qg = .9994 / (1 + exp(-15 (G - .5))), Qa = .9879 / (1 + exp(-22 (A - .8))), and where g_s = g_f, G = g_f."""
    fused, fused_angle = edges(triplet.fused)
    transferred, possible = torch.zeros(()), torch.zeros(())
    for source, angle in (source.once(edges) for source in triplet.sources):
        ratio = torch.where(source == fused, fused, torch.minimum(source, fused) / torch.maximum(source, fused))
        agreement = 1 - (angle - fused_angle).abs() / (math.pi / 2)
        kept = 0.9994 * torch.sigmoid(15 * (ratio - 0.5)) * 0.9879 * torch.sigmoid(22 * (agreement - 0.8))
        transferred = transferred + (kept * source).sum((-2, -1))
        possible = possible + source.sum((-2, -1))
    return transferred / possible


def soft_edges(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Strength and orientation of the edges as Nabf takes them: Sobel / 8, mirrored border, 0 where flat."""
    right, down = sobel(image, "reflect")
    strength = torch.hypot(right, down) / 8
    return strength, torch.where(strength == 0, 0.0, torch.atan(right / down))


def weighted_edges(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Strength and orientation of the edges of a source, and how much each counts in Nabf."""
    strength, angle = soft_edges(image)
    return strength, angle, torch.where(strength >= 2, strength * strength.sqrt(), 0.001)


def added_artefacts(triplet: Triplet) -> torch.Tensor:
    """Nabf, sum of (1 - Q_vf) w_v + (1 - Q_if) w_i where the fused edge is the strongest, over sum(w_v + w_i); 0..1,
    lower is better. Shreyamsha Kumar, Signal, Image and Video Processing 2013, with its constants: w = g^1.5 or,
    under g = 2, .001; Q^2 = .9999 / (1 + exp(-19 (G - .5))) .9995 / (1 + exp(-22 (A - .5)))."""
    fused, fused_angle = soft_edges(triplet.fused)
    lost, weights, strongest = torch.zeros(()), torch.zeros(()), torch.tensor(True)
    for source, angle, weight in (source.once(weighted_edges) for source in triplet.sources):
        top = torch.maximum(source, fused)
        ratio = torch.where(top == 0, 0.0, torch.minimum(source, fused) / top)
        agreement = ((angle - fused_angle).abs() - math.pi / 2).abs() * 2 / math.pi
        strength_kept = 0.9999 * torch.sigmoid(19 * (ratio - 0.5))
        angle_kept = 0.9995 * torch.sigmoid(22 * (agreement - 0.5))
        lost = lost + (1 - torch.sqrt(strength_kept * angle_kept)) * weight
        weights = weights + weight
        strongest = (fused > source) & strongest
    return (lost * strongest).sum((-2, -1)) / weights.sum((-2, -1))
