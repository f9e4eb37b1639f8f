"""Scores of images: pure functions of tensors and literal tables of them."""
