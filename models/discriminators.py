"""Discriminators of pytorch-CycleGAN-and-pix2pix (Isola et al., CVPR 2017), what they lower, and the pool of generated
images that they are shown."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from models.blocks import Chain, SpectralConv2d, conv_before, norm_layer
from models.losses import adversarial_loss, gradient_penalty
from options.translation import TranslationOptions


def _outer(
    norm: str, inside: int, outside: int, side: int, stride: int = 1, padding: int = 0, bias: bool = True
) -> nn.Module:
    """A first or last convolution, which no norm layer follows."""
    if norm == "spectral":
        return SpectralConv2d(inside, outside, side, stride, padding)
    return nn.Conv2d(inside, outside, side, stride, padding, bias=bias)


class PatchDiscriminator(nn.Module):
    """[N, in_channels, H, W] -> logits, one for each overlapping patch, [N, 1, H', W'].

    layers = 3 sees 70x70 patches (2.765 M parameters at 3 channels)."""

    def __init__(self, in_channels: int, ndf: int = 64, layers: int = 3, norm: str = "instance") -> None:
        super().__init__()
        layer = norm_layer(norm)
        body: list[nn.Module] = [_outer(norm, in_channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        width = ndf
        for depth in range(1, layers + 1):
            wider = min(2**depth, 8) * ndf
            stride = 2 if depth < layers else 1
            body += [conv_before(norm, width, wider, 4, stride, 1)]
            body += [layer(wider), nn.LeakyReLU(0.2, True)]
            width = wider
        body += [_outer(norm, width, 1, 4, 1, 1)]
        self.body = Chain(*body)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class PixelDiscriminator(nn.Module):
    """[N, in_channels, H, W] -> logits, one for each pixel, [N, 1, H, W]."""

    def __init__(self, in_channels: int, ndf: int = 64, norm: str = "instance") -> None:
        super().__init__()
        self.body = Chain(
            _outer(norm, in_channels, ndf, 1),
            nn.LeakyReLU(0.2, True),
            conv_before(norm, ndf, 2 * ndf, 1),
            norm_layer(norm)(2 * ndf),
            nn.LeakyReLU(0.2, True),
            _outer(norm, 2 * ndf, 1, 1, bias=norm != "batch"),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def make_discriminator(options: TranslationOptions, in_channels: int) -> nn.Module:
    """Build the discriminator that --netD names, for images of in_channels."""
    if options.netD == "pixel":
        return PixelDiscriminator(in_channels, options.ndf, options.discriminator_norm)
    layers = 3 if options.netD == "basic" else options.n_layers_D
    return PatchDiscriminator(in_channels, options.ndf, layers, options.discriminator_norm)


def discriminator_terms(
    discriminator: nn.Module, real: torch.Tensor, fake: torch.Tensor, options: TranslationOptions
) -> dict[str, torch.Tensor]:
    """Compute what a discriminator lowers, for real and generated images [N, C, H, W]: "real", "fake" and, with
    wgangp, "penalty"."""
    if options.discriminator_norm == "batch" or real.shape != fake.shape:  # batch norms must not mix them
        of_real, of_fake = discriminator(real), discriminator(fake)
    else:
        of_real, of_fake = discriminator(torch.cat([real, fake])).chunk(2)
    terms = {
        "real": 0.5 * adversarial_loss(of_real, True, options.gan_mode, for_discriminator=True),
        "fake": 0.5 * adversarial_loss(of_fake, False, options.gan_mode, for_discriminator=True),
    }
    if options.gan_mode == "wgangp":
        terms["penalty"] = 0.5 * options.lambda_gp * gradient_penalty(discriminator, real, fake)
    return terms


class ImagePool:
    """Gives back, for each image of a batch, that image or (every second time, once full) an older one, so that
    discriminators also see what generators made before (Shrivastava et al., CVPR 2017). It draws on the images' device
    and decides there, so that nothing waits for it and a CUDA graph can hold it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: torch.Tensor | None = None  # [size, C, H, W], of which the first `count` are there
        self.count: torch.Tensor | None = None
        self.passed: torch.Size | None = None  # size of the last images, where that is not the pool's

    def query(self, batch: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] -> [N, C, H, W], without gradient. Images of another size than those of the pool pass by; two
        such batches in a row begin a new one, since a run may go on with other crops."""
        batch, shape = batch.detach(), batch.shape[1:]
        fits = self.images is None or self.images.shape[1:] == shape
        again, self.passed = self.passed == shape, None if fits else shape
        if not self.size or not (fits or again):
            return batch
        return torch.cat([self._exchanged(part) for part in batch.split(self.size)])

    def _exchanged(self, batch: torch.Tensor) -> torch.Tensor:
        images, count = self._ready(batch)
        number = torch.arange(len(batch), device=batch.device)
        # The first of a batch fill empty places, the others may take the place of images that were there before, each
        # of another one.
        empty = self.size - count
        is_new = number < empty
        key = torch.rand(self.size, device=batch.device)
        there = torch.arange(self.size, device=batch.device) < count
        order = torch.where(there, key, key + 1).argsort()
        place = torch.where(is_new, count + number, order[(number - empty).clamp_min(0)])
        older = images[place]
        is_older = ~is_new & (torch.rand(len(batch), device=batch.device) < 0.5)
        stays = (is_new | is_older)[:, None, None, None]
        images[place] = torch.where(stays, batch.to(images.dtype), older)
        count.add_(len(batch)).clamp_(max=self.size)
        return torch.where(is_older[:, None, None, None], older.to(batch.dtype), batch)

    def _ready(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The places and their count, on the batch's device, of the batch's size."""
        if self.images is None or self.count is None or self.images.shape[1:] != batch.shape[1:]:
            self.images = batch.new_zeros((self.size, *batch.shape[1:]))
            self.count = torch.zeros((), dtype=torch.int64, device=batch.device)
        if self.images.device != batch.device:  # a checkpoint's are on the CPU
            self.images, self.count = self.images.to(batch.device), self.count.to(batch.device)
        return self.images, self.count

    def state_dict(self) -> dict[str, Any]:
        """Give the images held, for a checkpoint."""
        held = self.images is not None and self.count is not None
        return {"images": [image.clone() for image in self.images[: int(self.count)].split(1)] if held else []}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the images held by another pool, at most `size`; TypeError where they are none."""
        images = list(state["images"])
        if not all(isinstance(image, torch.Tensor) for image in images):
            raise TypeError("an image pool holds what is no image")
        self.images = self.count = None
        images = [image for image in images[: self.size] if image.shape == images[0].shape]
        if images:
            joined = torch.cat(images)
            self.images = torch.cat([joined, joined.new_zeros((self.size - len(joined), *joined.shape[1:]))])
            self.count = torch.tensor(len(joined), device=joined.device)
