"""Options of visible -> infrared pix2pix: weights of its losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from options.translation import Generator, TranslationOptions


@dataclass(frozen=True)
class Pix2PixOptions(TranslationOptions):
    """Method (pix2pix): one generator learns from aligned pairs, against a discriminator that sees both images; the
    objective is gan + L1 + correlation + content by default, with features of G(x) against the real y. The setting of
    the paper: --netG unet_256 --ngf 64 --norm batch --dropout --upsample transpose --gan_mode vanilla --lambda_gan 1
    --lambda_L1 100 --lambda_correlation 0 --lambda_content 0 --preprocess resize_and_crop --load_size 286
    --crop_size 256 --lr 2e-4 --ema None."""

    settings: ClassVar[dict[str, dict[str, Any]]] = {
        "input": {"sampling": "paired"},
        "loop": {"lr": 1e-4, "ema": 0.999},
    }
    samplings: ClassVar[tuple[str, ...]] = ("paired",)

    netG: Generator = "efficientnet_unet"
    """Generator. efficientnet_unet sees by EfficientNet-Lite0 and VGG16, which stay as ImageNet made them, and learns
    to draw by a U-Net's decoder: best where pairs are few."""
    ngf: int = 32
    """Channels of the generator's first layer (efficientnet_unet: of the decoder's last)."""
    pool_size: int = 0
    """Generated images kept to show the discriminator older ones too; 0 for none."""
    lambda_gan: float = 0.5
    """Weight of the adversarial loss; 0 leaves the discriminator out of the generator's objective."""
    lambda_L1: float = 10.0
    """Weight of the absolute difference of G(x) and y."""
    lambda_correlation: float = 1.0
    """Weight of 1 - the correlation of G(x) and y over the pixels of each image, which no camera's gain changes."""
    lambda_content: float = 2.0
    """Weight of the content loss: VGG16 features of G(x) against y."""
    lambda_self: float = 0.0
    """Weight of the self loss: patch self-similarity of G(x) against y."""
    content_layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_3")
    """VGG16 layers of the content loss, relu1_1 to relu5_3."""
    draw_scale: float = 1.0
    """How many times as high and wide as it sees a scene efficientnet_unet draws it in training, in [1, 4]: for test.py
    --scale input, where it draws larger too. Images are read and cropped so much larger than load_size and crop_size
    say, and scenes seen at those sizes. Validation draws as it sees."""
    shift: int = 0
    """Largest misalignment of a pair, pixels of the training images: the losses move the real image, by at most that
    much each way, to where it fits the generated one best: an even number, 0 for pairs aligned to a pixel."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.draw_scale <= 4:
            raise ValueError(f"--draw_scale is {self.draw_scale}: give a number in [1, 4]")
        if self.draw_scale > 1 and self.netG != "efficientnet_unet":
            raise ValueError(
                f"--draw_scale {self.draw_scale}: {self.netG} draws as it sees; give --netG efficientnet_unet"
            )
        if self.shift not in range(0, 33, 2):  # best_shift tries every second one
            raise ValueError(f"--shift is {self.shift}: give an even number of pixels in [0, 32]")
        if not (self.lambda_L1 or self.lambda_correlation or self.lambda_content or self.lambda_self):
            raise ValueError(
                "--lambda_L1, --lambda_correlation, --lambda_content and --lambda_self are all 0: nothing would tie "
                "the generated image to the real one; give one of them a weight (pix2pix: --lambda_L1 100)"
            )

    @property
    def smallest_crop(self) -> int:
        """As of any method with a discriminator; without one, of no limit."""
        return super().smallest_crop if self.lambda_gan else 0
