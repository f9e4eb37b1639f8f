"""The sample data set: street scenes rendered for a visible and a thermal camera, in the layout of FLIR ADAS v2."""

from data.sample.dataset import make
from data.sample.scene import RenderedPair, render

__all__ = ["RenderedPair", "make", "render"]
