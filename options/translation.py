"""Options that the methods which make infrared from visible share: networks, adversarial game, feature losses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from options.shared import Options

VGG_LAYERS = tuple(f"relu{block}_{i}" for block, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1))
Generator = Literal["resnet_9blocks", "resnet_6blocks", "unet_256", "unet_128", "efficientnet_unet"]


@dataclass(frozen=True)
class TranslationOptions(Options):
    """Method: networks, adversarial game, content and self loss."""

    settings: ClassVar[dict[str, dict[str, Any]]] = {}

    netG: Generator = "resnet_9blocks"
    """Generator. efficientnet_unet sees by EfficientNet-Lite0 and VGG16, which stay as ImageNet made them, and learns
    to draw by a U-Net's decoder: best where pairs are few."""
    netD: Literal["basic", "n_layers", "pixel"] = "basic"
    """Discriminator: basic is the 70x70 PatchGAN, n_layers takes --n_layers_D, pixel judges single pixels."""
    n_layers_D: int = 3
    """Stride-2 layers of --netD n_layers, in [1, 6]."""
    ngf: int = 64
    """Channels of the generators' first layer (efficientnet_unet: of the decoder's last)."""
    ndf: int = 64
    """Channels of the discriminators' first layer."""
    norm: Literal["instance", "batch", "none"] = "instance"
    """Normalisation layer."""
    norm_D: Literal["same", "instance", "batch", "none", "spectral"] = "same"
    """Normalisation in the discriminators: same as --norm, another, or of their weights (spectral), which keeps them
    from winning early."""
    dropout: bool = False
    """Dropout of one half in the generators."""
    upsample: Literal["transpose", "resize"] = "resize"
    """Up-sampling: nearest resize and a convolution (no checkerboards), or the transposed convolution of
    pytorch-CycleGAN-and-pix2pix."""
    init_type: Literal["normal", "xavier", "kaiming", "orthogonal"] = "normal"
    """Initial weights."""
    init_gain: float = 0.02
    """Scale of the initial weights (the standard deviation, for normal)."""
    gan_mode: Literal["lsgan", "vanilla", "hinge", "wgangp"] = "lsgan"
    """Adversarial loss."""
    pool_size: int = 50
    """Generated images kept to show the discriminators older ones too; 0 for none."""
    lambda_gp: float = 10.0
    """Weight of the gradient penalty of --gan_mode wgangp."""
    lambda_content: float = 1.0
    """Weight of the content loss, on VGG16 features."""
    lambda_self: float = 2.0
    """Weight of the self loss, on patch self-similarities of VGG16 features."""
    content_layers: tuple[str, ...] = ("relu3_3",)
    """VGG16 layers of the content loss, relu1_1 to relu5_3."""
    content_weights: tuple[float, ...] = ()
    """Weight of each content layer; none given means 1 each."""
    self_layers: tuple[str, ...] = ("relu2_2", "relu3_3", "relu4_3")
    """VGG16 layers of the self loss."""
    self_patch_sizes: tuple[int, ...] = (16, 8, 4)
    """Side of the self loss's patches at each layer, in feature cells (2, 4 and 8 pixels wide here)."""
    self_patches: int = 256
    """Patches (queries) at each layer."""
    self_query: Literal["upper_left", "centre"] = "upper_left"
    """Cell of a patch that is compared with all its cells."""
    self_keep: float = 1.0
    """Share of each similarity map that counts, its largest entries on the generated side; F-LSeSim
    keeps 0.25."""
    vgg_weights: str = "imagenet"
    """VGG16: imagenet (the file that comes with the project, layers up to relu4_3; beyond them torchvision's),
    torchvision (downloaded once), a local file, or random (untrained filters)."""

    @property
    def discriminator_norm(self) -> str:
        """Name the discriminators' normalisation."""
        return self.norm if self.norm_D == "same" else self.norm_D

    def __post_init__(self) -> None:
        self.check_at_least(ngf=1, ndf=1, pool_size=0, self_patches=1)
        self.check_at_least(**{name: 0 for name in vars(self) if name.startswith("lambda_")})
        self.check_positive("init_gain")
        if not 1 <= self.n_layers_D <= 6:
            raise ValueError(f"--n_layers_D is {self.n_layers_D}: give a number in [1, 6]")
        if self.gan_mode == "wgangp" and self.discriminator_norm == "batch":
            raise ValueError("--gan_mode wgangp wants each image judged by itself: give --norm_D another than batch")
        if not 0 < self.self_keep <= 1:
            raise ValueError(f"--self_keep is {self.self_keep}: give a share in (0, 1]")
        for name in ("content_layers", "self_layers"):
            layers = getattr(self, name)
            unknown = [layer for layer in layers if layer not in VGG_LAYERS]
            if unknown or not layers:
                raise ValueError(f"--{name} {' '.join(layers)}: give layers among {', '.join(VGG_LAYERS)}")
        if self.content_weights and len(self.content_weights) != len(self.content_layers):
            raise ValueError(
                f"--content_weights has {len(self.content_weights)} numbers for {len(self.content_layers)} "
                "--content_layers: give one each"
            )
        if not all(0 <= weight < math.inf for weight in self.content_weights):
            raise ValueError(
                f"--content_weights {' '.join(map(str, self.content_weights))}: give weights of at least 0"
            )
        if len(self.self_patch_sizes) != len(self.self_layers):
            raise ValueError(
                f"--self_patch_sizes has {len(self.self_patch_sizes)} numbers for {len(self.self_layers)} "
                "--self_layers: give one each"
            )
        if not all(size >= 2 for size in self.self_patch_sizes):
            raise ValueError("--self_patch_sizes: give sides of at least 2 cells")

    @property
    def smallest_crop(self) -> int:
        """Side in pixels of the smallest images that the discriminator can judge: 3 cells are left before its last two
        convolutions."""
        layers = {"basic": 3, "n_layers": self.n_layers_D, "pixel": 0}[self.netD]
        return 3 * 2**layers
