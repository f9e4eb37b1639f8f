"""FusionGAN (Ma et al., Information Fusion 48, 2019): visible + infrared -> fused, against a discriminator.

    L_G = (D(f) - c)^2 + l_content [ mean (f - ir)^2 + l_laplacian mean (lap f - lap vis)^2 ],  c in U(0.7, 1.2)
    L_D = (D(vis) - b)^2 + (D(f) - a)^2,  b in U(0.7, 1.2), a in U(0, 0.3), drawn for each sample
and, beyond the paper, L_G has l_multiscale [ mean |f - s| + mean |grad f - grad s| ], s a classic fusion by scales.
One network serves training and testing. The released test script builds another one: it restores weights and
biases only, so it has no spectral normalisation, its batch norm has weight 1 and bias 0, and it normalises by
the statistics of the image itself. `--no_spectral_norm --bn_statistics image` builds that network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import nn

from models.blocks import BatchNorm2d, SpectralConv2d, SpectralLinear, as_luminance, draw_truncated_normal
from models.losses import laplacian, multiscale_fusion, multiscale_loss, soft_label_loss
from models.method import Method
from options.fusion_gan import SHRINK, FusionGANOptions

SLOPE = 0.2
INIT_STD = 1e-3
REAL, FAKE, WANTED = (0.7, 1.2), (0.0, 0.3), (0.7, 1.2)
"""Ranges of the labels of visible images, of fused images, and of the generator's aim."""


class Generator(nn.Module):
    """Visible luminance and infrared, each [N, 1, H, W] in [-1, 1] -> fused, the same shape and range.

    A pixel depends on those at most 6 away; edges are repeated. 925,633 parameters at 256 first channels."""

    REACH = SHRINK // 2

    def __init__(self, options: FusionGANOptions) -> None:
        super().__init__()
        widths = [2] + [options.ngf // divisor for divisor in (1, 2, 4, 8)]
        layers: list[nn.Module] = []
        for inside, outside, size in zip(widths, widths[1:], (5, 5, 3, 3), strict=False):
            layers += [
                SpectralConv2d(inside, outside, size, normalise=options.spectral_norm),
                BatchNorm2d(outside, options.bn_statistics),
                nn.LeakyReLU(SLOPE, inplace=True),
            ]
        layers += [SpectralConv2d(widths[-1], 1, 1, normalise=options.spectral_norm), nn.Tanh()]
        self.body = nn.Sequential(*layers)

    def forward(self, visible: torch.Tensor, infrared: torch.Tensor, padded: bool = True) -> torch.Tensor:
        """padded = False gives [N, 1, H - 12, W - 12], made without looking beyond the edges."""
        x = torch.cat([infrared, visible], 1)
        if padded:
            x = F.pad(x, (self.REACH,) * 4, mode="replicate")
        return self.body(x)


class Discriminator(nn.Module):
    """Visible or fused patches [N, 1, S, S] in [-1, 1], S = patch_size - 12 -> logits [N, 1]."""

    def __init__(self, options: FusionGANOptions) -> None:
        super().__init__()
        side = options.patch_size - SHRINK
        widths = [1] + [options.ndf * factor for factor in (1, 2, 4, 8)]
        layers: list[nn.Module] = []
        for inside, outside in zip(widths, widths[1:], strict=False):
            layers += [SpectralConv2d(inside, outside, 3, stride=2)]
            layers += [BatchNorm2d(outside)] if inside > 1 else []
            layers += [nn.LeakyReLU(SLOPE, inplace=True)]
            side = (side - 3) // 2 + 1
        self.body = nn.Sequential(*layers)
        self.last = SpectralLinear(widths[-1] * side * side, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(image).flatten(1))


def centre(image: torch.Tensor) -> torch.Tensor:
    """What of [N, C, H, W] lies under the generator's unpadded result: [N, C, H - 12, W - 12]."""
    margin = SHRINK // 2
    return image[..., margin:-margin, margin:-margin]


class FusionGAN(Method):
    """The training method; `network` alone is what fuses afterwards."""

    Options = FusionGANOptions
    trained = "generator"
    score_kind = "fusion"
    loss_groups = {"discriminator": ("real", "fake")}

    def __init__(self, options: FusionGANOptions) -> None:
        super().__init__()
        self.options = options
        self.generator = self.network(options)
        self.discriminator = Discriminator(options)
        for network in (self.generator, self.discriminator):
            draw_truncated_normal(network, INIT_STD)

    @staticmethod
    def network(options: FusionGANOptions) -> Generator:
        """The network that is used after training, without discriminator or losses."""
        return Generator(options)

    def players(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    def updates(self, batch: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
        """In what order, to lower what. batch: visible [N, 3 or 1, P, P], infrared [N, 1, P, P], in [-1, 1],
        P = patch_size."""
        visible, infrared = as_luminance(batch["visible"]), batch["infrared"]
        fused = self.generator(visible, infrared, padded=False)
        wanted = centre(multiscale_fusion(visible, infrared)) if self.options.lambda_multiscale else None
        visible, infrared = centre(visible), centre(infrared)
        for _ in range(self.options.critic_steps):
            # Two passes: batch norm must not mix the statistics of visible and fused images.
            yield (
                "discriminator",
                {
                    "real": soft_label_loss(self.discriminator(visible), *REAL),
                    "fake": soft_label_loss(self.discriminator(fused.detach()), *FAKE),
                },
            )
        yield "generator", self._generator_terms(visible, infrared, fused, wanted)

    def _generator_terms(
        self, visible: torch.Tensor, infrared: torch.Tensor, fused: torch.Tensor, wanted: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """Compute what the generator lowers, of luminance, infrared, fused and what classic fusion makes, each
        [N, 1, P - 12, P - 12] in [-1, 1]."""
        o, terms = self.options, {"adv": soft_label_loss(self.discriminator(fused), *WANTED)}
        if o.lambda_content:
            edges = F.mse_loss(laplacian(fused), laplacian(visible))
            terms["intensity"] = o.lambda_content * F.mse_loss(fused.float(), infrared)
            terms["laplacian"] = o.lambda_content * o.lambda_laplacian * edges
        if wanted is not None:
            terms["multiscale"] = o.lambda_multiscale * multiscale_loss(fused, wanted)
        return terms

    @staticmethod
    def preview(network: Generator, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What a person wants to look at: label -> images in [-1, 1]. network: as made by `network`."""
        fused = network(as_luminance(batch["visible"]), batch["infrared"])
        return {"visible": batch["visible"], "infrared": batch["infrared"], "fused": fused}
