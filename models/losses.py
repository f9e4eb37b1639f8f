"""Losses as pure functions of tensors: adversarial, of features, of pairs, and those of the fusion methods FusionGAN
(Ma et al., Information Fusion 48, 2019) and STDFusionNet (Ma et al., IEEE TIM 70, 2021).

Image derivatives are sums of shifted images, not convolutions, so that autocast leaves them in float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import torch
import torch.nn.functional as F

from models import fused
from util.images import sobel

Features = Mapping[str, torch.Tensor]


def adversarial_loss(logits: torch.Tensor, real: bool, mode: str, for_discriminator: bool = False) -> torch.Tensor:
    """Give what to lower so that a discriminator's logits (any shape) say real, or not real.

    mode: lsgan (Mao et al., ICCV 2017), vanilla (Goodfellow et al., NIPS 2014), hinge (Lim and Ye, 2017; its
    margin is the discriminator's alone) or wgangp (Gulrajani et al., NIPS 2017)."""
    logits = logits.float()
    if mode == "lsgan":
        return (logits - float(real)).square().mean()
    if mode == "vanilla":
        return F.softplus(-logits if real else logits).mean()
    signed = -logits if real else logits
    if mode == "hinge" and for_discriminator:
        return F.relu(1 + signed).mean()
    if mode in ("hinge", "wgangp"):
        return signed.mean()
    raise ValueError(f"no adversarial loss is called {mode!r}")


def gradient_penalty(
    discriminator: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor, fake: torch.Tensor
) -> torch.Tensor:
    """Take the mean of (|gradient| - 1)^2 between real and fake images [N, C, H, W] (Gulrajani et al., 2017)."""
    mix = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_(True)
    with fused.as_written():
        logits = discriminator(between).float()
    (gradient,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
    return (gradient.float().flatten(1).norm(dim=1) - 1).square().mean()


def content_loss(
    image: Features, reference: Features, layers: Sequence[str], weights: Sequence[float] = ()
) -> torch.Tensor:
    """Weighted sum over VGG16 layers of the mean absolute difference of features [N, C, h, w]."""
    terms = [F.l1_loss(image[layer].float(), reference[layer].float()) for layer in layers]
    weighted = [weight * term for weight, term in zip(weights or (1.0,) * len(terms), terms, strict=True)]
    return reduce(torch.add, weighted)


def self_similarity_loss(
    image: Features,
    reference: Features,
    layers: Sequence[str],
    patch_sizes: Sequence[int],
    patches: int = 256,
    query: str = "upper_left",
    keep: float = 1.0,
) -> torch.Tensor:
    """How far the patch self-similarities of two images differ, mean over VGG16 layers, in [0, 2].

    Patches lie at random places, the same ones in both images.
    The idea is that of F-LSeSim (Zheng et al., CVPR 2021), here with the patch's upper-left cell as query."""
    terms = []
    for layer, size in zip(layers, patch_sizes, strict=True):
        height, width = image[layer].shape[-2:]
        rows, columns = draw_patches(height, width, size, patches, image[layer].device)
        size = min(size, height, width)
        ours, theirs = (self_similarity(features[layer], rows, columns, size, query) for features in (image, reference))
        if keep < 1:
            ours, theirs = keep_largest(ours, theirs, keep)
        agreement = F.cosine_similarity(ours, theirs, dim=-1)
        terms.append(F.l1_loss(agreement, torch.ones_like(agreement)))
    return reduce(torch.add, terms) / len(terms)


def draw_patches(
    height: int, width: int, size: int, patches: int, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Upper-left corners of `patches` random size x size patches inside a height x width map: rows, columns,
    each [patches] int64, drawn on the device. A size beyond the map means the whole of its shorter side."""
    size = min(size, height, width)
    rows = torch.randint(height - size + 1, (patches,), device=device)
    columns = torch.randint(width - size + 1, (patches,), device=device)
    return rows, columns


def self_similarity(
    features: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, size: int, query: str
) -> torch.Tensor:
    """Features [N, C, h, w] -> similarity of each patch's query cell with its size*size cells, in [-1, 1]:
    [N, patches, size*size], cells in reading order. query: "upper_left" or "centre"."""
    n, _, _, width = features.shape
    features = features.float()
    features = features - features.mean(dim=(2, 3), keepdim=True)
    features = F.normalize(features, dim=1, eps=1e-6)
    rows, columns = rows[:, None, None], columns[:, None, None]
    step = torch.arange(size, device=features.device)
    cells = ((rows + step[:, None]) * width + columns + step).view(-1, size * size)
    position = 0 if query == "upper_left" else (size // 2) * size + size // 2
    # Queries against every cell of the map, then a patch's own cells are picked: more products than needed, yet twice
    # as fast as gathering each patch's feature vectors, which overlap and are four times the map.
    flat = features.flatten(2)
    everywhere = flat[:, :, cells[:, position]].transpose(1, 2) @ flat  # [N, patches, h*w]
    return everywhere.gather(2, cells.expand(n, -1, -1))


def keep_largest(ours: torch.Tensor, theirs: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Zero both [..., K] except where `ours` is among the largest `share` of its K entries."""
    count = max(1, round(share * ours.shape[-1]))
    threshold = ours.detach().topk(count, dim=-1).values[..., -1:]
    kept = ours.detach() >= threshold
    return ours * kept, theirs * kept


def paired_loss(image: torch.Tensor, reference: torch.Tensor, paired: torch.Tensor | None = None) -> torch.Tensor:
    """Mean absolute difference of [N, C, H, W] images, to which those that are no pairs add 0: the mean over batches is
    that over the joined batch. paired [N, 1, 1, 1]: 1 for a pair, else 0; None where all are."""
    difference = (image.float() - reference).abs()
    return (difference if paired is None else paired * difference).mean()


def correlation_loss(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """1 - Pearson's correlation over the pixels of each image, [N, C, H, W] twice, mean over images, in [0, 2]."""
    image, reference = (x.float().flatten(1) for x in (image, reference))
    image, reference = (x - x.mean(1, keepdim=True) for x in (image, reference))
    return (1 - F.cosine_similarity(image, reference, dim=1, eps=1e-6)).mean()


def best_shift(image: torch.Tensor, reference: torch.Tensor, most: int) -> torch.Tensor:
    """`reference` [N, C, H, W] moved by at most `most` pixels in each direction, and a quarter of the shorter side, to
    where its mean absolute difference from `image`, the same shape, is least; its border is repeated.

    Every second shift is tried, on images of half the size, whose borders do not count; the choice, one for each image,
    carries no gradient."""
    n, channels, height, width = image.shape
    reach = min(most, height // 4, width // 4) // 2
    with torch.no_grad():
        ours, theirs = (F.avg_pool2d(x.float().mean(1, keepdim=True), 2) for x in (image, reference))
        tall, wide = ours.shape[-2] - 2 * reach, ours.shape[-1] - 2 * reach
        ours = ours[..., reach : reach + tall, reach : reach + wide]
        windows = theirs.unfold(2, tall, 1).unfold(3, wide, 1)  # a view: [N, 1, shifts, shifts, tall, wide]
        chosen = (windows - ours[:, :, None, None]).abs().mean((1, 4, 5)).flatten(1).argmin(1)
        steps = torch.stack([chosen // (2 * reach + 1), chosen % (2 * reach + 1)]) - reach  # [2, N], of two pixels
        rows, columns = (
            (2 * step[:, None] + torch.arange(side, device=image.device)).clamp(0, side - 1)
            for step, side in zip(steps, (height, width), strict=True)
        )
    batch = torch.arange(n, device=image.device)[:, None, None, None]
    channel = torch.arange(channels, device=image.device)[:, None, None]
    return reference[batch, channel, rows[:, None, :, None], columns[:, None, None, :]]


def sobel_gradient(image: torch.Tensor) -> torch.Tensor:
    """|horizontal| + |vertical| Sobel derivative of [..., H, W], zero outside; float32, at least 0."""
    right, down = sobel(image.float(), "constant")
    return right.abs() + down.abs()


def laplacian(image: torch.Tensor) -> torch.Tensor:
    """Four neighbours minus four times the pixel, of [..., H, W], zero outside; float32."""
    p = F.pad(image.float(), (1, 1, 1, 1))
    beside = p[..., :-2, 1:-1] + p[..., 1:-1, :-2] + p[..., 1:-1, 2:] + p[..., 2:, 1:-1]
    return beside - 4 * p[..., 1:-1, 1:-1]


def weighted_l1(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean over all pixels of weight * |a - b|, each [N, 1, H, W]; the weights are not normalised."""
    return (weight * (a.float() - b.float()).abs()).mean()


def salient_target_loss(
    fused: torch.Tensor,
    visible: torch.Tensor,
    infrared: torch.Tensor,
    mask: torch.Tensor,
    background: float = 1.0,
    target: float = 1.0,
) -> dict[str, torch.Tensor]:
    """Weigh STDFusionNet's four terms: fused is like infrared where mask is 1, like visible where it is 0.

    Images [N, 1, H, W] in [-1, 1], mask [N, 1, H, W] in [0, 1]; background and target are the weights outside and
    inside the mask."""
    of_fused, of_visible, of_infrared = map(sobel_gradient, (fused, visible, infrared))
    return {
        "background_intensity": background * weighted_l1(fused, visible, 1 - mask),
        "background_gradient": background * weighted_l1(of_fused, of_visible, 1 - mask),
        "target_intensity": target * weighted_l1(fused, infrared, mask),
        "target_gradient": target * weighted_l1(of_fused, of_infrared, mask),
    }


VISIBLE_DETAIL = 1.5
"""How much stronger infrared detail must be than visible detail to take its place: it is what eyes are used to."""
DETAIL_GAIN = (1.2, 1.12, 1.07)
"""Gain of the details that are fused, one for each scale, from fine to coarse."""
HOT = (90 / 127.5 - 1, 150 / 127.5 - 1)
"""Grey level from which infrared counts as warm, and that at which it is hot, of images in the standard exposure."""


def _smooth(image: torch.Tensor, step: int = 1) -> torch.Tensor:
    """[N, 1, H, W] float32 smoothed by the cubic B-spline (1 4 6 4 1) / 16 both ways, its taps `step` pixels apart;
    edges are repeated."""
    height, width = image.shape[-2:]
    for axis, length in ((2, height), (3, width)):
        padded = F.pad(image, (0, 0, 2 * step, 2 * step) if axis == 2 else (2 * step, 2 * step, 0, 0), mode="replicate")
        a, b, c, d, e = (padded.narrow(axis, i * step, length) for i in range(5))
        image = (a + e) / 16 + (b + d) / 4 + c * 0.375
    return image


def multiscale_fusion(visible: torch.Tensor, infrared: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Fuse by scales, as classic methods do: of each scale's details the stronger, on the visible image's brightness,
    which gives way to the infrared one's where that is brighter and hot, or on a target.

    Images [N, 1, H, W] in [-1, 1], infrared in the standard exposure; mask [N, 1, H, W] in [0, 1], 1 on targets ->
    [N, 1, H, W] float32, in [-1, 1]. The scales are those of the a trous wavelet transform (Starck and Murtagh, 1994).
    No gradient passes."""
    with torch.no_grad():
        coarse_visible, coarse_infrared = visible.float(), infrared.float()
        details = torch.zeros_like(coarse_visible)
        for scale, gain in enumerate(DETAIL_GAIN):
            smooth_visible, smooth_infrared = _smooth(coarse_visible, 2**scale), _smooth(coarse_infrared, 2**scale)
            of_visible, of_infrared = coarse_visible - smooth_visible, coarse_infrared - smooth_infrared
            stronger = VISIBLE_DETAIL * _smooth(of_visible.abs()) > _smooth(of_infrared.abs())
            details = details + gain * torch.where(stronger, of_visible, of_infrared)
            coarse_visible, coarse_infrared = smooth_visible, smooth_infrared
        hot = ((coarse_infrared - HOT[0]) / (HOT[1] - HOT[0])).clamp(0, 1)
        if mask is not None:
            hot = torch.maximum(hot, _smooth(mask.float()))
        return (coarse_visible + hot * F.relu(coarse_infrared - coarse_visible) + details).clamp(-1, 1)


def multiscale_loss(fused: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Take the mean absolute difference of fused and of its Sobel gradient from what `multiscale_fusion` made, each
    [N, 1, H, W] in [-1, 1]."""
    return F.l1_loss(fused.float(), wanted) + F.l1_loss(sobel_gradient(fused), sobel_gradient(wanted))


def soft_label_loss(logits: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """Mean squared distance of logits [N, 1] from labels drawn for each sample from [low, high)."""
    labels = low + (high - low) * torch.rand(logits.shape, device=logits.device)
    return F.mse_loss(logits.float(), labels)
