"""Linear filters that the metrics share: symmetric separable kernels, radial frequency responses."""

from __future__ import annotations

import math

import torch


def gaussian(size: int, sigma: float, like: torch.Tensor) -> torch.Tensor:
    """[size] samples of the Gaussian density around the middle one, on the device and in the dtype of `like`."""
    offset = torch.arange(size, device=like.device, dtype=like.dtype) - (size - 1) / 2
    return torch.exp(-(offset**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))


def fast_length(length: int) -> int:
    """The next even length whose Fourier transform is fast: no prime factor above 7."""
    length += length % 2
    rest = length
    for factor in (2, 3, 5, 7):
        while rest % factor == 0:
            rest //= factor
    return length if rest == 1 else fast_length(length + 2)


def separable(image: torch.Tensor, kernel: torch.Tensor, zero_border: bool = False) -> torch.Tensor:
    """[..., H, W] filtered along both axes with a symmetric kernel [K] -> [..., H - K + 1, W - K + 1], where it fits,
    or with zeros around the image [..., H, W]; K odd."""
    reach = len(kernel) // 2
    first, beyond = (reach, reach) if zero_border else (2 * reach, 0)
    height, width = (side + beyond for side in image.shape[-2:])
    tall, wide = fast_length(height), fast_length(width)
    spectrum = torch.fft.rfft2(image, s=(tall, wide))  # zeros follow the image
    spectrum.mul_(torch.fft.fft(kernel, n=tall)[:, None]).mul_(torch.fft.rfft(kernel, n=wide))
    # Of the periodic result only the rows and columns before `first` can mix both ends of the image.
    return torch.fft.irfft2(spectrum, s=(tall, wide))[..., first:height, first:width]


def blur(image: torch.Tensor, size: int, sigma: float) -> torch.Tensor:
    """[..., H, W] -> [..., H - size + 1, W - size + 1], weighted means under a Gaussian window."""
    kernel = gaussian(size, sigma, image)
    return separable(image, kernel / kernel.sum())


def cycles(image: torch.Tensor) -> torch.Tensor:
    """[..., H, W] -> [H, W // 2 + 1], cycles per image of each coefficient of its `rfft2`."""
    height, width = image.shape[-2:]
    vertical = height * torch.fft.fftfreq(height, device=image.device, dtype=image.dtype)
    horizontal = width * torch.fft.rfftfreq(width, device=image.device, dtype=image.dtype)
    return torch.hypot(vertical[:, None], horizontal)


def filter_frequencies(image: torch.Tensor, response: torch.Tensor) -> torch.Tensor:
    """[..., H, W] -> same shape, the periodic image's spectrum multiplied by response [H, W // 2 + 1]."""
    return torch.fft.irfft2(torch.fft.rfft2(image).mul_(response), s=image.shape[-2:])
