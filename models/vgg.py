"""VGG16 features (Simonyan and Zisserman, ICLR 2015; torchvision's ImageNet weights) of images in [-1, 1]."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file
from torch import nn

from models.blocks import draw_weights
from options.translation import TranslationOptions

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Convolutions of each block; a max-pool stands between blocks.
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
IN_TREE = Path(__file__).parent / "weights" / "vgg16.safetensors"
IN_TREE_LAYERS = 10  # convolutions that the file in the tree holds, relu1_1 to relu4_3
REMEDY = (
    "put torchvision's file vgg16-397923af.pth on this machine and give --vgg_weights FILE, "
    "or use layers up to relu4_3, whose weights come with the project"
)


class VGG16(nn.Module):
    """[N, 1 or 3, H, W] in [-1, 1] -> {"relu3_3": [N, 256, H/4, W/4], ...} for the layers asked for.

    Frozen; runs no deeper than the last of them. One channel is repeated to three. Normalises its own input. weights:
    "imagenet" (the file in models/weights, whose layers have mean activation 1; torchvision's file for layers beyond
    relu4_3), "torchvision" (its file, downloaded where it is absent), "random", or a file."""

    def __init__(self, layers: Iterable[str], weights: str = "imagenet") -> None:
        super().__init__()
        wanted = set(layers)
        self.names: list[str | None] = []
        convolutions: list[nn.Module] = []
        before = 3
        for block, widths in enumerate(BLOCKS, 1):
            if not wanted:
                break
            self.names.append(None)
            for i, width in enumerate(widths, 1):
                if not wanted:
                    break
                convolutions.append(nn.Conv2d(before, width, 3, padding=1))
                self.names.append(f"relu{block}_{i}")
                wanted.discard(f"relu{block}_{i}")
                before = width
        self.layers = frozenset(layers)
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.convolutions: Any = nn.ModuleList(convolutions)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self._load(weights)
        self.requires_grad_(False)
        self.eval()

    def _load(self, weights: str) -> None:
        if weights == "random":
            draw_weights(self.convolutions, partial(nn.init.kaiming_normal_, nonlinearity="relu"))
            return
        if weights == "torchvision" or (weights == "imagenet" and len(self.convolutions) > IN_TREE_LAYERS):
            tensors = _torchvision()
        else:
            tensors = _read(IN_TREE if weights == "imagenet" else Path(weights))
        pairs = [
            (tensors.get(f"features.{i}.weight"), tensors.get(f"features.{i}.bias"))
            for i in sorted({int(key.split(".")[1]) for key in tensors if key.startswith("features.")})
        ]
        fits = len(pairs) >= len(self.convolutions) and all(
            weight is not None and bias is not None and weight.shape == convolution.weight.shape
            for (weight, bias), convolution in zip(pairs, self.convolutions, strict=False)
        )
        if not fits:
            raise ValueError(f"--vgg_weights {weights}: holds no VGG16 as torchvision saves it; {REMEDY}")
        with torch.no_grad():
            for (weight, bias), convolution in zip(pairs, self.convolutions, strict=False):
                convolution.weight.copy_(weight)
                convolution.bias.copy_(bias)

    def forward(self, images: torch.Tensor, layers: Iterable[str] = ()) -> dict[str, torch.Tensor]:
        """layers: those wanted now, by default all that were asked for."""
        wanted = set(layers) or self.layers
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        x = (((images.float() + 1) / 2 - self.mean) / self.std).to(images.dtype)
        features: dict[str, torch.Tensor] = {}
        convolutions = iter(self.convolutions)
        for name in self.names[1:]:
            if name is None:
                x = F.max_pool2d(x, 2)
                continue
            x = F.relu(next(convolutions)(x))
            if name in wanted:
                features[name] = x
                if len(features) == len(wanted):
                    break
        return features


def features_of(vgg: VGG16, *images: torch.Tensor, layers: Iterable[str] = ()) -> list[dict[str, torch.Tensor]]:
    """Features of several batches of images, [N, 1 or 3, H, W] each, in one pass where they are of one size. layers: as
    VGG16 takes them."""
    if len({image.shape[-2:] for image in images}) > 1:
        return [vgg(image, layers) for image in images]
    joined = torch.cat([image.expand(-1, 3, -1, -1) for image in images])
    parts = {name: f.chunk(len(images)) for name, f in vgg(joined, layers).items()}
    return [{name: part[i] for name, part in parts.items()} for i in range(len(images))]


def loss_network(options: TranslationOptions) -> VGG16 | None:
    """The VGG16 that content and self loss look through; None where neither has a weight."""
    layers = options.content_layers if options.lambda_content else ()
    layers += options.self_layers if options.lambda_self else ()
    return VGG16(layers, options.vgg_weights) if layers else None


def random_filters(options: TranslationOptions) -> list[str]:
    """A remark for the user where the feature losses see through untrained filters."""
    if options.vgg_weights == "random" and (options.lambda_content or options.lambda_self):
        return ["VGG16 has random filters (--vgg_weights random): the content and self losses are weaker"]
    return []


def _torchvision() -> dict[str, torch.Tensor]:
    weights = torchvision.models.VGG16_Weights.IMAGENET1K_V1
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(20)
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise ValueError(f"the VGG16 weights cannot be downloaded ({reason}): {REMEDY}") from None
    finally:
        socket.setdefaulttimeout(patience)


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ValueError(f"--vgg_weights {path}: no such file; {REMEDY}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways inside torch and safetensors
        raise ValueError(f"--vgg_weights {path}: cannot be read ({type(error).__name__}); {REMEDY}") from None
