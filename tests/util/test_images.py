"""util/images.py: luminance and exposure."""

import torch

from util.images import luminance, standard_exposure


def test_luminance_has_the_weights_of_bt_601_and_keeps_grey():
    one = torch.eye(3).view(3, 3, 1, 1)
    assert torch.allclose(luminance(one).flatten(), torch.tensor([0.299, 0.587, 0.114]))
    grey = torch.linspace(-1, 1, 10).expand(2, 3, 4, 10)
    assert luminance(grey).shape == (2, 1, 4, 10)
    assert torch.allclose(luminance(grey), grey[:, :1])


def test_the_standard_exposure_makes_hot_one_grey_level_within_limits_of_gain():
    torch.manual_seed(0)
    dark, bright = torch.randn(1, 1, 40, 50) * 0.2 - 0.6, torch.randn(1, 1, 40, 50) * 0.5 + 0.1
    for image in (dark, bright.clamp(-1, 1)):
        levels = (standard_exposure(image) + 1) * 127.5
        assert abs(levels.mean().item() - 90) < 2 and abs(levels.std().item() - 40) < 12
    flat = standard_exposure(torch.full((2, 1, 8, 8), 0.3))
    torch.testing.assert_close((flat + 1) * 127.5, torch.full((2, 1, 8, 8), 90.0))
    noise = torch.randn(1, 1, 64, 64) * 0.01  # is made twice as strong, not forty times
    assert 0.019 < standard_exposure(noise).std().item() < 0.021
    both = torch.cat([dark, bright])
    torch.testing.assert_close(standard_exposure(both)[:1], standard_exposure(dark))  # each image alone
