"""Generators: those of pytorch-CycleGAN-and-pix2pix, ResNet (Johnson et al., ECCV 2016) and U-Net (Isola et al., CVPR
2017), in its order of tensors so that its weights load; and a U-Net on an ImageNet encoder.

Each says its `multiple`, to which it pads sides, its `reach`, the pixels around an output pixel that it can depend on
besides the norms' statistics, and whether it brightens dark images by a power that depends on the whole image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import Chain, as_luminance, bilateral, conv_before, norm_layer, run_padded
from models.efficientnet import WIDTHS, EfficientNetLite0
from models.vgg import VGG16
from util.images import luminance, resize

LEAST = 16  # pixels of a side: with fewer, the residual blocks would see too few to mirror and to normalise


class ResidualBlock(nn.Module):
    """x + (3x3 conv, norm, ReLU, [dropout], 3x3 conv, norm)(x), with mirrored borders."""

    def __init__(self, channels: int, norm: str, dropout: bool) -> None:
        super().__init__()
        layer = norm_layer(norm)
        self.body = Chain(
            nn.ReflectionPad2d(1),
            conv_before(norm, channels, channels, 3),
            layer(channels),
            nn.ReLU(inplace=True),
            *([nn.Dropout(0.5)] if dropout else []),
            nn.ReflectionPad2d(1),
            conv_before(norm, channels, channels, 3),
            layer(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


def _up(inside: int, outside: int, side: int, norm: str, upsample: str) -> list[nn.Module]:
    """Twice the height and width, by a transposed convolution of side x side or a 3x3 one; before the norm named."""
    if upsample == "transpose":
        return [conv_before(norm, inside, outside, side, 2, 1, upwards=True)]
    return [
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.ReflectionPad2d(1),
        conv_before(norm, inside, outside, 3),
    ]


class ResNetGenerator(nn.Module):
    """[N, in_channels, H, W] -> [N, out_channels, H, W] in [-1, 1], any H and W.

    11.378 M parameters at 3 -> 3 channels, 9 blocks and 64 first channels."""

    multiple, brightens = 4, False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ngf: int = 64,
        blocks: int = 9,
        norm: str = "instance",
        dropout: bool = False,
        upsample: str = "transpose",
    ) -> None:
        super().__init__()
        self.reach = 8 * blocks + 24
        layer = norm_layer(norm)
        body: list[nn.Module] = [nn.ReflectionPad2d(3), conv_before(norm, in_channels, ngf, 7)]
        body += [layer(ngf), nn.ReLU(inplace=True)]
        for width in (ngf, 2 * ngf):
            body += [conv_before(norm, width, 2 * width, 3, 2, 1)]
            body += [layer(2 * width), nn.ReLU(inplace=True)]
        body += [ResidualBlock(4 * ngf, norm, dropout) for _ in range(blocks)]
        for width in (4 * ngf, 2 * ngf):
            body += _up(width, width // 2, 3, norm, upsample)
            body += [layer(width // 2), nn.ReLU(inplace=True)]
        body += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, out_channels, 7), nn.Tanh()]
        self.body = Chain(*body)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return run_padded(self.unpadded, x, self.multiple, LEAST)

    def unpadded(self, x: torch.Tensor) -> torch.Tensor:
        """Run on sides that are multiples of 4."""
        return self.body(x)


class UNetLevel(nn.Module):
    """One level of the U-Net: halve, run what is inside, double, and put the input beside the result."""

    def __init__(
        self, outside: int, width: int, inner: UNetLevel | None, norm: str, dropout: bool, upsample: str
    ) -> None:
        super().__init__()
        layer = norm_layer(norm)
        # The innermost level has no norm after its way down: one pixel may be left, which has no variance.
        self.down = Chain(
            nn.LeakyReLU(0.2),
            *(
                [conv_before(norm, outside, width, 4, 2, 1), layer(width)]
                if inner
                else [nn.Conv2d(outside, width, 4, 2, 1, bias=norm != "batch")]
            ),
        )
        self.inner = inner
        merged = 2 * width if inner else width
        up = _up(merged, outside, 4, norm, upsample)
        self.up = Chain(nn.ReLU(), *up, layer(outside), *([nn.Dropout(0.5)] if dropout and inner else []))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.down(x)
        return torch.cat([x, self.up(self.inner(y) if self.inner else y)], 1)


class UNetGenerator(nn.Module):
    """[N, in_channels, H, W] -> [N, out_channels, H, W] in [-1, 1]; sides are padded to 2^levels.

    levels: 8 for unet_256 (54.41 M parameters at 3 -> 3), 7 for unet_128."""

    brightens = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ngf: int = 64,
        levels: int = 8,
        norm: str = "instance",
        dropout: bool = False,
        upsample: str = "transpose",
    ) -> None:
        super().__init__()
        self.multiple, self.reach = 2**levels, 3 * 2**levels
        widths = [min(2**i, 8) * ngf for i in range(levels)]
        inner: UNetLevel | None = None
        for depth in range(levels - 1, 0, -1):
            between = dropout and depth >= 4
            inner = UNetLevel(widths[depth - 1], widths[depth], inner, norm, between, upsample)
        self.first = nn.Conv2d(in_channels, ngf, 4, stride=2, padding=1, bias=norm != "batch")
        self.inner = inner
        self.last = Chain(nn.ReLU(), *_up(2 * ngf, out_channels, 4, "none", upsample), nn.Tanh())

    def unpadded(self, x: torch.Tensor) -> torch.Tensor:
        """Run on sides that are multiples already."""
        return self.last(self.inner(self.first(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return run_padded(self.unpadded, x, self.multiple)


DARK = 0.25
"""Mean of an image, as a share of white, below which an encoder from ImageNet sees it brightened."""


class EfficientNetUNetGenerator(nn.Module):
    """[N, 1 or 3, H, W] -> [N, out_channels, H, W] in [-1, 1]; sides are padded to 32, or 64 if both are smaller.

    EfficientNet-Lite0 sees what things are, VGG16's first layers their edges and textures, and a decoder with skip
    connections and norms of its own draws. What both learnt from ImageNet (load_encoder) holds for cameras and places
    that training has not seen, so they are frozen. Dark images are brightened first (`exposure`), of which ImageNet has
    few. In eval mode it smooths what it drew, but for edges: a discriminator teaches it grain that no camera has.
    7.1 M parameters at 3 -> 1 channels and ngf 32, 2.4 M of them trained."""

    multiple, brightens = 32, True
    stride, reach = 8, 40  # of the context; how far an output pixel depends on the image where the context is given
    FINE = (("relu3_3", 256), ("relu2_2", 128), ("relu1_2", 64))  # at strides 4, 2 and 1
    GRAIN = (1.5, 16.0)  # pixels and grey levels

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        ngf: int = 32,
        norm: str = "instance",
        dropout: bool = False,
        upsample: str = "resize",
    ) -> None:
        super().__init__()
        layer = norm_layer(norm)

        def block(inside: int, outside: int, side: int = 3) -> list[nn.Module]:
            return [conv_before(norm, inside, outside, side, padding=side // 2), layer(outside), nn.ReLU(inplace=True)]

        self.encoder = EfficientNetLite0()
        self.fine = VGG16([name for name, _ in self.FINE], "random")
        skips = (*WIDTHS[-2::-1], in_channels)  # at strides 16, 8, 4, 2 and 1
        widths = [ngf * factor for factor in (8, 8, 4, 2, 1, 1)]
        self.middle = Chain(*block(WIDTHS[-1], widths[0], 1), *([nn.Dropout(0.5)] if dropout else []))
        # A sum of two convolutions is one of both inputs beside each other, without copying them there.
        self.from_below, self.from_skip, self.after = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for skipped, below, width in zip(skips, widths, widths[1:], strict=False):
            if upsample == "transpose":
                up = [conv_before(norm, below, width, 4, 2, 1, upwards=True)]
            else:
                up = [nn.Upsample(scale_factor=2, mode="nearest"), conv_before(norm, below, width, 3, padding=1)]
            self.from_below.append(Chain(*up))
            self.from_skip.append(conv_before(norm, skipped, width, 3, padding=1))
            self.after.append(Chain(layer(width), nn.ReLU(inplace=True), *block(width, width)))
        self.from_fine = nn.ModuleList(
            conv_before(norm, seen, width, 3, padding=1) for (_, seen), width in zip(self.FINE, widths[3:], strict=True)
        )
        self.last = nn.Sequential(nn.Conv2d(ngf, out_channels, 3, padding=1), nn.Tanh())

    def unpadded(self, x: torch.Tensor) -> torch.Tensor:
        """Run on sides that are multiples of 32, in an exposure that the encoders know."""
        features = self.encoder(x)
        return self.drawn(x, features[:2], self.context(features))

    def context(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """What the scene is: of the encoder's features of a whole image, the decoder's at a stride of 8."""
        y = self.middle(features[4])
        for i, skip in enumerate(features[3:1:-1]):
            y = self.after[i](self.from_below[i](y) + self.from_skip[i](skip))
        return y

    def scene(self, x: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
        """The context of whole images as they are seen, sides multiples of 32; power: that brightens them."""
        return self.context(self.encoder(brightened(x, power)))

    def drawn(self, x: torch.Tensor, features: Sequence[torch.Tensor], context: torch.Tensor) -> torch.Tensor:
        """The infrared image of x, or of a tile of it, with features at strides 2 and 4 and the context there."""
        fine, y = self.fine(x), context
        for i, (skip, (name, _)) in enumerate(zip((*features[::-1], x), self.FINE, strict=True)):
            seen = self.from_skip[2 + i](skip) + self.from_fine[i](fine[name])
            y = self.after[2 + i](self.from_below[2 + i](y) + seen)
        made = self.last(y)
        return made if self.training else bilateral(made, *self.GRAIN)

    def forward(
        self, x: torch.Tensor, power: torch.Tensor | None = None, context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """power and context: of the whole image (`exposure`, `context`) where x is a tile of it, or where the scene is
        seen at another size than it is drawn at; then the sides of x are multiples of 8."""
        bright = brightened(x, exposure(x) if power is None else power)
        if context is not None:
            return self.drawn(bright, self.encoder(bright, 2), context)
        return run_padded(self.unpadded, bright, self.multiple, self.least(*x.shape[-2:]))

    def larger(self, x: torch.Tensor, scale: float) -> torch.Tensor:
        """Draw x [N, 1 or 3, H, W], sides multiples of 8, `scale` times as large as its scene is seen, as near as
        multiples of 32 come to that."""
        power, sides = exposure(x), x.shape[-2:]
        size = [self.multiple * max(1, round(side / scale / self.multiple)) for side in sides]
        context = self.scene(resize(x.float(), size), power)
        size = [side // self.stride for side in sides]
        return self(x, power, F.interpolate(context.float(), size, mode="bilinear").to(context.dtype))

    def least(self, height: int, width: int) -> int:
        """Pixels of a side: a norm needs more than the one place that the encoder would see of a tiny image."""
        return 2 * self.multiple if max(height, width) <= self.multiple else 0


def exposure(image: torch.Tensor) -> torch.Tensor:
    """Measure the power that brings each image [N, C, H, W], uint8 or float in [-1, 1], from a mean below a quarter of
    white up to a quarter: float32 [N, 1, 1, 1], 1 for images that are as bright; at least 0.3."""
    mean = image.mean((1, 2, 3), keepdim=True, dtype=torch.float32)
    mean = mean / 255 if image.dtype == torch.uint8 else mean / 2 + 0.5
    return math.log(DARK) / mean.clamp(0.01, DARK).log()


def brightened(image: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
    """Raise images [N, C, H, W] in [-1, 1], as shares of white, to a power [N, 1, 1, 1]; same shape, type and range."""
    share = image.float() / 2 + 0.5
    return (2 * share.clamp_min(1e-4) ** power - 1).to(image.dtype)


def channels_in(generator: nn.Module) -> int:
    """Channels of the images that a generator takes."""
    return next(module for module in generator.modules() if isinstance(module, nn.Conv2d)).in_channels


def make_generator(
    name: str, in_channels: int, out_channels: int, ngf: int, norm: str, dropout: bool, upsample: str
) -> nn.Module:
    """name: resnet_9blocks, resnet_6blocks, unet_256, unet_128 or efficientnet_unet."""
    if name == "efficientnet_unet":
        return EfficientNetUNetGenerator(in_channels, out_channels, ngf, norm, dropout, upsample)
    kind, size = {
        "resnet_9blocks": (ResNetGenerator, 9),
        "resnet_6blocks": (ResNetGenerator, 6),
        "unet_256": (UNetGenerator, 8),
        "unet_128": (UNetGenerator, 7),
    }[name]
    return kind(in_channels, out_channels, ngf, size, norm, dropout, upsample)


class OneDirection(nn.Module):
    """A generator alone: visible [N, 3, H, W] -> infrared [N, 1, H, W]. One that takes one channel gets luminance;
    three channels made become luminance."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.to_infrared, self.grey = generator, channels_in(generator) == 1

    def shown(self, visible: torch.Tensor) -> torch.Tensor:
        """What the generator sees of visible images."""
        return luminance(visible) if self.grey else visible

    def forward(self, visible: torch.Tensor, *whole: torch.Tensor) -> torch.Tensor:
        """whole: what the generator is to know of the whole image where visible is a tile of it."""
        return as_luminance(self.to_infrared(self.shown(visible), *whole))


def load_encoder(generator: nn.Module) -> None:
    """Give a generator that sees by ImageNet's networks their weights; others stay as they are."""
    if isinstance(generator, EfficientNetUNetGenerator):
        generator.encoder.load()
        generator.fine.load_state_dict(VGG16(generator.fine.layers).state_dict())
