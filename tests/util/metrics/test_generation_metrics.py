"""PSNR, SSIM, MAE, correlations against slow, obvious implementations; the baselines."""

from __future__ import annotations

import math

import pytest
import torch

from util.images import strips
from util.metrics import generation
from util.metrics.generation import (
    METRICS,
    baselines,
    cc,
    edge_cc,
    generation_scores,
    grey_levels,
    mae,
    ms_ssim,
    psnr,
    ssim,
)


def images(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    real = torch.rand(2, 1, 17, 23, generator=generator) * 255
    noise = torch.randn(2, 1, 17, 23, generator=generator) * 30
    return (real + noise).clamp(0, 255).round(), real.round()


def test_psnr_and_mae_by_hand() -> None:
    a, b = images()
    for n in range(2):
        differences = [x - y for x, y in zip(a[n].flatten().tolist(), b[n].flatten().tolist(), strict=True)]
        mean_square = sum(d * d for d in differences) / len(differences)
        assert psnr(a, b)[n].item() == pytest.approx(20 * math.log10(255 / math.sqrt(mean_square)), rel=1e-5)
        assert mae(a, b)[n].item() == pytest.approx(sum(map(abs, differences)) / len(differences), rel=1e-5)
    assert psnr(b, b).isinf().all() and mae(b, b).max() == 0


def test_correlations_by_hand() -> None:
    a, b = images()

    def pearson(x: torch.Tensor, y: torch.Tensor) -> float:
        return torch.corrcoef(torch.stack([x.double().flatten(), y.double().flatten()]))[0, 1].item()

    def edges(image: torch.Tensor) -> torch.Tensor:
        kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=torch.float64)
        across, down = (torch.nn.functional.conv2d(image.double()[None], k[None, None]) for k in (kernel, kernel.T))
        return (across**2 + down**2).sqrt()

    for n in range(2):
        assert cc(a, b)[n].item() == pytest.approx(pearson(a[n], b[n]), rel=1e-9)
        assert edge_cc(a, b)[n].item() == pytest.approx(pearson(edges(a[n]), edges(b[n])), rel=1e-9)
    assert cc(255 - b, b).tolist() == pytest.approx([-1, -1]), "hot and cold swapped"
    assert edge_cc(255 - b, b).tolist() == pytest.approx([1, 1]), "edges lie where they lay"


@pytest.mark.parametrize("grey", [0.0, 77.0, 255.0])
def test_what_is_constant_or_tiny_has_no_correlation(grey: float) -> None:
    real = images()[1]
    flat = torch.full_like(real, grey)
    assert cc(flat, real).isnan().all() and cc(real, flat).isnan().all() and edge_cc(flat, real).isnan().all()
    ramp = torch.arange(7.0).expand(1, 1, 5, 7) * 9
    assert edge_cc(ramp, torch.rand(1, 1, 5, 7)).isnan().all(), "its edges are all equal, though no whole number"
    assert (
        edge_cc(real[..., :2], real[..., :2]).isnan().all() and cc(real[..., :1, :1], real[..., :1, :1]).isnan().all()
    )


def slow_ssim(a: list[list[float]], b: list[list[float]]) -> float:
    """Wang et al. 2004: every full 11x11 window, Gaussian weights of sigma 1.5."""
    w = [[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / 4.5) for j in range(11)] for i in range(11)]
    total = sum(map(sum, w))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for top in range(len(a) - 10):
        for left in range(len(a[0]) - 10):
            cells = [
                (w[i][j] / total, a[top + i][left + j], b[top + i][left + j]) for i in range(11) for j in range(11)
            ]
            ma, mb = sum(k * x for k, x, _ in cells), sum(k * y for k, _, y in cells)
            va = sum(k * x * x for k, x, _ in cells) - ma * ma
            vb = sum(k * y * y for k, _, y in cells) - mb * mb
            cov = sum(k * x * y for k, x, y in cells) - ma * mb
            values.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2)))
    return sum(values) / len(values)


def test_ssim_by_hand() -> None:
    a, b = images()
    for n in range(2):
        assert ssim(a, b)[n].item() == pytest.approx(slow_ssim(a[n, 0].tolist(), b[n, 0].tolist()), rel=1e-4)
    assert ssim(b, b).tolist() == pytest.approx([1, 1])


def test_scores_are_of_rounded_grey_levels() -> None:
    assert grey_levels(torch.tensor([-1.0, 1.0, 0.0, 0.0039, 7.0])).tolist() == [0, 255, 128, 128, 255]
    a, b = images()
    scores = generation_scores(a / 127.5 - 1, b / 127.5 - 1)
    assert scores["psnr"].tolist() == pytest.approx(psnr(a, b).tolist())
    assert set(scores) == {"psnr", "ssim", "mae", "cc", "edge_cc"}


@pytest.mark.parametrize("size", [(181, 203), (400, 170), (170, 401)])
def test_large_images_are_scored_in_strips_as_whole(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same values, and never more than a strip of an image at once."""
    generator = torch.Generator().manual_seed(0)
    real = torch.randint(0, 256, (2, 1, *size), generator=generator, dtype=torch.uint8)
    other = (real.float() + 20 * torch.randn(real.shape, generator=generator)).clamp(0, 255).round().to(torch.uint8)
    whole = {name: metric(other, real) for name, metric in METRICS.items()} | {"ms_ssim": ms_ssim(other, real)}
    seen: list[int] = []
    maps = generation.similarity_maps

    def watched(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(a[0].numel())
        return maps(a, b)

    monkeypatch.setattr(generation, "similarity_maps", watched)
    monkeypatch.setattr("util.images.STRIP_PIXELS", 5000)
    parts = {name: metric(other, real) for name, metric in METRICS.items()} | {"ms_ssim": ms_ssim(other, real)}
    for name, values in whole.items():
        assert parts[name].tolist() == pytest.approx(values.tolist(), rel=1e-9), name
    assert max(seen) <= 5000 + 13 * size[1], "a strip, the rows that its windows reach, and an even number"


def test_strips_cover_every_row_once() -> None:
    for height, width, pixels in ((7, 5, 10), (1, 9, 4), (100, 3, 50), (9000, 12000, 1 << 21), (12, 4, 1000)):
        rows = [row for part in strips(height, width, pixels) for row in range(height)[part]]
        assert rows == list(range(height))
        assert all(part.start % 2 == 0 for part in strips(height, width, pixels))


def test_baselines() -> None:
    visible = torch.tensor([1.0, -1.0, 0.5]).view(1, 3, 1, 1).expand(1, 3, 4, 5)
    made = {name: method(visible) for name, method in baselines(0.25).items()}
    assert made["luminance"][0, 0, 0, 0].item() == pytest.approx(0.299 - 0.587 + 0.057)
    assert torch.equal(made["inverted luminance"], -made["luminance"])
    assert made["constant"].shape == (1, 1, 4, 5) and (made["constant"] == 0.25).all()
