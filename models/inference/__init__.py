"""Weights -> images: trained networks loaded, run on images of any size, exported."""
