"""STDFusionNet (Ma et al., IEEE Trans. Instrumentation and Measurement 70, 2021): visible + infrared -> fused.

m is 1 on salient targets, grad = |Sobel x| + |Sobel y|, f the fused image:
    L = mean((1-m) |f - vis|) + mean((1-m) |grad f - grad vis|)
      + alpha [ mean(m |f - ir|) + mean(m |grad f - grad ir|) ]
and, beyond the paper, lambda_multiscale [ mean |f - s| + mean |grad f - grad s| ], s a classic fusion by scales.
Where the released code differs from the paper, the code is followed: ELU in the decoder's first two blocks
(--decoder_activation), and a learning rate that does not decay (it computes a falling one and only prints it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from torch import nn

from models.blocks import as_luminance, draw_truncated_normal, draw_weights
from models.losses import multiscale_fusion, multiscale_loss, salient_target_loss
from models.method import Method
from options.stdfusion_net import STDFusionNetOptions

SLOPE = 0.2


class FusionResidualBlock(nn.Module):
    """act(conv 1x1, 3x3, 1x1 (x) + identity(x)), where identity is a 1x1 conv if channels change."""

    def __init__(self, inside: int, outside: int, activation: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, inside, 1)
        self.conv2 = nn.Conv2d(inside, inside, 3, padding=1)
        self.conv3 = nn.Conv2d(inside, outside, 1)
        self.identity = nn.Conv2d(inside, outside, 1, bias=False) if inside != outside else nn.Identity()
        self.between = nn.LeakyReLU(SLOPE)
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.between(self.conv2(self.between(self.conv1(x))))
        return self.activation(self.conv3(y) + self.identity(x))


class Encoder(nn.Sequential):
    """[N, 1, H, W] -> features [N, 4 ngf, H, W]."""

    def __init__(self, ngf: int) -> None:
        super().__init__(
            nn.Conv2d(1, ngf, 5, padding=2),
            nn.LeakyReLU(SLOPE),
            FusionResidualBlock(ngf, ngf, nn.LeakyReLU(SLOPE)),
            FusionResidualBlock(ngf, 2 * ngf, nn.LeakyReLU(SLOPE)),
            FusionResidualBlock(2 * ngf, 4 * ngf, nn.LeakyReLU(SLOPE)),
        )


class FusionNetwork(nn.Module):
    """Visible luminance and infrared, each [N, 1, H, W] in [-1, 1] -> fused, the same shape and range.

    Any size; a pixel depends on those at most 9 away. 282,513 parameters at 16 first channels."""

    REACH = 9

    def __init__(self, options: STDFusionNetOptions) -> None:
        super().__init__()
        ngf = options.ngf
        early = nn.ELU if options.decoder_activation == "elu" else lambda: nn.LeakyReLU(SLOPE)
        self.visible_encoder = Encoder(ngf)
        self.infrared_encoder = Encoder(ngf)
        self.decoder = nn.Sequential(
            FusionResidualBlock(8 * ngf, 4 * ngf, early()),
            FusionResidualBlock(4 * ngf, 2 * ngf, early()),
            FusionResidualBlock(2 * ngf, ngf, nn.LeakyReLU(SLOPE)),
            FusionResidualBlock(ngf, 1, nn.Tanh()),
        )

    def forward(self, visible: torch.Tensor, infrared: torch.Tensor) -> torch.Tensor:
        features = [self.visible_encoder(visible), self.infrared_encoder(infrared)]
        return self.decoder(torch.cat(features, 1))


def initialise(network: nn.Module, options: STDFusionNetOptions) -> None:
    """Draw all weights anew.

    From truncated_normal with 1e-3 nothing of the input reaches the output at first, and Adam needs some 50
    steps to change that; from kaiming the loss was a quarter lower after 200 steps on the released pairs."""
    if options.init == "truncated_normal":
        draw_truncated_normal(network, options.init_std)
    else:
        draw_weights(network, partial(nn.init.kaiming_normal_, a=SLOPE))


class STDFusionNet(Method):
    """The training method; `network` alone is what fuses afterwards."""

    Options = STDFusionNetOptions
    trained = "fuser"
    score_kind = "fusion"
    needs_mask = True
    loss_groups = {
        "background": ("background_intensity", "background_gradient"),
        "target": ("target_intensity", "target_gradient"),
    }

    def __init__(self, options: STDFusionNetOptions) -> None:
        super().__init__()
        self.options = options
        self.fuser = self.network(options)
        initialise(self.fuser, options)

    @staticmethod
    def network(options: STDFusionNetOptions) -> FusionNetwork:
        """The network that is used after training, without loss."""
        return FusionNetwork(options)

    def players(self) -> dict[str, nn.Module]:
        return {"fuser": self.fuser}

    def updates(self, batch: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
        """In what order, to lower what. batch: visible [N, 3 or 1, H, W] and infrared [N, 1, H, W] in [-1, 1],
        mask [N, 1, H, W] in [0, 1], 1 on salient targets."""
        o, visible, infrared = self.options, as_luminance(batch["visible"]), batch["infrared"]
        fused, terms = self.fuser(visible, infrared), {}
        if o.lambda_background or o.lambda_target:
            terms = salient_target_loss(fused, visible, infrared, batch["mask"], o.lambda_background, o.lambda_target)
        if o.lambda_multiscale:
            wanted = multiscale_fusion(visible, infrared, batch["mask"])
            terms["multiscale"] = o.lambda_multiscale * multiscale_loss(fused, wanted)
        yield "fuser", terms

    @staticmethod
    def preview(network: FusionNetwork, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """What a person wants to look at: label -> images in [-1, 1]. network: as made by `network`."""
        shown = {"visible": batch["visible"], "infrared": batch["infrared"]}
        if "mask" in batch:
            shown["mask"] = 2 * batch["mask"] - 1
        return shown | {"fused": network(as_luminance(batch["visible"]), batch["infrared"])}
