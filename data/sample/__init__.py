"""The sample data set: street scenes rendered for a visible and a thermal camera, in the layout of FLIR ADAS v2."""

from data.sample.dataset import make
from data.sample.scene import Pair, render

__all__ = ["Pair", "make", "render"]
