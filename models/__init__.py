"""The methods that train.py trains, by the name that --model gives. A new method is a file and a line here."""

from models.cycle_gan import CycleGAN

METHODS = {"cycle_gan": CycleGAN}
