"""Options of STDFusionNet: network and weights of the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from options.shared import Options


@dataclass(frozen=True)
class STDFusionNetOptions(Options):
    """Method (stdfusion_net): fuses by a salient-target mask. Published settings: --crop_size 128,
    --batch_size 32, --lr 1e-3 and --beta1 0.9, constant over 30 epochs."""

    samplings: ClassVar[tuple[str, ...]] = ("paired",)
    """How training images may be drawn: what is fused shows one scene."""
    settings: ClassVar[dict[str, dict[str, Any]]] = {
        "input": {"sampling": "paired", "preprocess": "crop", "crop_size": 128, "patch_stride": 24, "batch_size": 32},
        "loop": {"lr": 1e-3, "beta1": 0.9, "n_epochs": 30, "n_epochs_decay": 0},
    }

    ngf: int = 16
    """Channels of the encoders' first layer."""
    decoder_activation: Literal["elu", "leaky_relu"] = "elu"
    """Activation of the decoder's first two blocks: elu as in the released code, leaky_relu as in the paper."""
    init: Literal["kaiming", "truncated_normal"] = "kaiming"
    """Initial weights."""
    init_std: float = 1e-3
    """Standard deviation of --init truncated_normal; the released code has 1e-3."""
    lambda_background: float = 1.0
    """Weight of the terms outside the mask (visible); the paper has 1."""
    lambda_target: float = 7.0
    """Weight of the terms inside the mask (infrared) against those outside (visible): the paper's alpha."""
    lambda_multiscale: float = 0.0
    """Weight of the distance from a classic fusion by scales: the stronger details of both, and the brightness of what
    is hot or in the mask; 0, off, is the paper. Give --infrared_range standard with it: hot is one grey level then."""

    def __post_init__(self) -> None:
        self.check_at_least(ngf=1, lambda_background=0, lambda_target=0, lambda_multiscale=0)
        if not (self.lambda_background or self.lambda_target or self.lambda_multiscale):
            raise ValueError(
                "--lambda_background, --lambda_target and --lambda_multiscale are all 0: there would be nothing to "
                "learn; give one of them a weight"
            )
        self.check_positive("init_std")
