"""On-disk layouts of visible and infrared data sets: which files form a pair, in which split."""

from data.layouts.listing import Listing, Pair, Split
from data.layouts.table import LAYOUTS, UnknownLayout, find, recognise

__all__ = ["LAYOUTS", "Listing", "Pair", "Split", "UnknownLayout", "find", "recognise"]
