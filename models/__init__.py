"""The methods that train.py trains, by the name that --model gives. A new method is a file and a line here."""

from typing import Any

from models.cycle_gan import CycleGAN
from models.fusion_gan import FusionGAN
from models.pix2pix import Pix2Pix
from models.stdfusion_net import STDFusionNet

METHODS: dict[str, Any] = {
    "cycle_gan": CycleGAN,
    "pix2pix": Pix2Pix,
    "fusion_gan": FusionGAN,
    "stdfusion_net": STDFusionNet,
}
