"""util/colour.py: luminance."""

import torch

from util.colour import luminance


def test_luminance_has_the_weights_of_bt_601_and_keeps_grey():
    one = torch.eye(3).view(3, 3, 1, 1)
    assert torch.allclose(luminance(one).flatten(), torch.tensor([0.299, 0.587, 0.114]))
    grey = torch.linspace(-1, 1, 10).expand(2, 3, 4, 10)
    assert luminance(grey).shape == (2, 1, 4, 10)
    assert torch.allclose(luminance(grey), grey[:, :1])
