"""The methods that train.py trains, by the name that --model gives. A new method is a file and a line here."""

from models.cycle_gan import CycleGAN
from models.fusion_gan import FusionGAN
from models.stdfusion_net import STDFusionNet

METHODS = {"cycle_gan": CycleGAN, "fusion_gan": FusionGAN, "stdfusion_net": STDFusionNet}
