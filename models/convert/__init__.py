"""Weights of other projects as tensors of ours."""
