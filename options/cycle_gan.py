"""Options of the visible -> infrared CycleGAN: weights of its losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from options.translation import TranslationOptions


@dataclass(frozen=True)
class CycleGANOptions(TranslationOptions):
    """Method (cycle_gan): G makes infrared from visible, F visible from infrared; the objective is
    adv + content + self by default, with features of F(G(x)) against x and of G(F(y)) against y, and self-similarities
    of G(x) against x and of F(y) against y. Plain CycleGAN, as its paper has it:
    --lambda_content 0 --lambda_self 0 --lambda_cycle 10 --upsample transpose --ema None."""

    settings: ClassVar[dict[str, dict[str, Any]]] = {"loop": {"ema": 0.999}}

    lambda_cycle: float = 0.0
    """Weight of the pixel cycle loss; 10 in plain CycleGAN."""
    lambda_identity: float = 0.0
    """Weight of the identity loss: infrared given to G as three equal channels stays as it is; the luminance
    of visible given to F keeps its luminance."""
    lambda_paired: float = 0.0
    """Weight of the supervised loss: absolute difference of G(x) and the real infrared partner of x, 0 for images that
    have none; for data sets with aligned training pairs, with --sampling paired or mixed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.lambda_content or self.lambda_self or self.lambda_cycle or self.lambda_paired):
            raise ValueError(
                "--lambda_content, --lambda_self, --lambda_cycle and --lambda_paired are all 0: nothing would tie "
                "the generated image to its input; give one of them a weight (plain CycleGAN: --lambda_cycle 10)"
            )

    @property
    def samplings(self) -> tuple[str, ...]:
        """How training images may be drawn: with lambda_paired, pairs must be among them."""
        return ("paired", "mixed") if self.lambda_paired else ("unpaired", "paired", "mixed")
