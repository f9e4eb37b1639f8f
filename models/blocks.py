"""Small pieces that networks share: normalisation, of weights too (Miyato et al., ICLR 2018), initial weights, padding
to a multiple, luminance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import library, nn

from models import fused
from util.images import luminance

SPECTRAL_EPS = 1e-12


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance norm without parameters, right and without detours in every memory layout.

    PyTorch's own copies channels_last images to the default layout, and on the CPU its gradient is then wrong at
    batch size 1 (seen in 2.13 to 2.15). One image is a batch of its own, for which batch norm is the same, in either
    layout; compiled code fuses the formula itself best, and keeps its gradient in the layout too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> the same shape; each channel of each image with mean 0 and variance 1."""
        if torch.compiler.is_dynamo_compiling():  # not when it is exported, where instance norm has a name
            values = x.float()
            variance, mean = torch.var_mean(values, (2, 3), correction=0, keepdim=True)
            return ((values - mean) * torch.rsqrt(variance + self.eps)).to(x.dtype)
        # In this order: what is exported needs no gradients, and a look at its batch size would fix it.
        if x.requires_grad and x.device.type == "cpu" and len(x) == 1:
            return F.batch_norm(x, None, None, training=True, eps=self.eps)
        return super().forward(x)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm with eps 1e-5 and decay 0.9. When not training, statistics are "running", or of each
    "image" by itself."""

    def __init__(self, channels: int, statistics: str = "running") -> None:
        super().__init__(channels, eps=1e-5, momentum=0.1)
        self.statistics = statistics

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> the same shape."""
        if self.training or self.statistics == "running":
            return super().forward(x)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)


class Chain(nn.Sequential):
    """Layers one after another. On CUDA what stands between two convolutions, an instance norm, a ReLU, an upsampling
    and a mirrored border, is one pass (models/fused.py)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layers, done = list(self), 0
        while done < len(layers):
            joined, settings = _joined(layers[done : done + 4])
            if any(name != "slope" for name in settings) and fused.fits(x):  # PyTorch's own ReLU is as good
                x, done = fused.run(x, **settings), done + joined
            else:
                x, done = layers[done](x), done + 1
        return x


def _joined(layers: Sequence[nn.Module]) -> tuple[int, dict[str, Any]]:
    """How many of the first layers one pass does, and how it is to be told."""
    settings: dict[str, Any] = {}
    rest = list(layers)
    if rest and type(rest[0]) is InstanceNorm2d:
        settings["eps"] = rest.pop(0).eps
    if rest and isinstance(rest[0], (nn.ReLU, nn.LeakyReLU)):
        settings["slope"] = getattr(rest.pop(0), "negative_slope", 0.0)
    if rest and isinstance(rest[0], nn.Upsample):
        settings["up"] = int(rest.pop(0).scale_factor)
    if rest and isinstance(rest[0], nn.ReflectionPad2d):
        settings["pad"] = rest.pop(0).padding[0]
    return len(layers) - len(rest), settings


def normalises_images(layer: nn.Module) -> TypeGuard[nn.InstanceNorm2d | nn.BatchNorm2d]:
    """Whether a layer normalises each image by its own statistics when it does not train."""
    return isinstance(layer, nn.InstanceNorm2d) or (isinstance(layer, BatchNorm2d) and layer.statistics == "image")


class NormedConv2d(nn.Conv2d):
    """A convolution before an instance norm, which takes any bias away: it is kept for files that have it, and not
    computed, which saves a sum over the whole image in the gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve as nn.Conv2d does, without the bias."""
        return F.conv2d(x, self.weight, None, self.stride, self.padding)


class NormedConvTranspose2d(nn.ConvTranspose2d):
    """Does for a transposed convolution what NormedConv2d does for a plain one."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve as nn.ConvTranspose2d does, without the bias."""
        return F.conv_transpose2d(x, self.weight, None, self.stride, self.padding, self.output_padding)


def _power_iteration(matrix: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    v = F.normalize(matrix.t() @ u, dim=0, eps=SPECTRAL_EPS)
    return F.normalize(matrix @ v, dim=0, eps=SPECTRAL_EPS), v


# An operator of its own, for compiled networks: torch.compile would save u alone for the backward pass and compute the
# rest anew from it, but the next call of the network has changed u by then.
_kept_power_iteration = library.custom_op(
    "infrared::power_iteration",
    _power_iteration,
    mutates_args=(),
    schema="(Tensor matrix, Tensor u) -> (Tensor, Tensor)",
)
_kept_power_iteration.register_fake(lambda matrix, u: (torch.empty_like(u), matrix.new_empty(matrix.shape[1])))


def spectrally_normalised(weight: torch.Tensor, u: torch.Tensor, update: bool) -> torch.Tensor:
    """weight [out, ...] over its largest singular value, estimated by one power iteration from u [out].

    update: u takes the iteration's result. In float32 whatever the precision around it; as in the published
    code, the gradient treats the singular vectors as constants."""
    with torch.autocast(weight.device.type, enabled=False):
        matrix = weight.flatten(1).float()
        with torch.no_grad():
            better, v = (_kept_power_iteration if update else _power_iteration)(matrix.detach(), u)
        if update:
            u.copy_(better)
        return weight / (better @ (matrix @ v))


class SpectralConv2d(nn.Conv2d):
    """Convolution with spectrally normalised weights; normalise = False makes it a plain one."""

    def __init__(
        self, inside: int, outside: int, size: int, stride: int = 1, padding: int = 0, normalise: bool = True
    ) -> None:
        super().__init__(inside, outside, size, stride, padding)
        self.u: torch.Tensor
        self.normalise = normalise
        self.register_buffer("u", F.normalize(torch.randn(outside), dim=0))

    def used_weight(self) -> torch.Tensor:
        """Give the weight that it convolves with; in training each call improves the estimate that normalises it."""
        return spectrally_normalised(self.weight, self.u, self.training) if self.normalise else self.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.used_weight(), self.bias, self.stride, self.padding)


class SpectralLinear(nn.Linear):
    """Linear layer with spectrally normalised weights."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__(inside, outside)
        self.u: torch.Tensor
        self.register_buffer("u", F.normalize(torch.randn(outside), dim=0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, spectrally_normalised(self.weight, self.u, self.training), self.bias)


def conv_before(
    norm: str, inside: int, outside: int, side: int, stride: int = 1, padding: int = 0, upwards: bool = False
) -> nn.Module:
    """A convolution of side x side, followed by the norm named; upwards: transposed, for twice the size at stride 2."""
    bias = norm != "batch"
    if norm == "spectral":
        assert not upwards, "weights are normalised in discriminators alone"
        return SpectralConv2d(inside, outside, side, stride, padding)
    if upwards:
        transposed = NormedConvTranspose2d if norm == "instance" else nn.ConvTranspose2d
        return transposed(inside, outside, side, stride, padding, output_padding=side % 2, bias=bias)
    kind = NormedConv2d if norm == "instance" else nn.Conv2d
    return kind(inside, outside, side, stride, padding, bias=bias)


def norm_layer(name: str) -> Callable[[int], nn.Module]:
    """ "instance" | "batch" | "none" | "spectral" (of weights, so no layer) -> a function from a channel count to a
    layer."""
    layers = {"instance": InstanceNorm2d, "batch": BatchNorm2d}
    return layers.get(name, lambda channels: nn.Identity())


def draw_weights(network: nn.Module, draw: Callable[[torch.Tensor], object], norms: float | None = None) -> None:
    """Draw the weights of all convolutions and linear layers anew; biases 0. norms: deviation from 1 of the weights of
    batch norms; None leaves them."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif norms is not None and isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, norms)
            nn.init.zeros_(module.bias)


def initialise(network: nn.Module, init_type: str, gain: float) -> None:
    """Draw the weights of all convolutions anew; biases 0; batch norm weights around 1."""
    draw = {
        "normal": partial(nn.init.normal_, mean=0.0, std=gain),
        "xavier": partial(nn.init.xavier_normal_, gain=gain),
        "kaiming": partial(nn.init.kaiming_normal_, a=0.0, mode="fan_in"),
        "orthogonal": partial(nn.init.orthogonal_, gain=gain),
    }[init_type]
    draw_weights(network, draw, gain)


def draw_truncated_normal(network: nn.Module, std: float) -> None:
    """Draw the weights of all layers anew, normal and cut at two standard deviations; biases 0."""
    draw_weights(network, partial(nn.init.trunc_normal_, std=std, a=-2 * std, b=2 * std))


def as_luminance(visible: torch.Tensor) -> torch.Tensor:
    """[N, 3, H, W] RGB or [N, 1, H, W] -> [N, 1, H, W], in the same range."""
    return luminance(visible) if visible.shape[-3] == 3 else visible


def run_padded(
    network: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, multiple: int, least: int = 0
) -> torch.Tensor:
    """Run a network that wants sides in multiples of `multiple`, and `least` pixels, on [N, C, H, W] of any size; the
    same size out."""
    height, width = x.shape[-2:]
    padded = to_multiple(x, multiple, least)
    return network(x) if padded is x else network(padded)[..., :height, :width]


def to_multiple(image: torch.Tensor, multiple: int, least: int = 0) -> torch.Tensor:
    """Images [N, C, H, W] of any type with sides in multiples of `multiple`, and of at least `least` pixels; `mirrored`
    at the right and lower edges."""
    for dim in (-2, -1):
        length = image.shape[dim]
        if (more := max(-length % multiple, least - length)) > 0:
            image = image.index_select(dim, mirrored(length, length + more, image.device))
    return image


def mirrored(length: int, total: int, device: torch.device) -> torch.Tensor:
    """`total` indices that go on after 0 .. length - 1 by mirroring at the end, as padding by "reflect" does, and stay
    at 0 where there is no more to mirror."""
    places = torch.arange(total, device=device)
    return (length - 1 - (places - (length - 1)).abs()).clamp(min=0)


def bilateral(images: torch.Tensor, sigma: float, levels: float, radius: int = 2) -> torch.Tensor:
    """Smooth images [N, C, H, W] in [-1, 1], but not across edges (bilateral filter, Tomasi and Manduchi, ICCV 1998):
    each pixel becomes a mean of those at most `radius` away, weighted by a Gaussian of their distance (sigma, pixels)
    and by Tukey's biweight of their difference, 0 from `levels` of 255 on (Durand and Dorsey, SIGGRAPH 2002). The same
    shape, float32."""
    images, sides = images.float(), range(-radius, radius + 1)
    height, width = images.shape[-2:]
    around = F.pad(images, (radius,) * 4, mode="replicate")
    total, weights, one = torch.zeros_like(images), torch.zeros_like(images), images.new_ones(())
    for down in sides:
        for right in sides:
            there = around[..., radius + down :, radius + right :][..., :height, :width]
            far, near = there - images, math.exp(-(down * down + right * right) / (2 * sigma**2))
            alike = torch.addcmul(one, far, far, value=-((127.5 / levels) ** 2)).clamp_min(0)
            weight = alike * alike
            total = torch.addcmul(total, weight, there, value=near)
            weights = weights.add(weight, alpha=near)
    return total / weights
