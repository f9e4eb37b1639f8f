"""Options of FusionGAN: networks, adversarial game, weights of the losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from options.shared import Options

SHRINK = 12
"""Pixels by which the generator's unpadded convolutions make a patch smaller."""


@dataclass(frozen=True)
class FusionGANOptions(Options):
    """Method (fusion_gan): a generator fuses; a discriminator tells its images from visible ones. Published
    settings: --crop_size 132, --batch_size 32, --lr 1e-4 and --beta1 0.9 over 10 epochs."""

    samplings: ClassVar[tuple[str, ...]] = ("paired",)
    """How training images may be drawn: what is fused shows one scene."""
    settings: ClassVar[dict[str, dict[str, Any]]] = {
        "input": {"sampling": "paired", "preprocess": "crop", "crop_size": 132, "patch_stride": 14, "batch_size": 32},
        "loop": {"lr": 1e-4, "beta1": 0.9, "n_epochs": 10, "n_epochs_decay": 0, "save_epoch_freq": 1},
    }

    ngf: int = 256
    """Channels of the generator's first layer; the next have 1/2, 1/4 and 1/8 of them."""
    ndf: int = 32
    """Channels of the discriminator's first layer; the next have 2, 4 and 8 times as many."""
    patch_size: int = 132
    """Side of the training patches, pixels: give --crop_size the same. What is judged is 12 smaller."""
    spectral_norm: bool = True
    """Spectral normalisation of the generator; the released test script leaves it out."""
    bn_statistics: Literal["running", "image"] = "running"
    """Batch norm after training: by the statistics learnt, or by each image's own as the released script."""
    critic_steps: int = 2
    """Steps of the discriminator for each of the generator."""
    lambda_content: float = 100.0
    """Weight of the content loss against the adversarial one."""
    lambda_laplacian: float = 5.0
    """Weight, inside the content loss, of the Laplacian (visible) against the intensity (infrared)."""
    lambda_multiscale: float = 0.0
    """Weight of the distance from a classic fusion by scales: the stronger details of both, and the brightness of what
    is hot; 0, off, is the paper. Give --infrared_range standard with it, so that hot is one grey level."""

    def __post_init__(self) -> None:
        self.check_at_least(ngf=8, ndf=1, critic_steps=1, patch_size=SHRINK + 31)
        self.check_at_least(lambda_content=0, lambda_laplacian=0, lambda_multiscale=0)
        if not (self.lambda_content or self.lambda_multiscale):
            raise ValueError(
                "--lambda_content and --lambda_multiscale are both 0: nothing would tie what is fused to its sources; "
                "give one of them a weight"
            )
