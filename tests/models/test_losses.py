"""Losses against slow, obvious implementations, on non-square inputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.losses import (
    adversarial_loss,
    best_shift,
    content_loss,
    correlation_loss,
    draw_patches,
    gradient_penalty,
    keep_largest,
    paired_loss,
    self_similarity,
    self_similarity_loss,
)


def test_adversarial_losses_by_hand() -> None:
    logits = torch.tensor([[-2.0, 0.5], [3.0, 0.0], [1.0, -0.25]])
    values = logits.flatten().tolist()

    def mean(f) -> float:
        return sum(map(f, values)) / len(values)

    expected = {
        ("lsgan", True, False): mean(lambda v: (v - 1) ** 2),
        ("lsgan", False, True): mean(lambda v: v**2),
        ("vanilla", True, False): mean(lambda v: -math.log(1 / (1 + math.exp(-v)))),
        ("vanilla", False, True): mean(lambda v: -math.log(1 - 1 / (1 + math.exp(-v)))),
        ("hinge", True, True): mean(lambda v: max(0, 1 - v)),
        ("hinge", False, True): mean(lambda v: max(0, 1 + v)),
        ("hinge", True, False): -mean(lambda v: v),
        ("wgangp", True, True): -mean(lambda v: v),
        ("wgangp", False, True): mean(lambda v: v),
        ("wgangp", True, False): -mean(lambda v: v),
    }
    for (mode, real, for_discriminator), value in expected.items():
        assert adversarial_loss(logits, real, mode, for_discriminator).item() == pytest.approx(value, rel=1e-5)
    with pytest.raises(ValueError, match="nonsense"):
        adversarial_loss(logits, True, "nonsense")


def test_gradient_penalty_of_a_linear_discriminator() -> None:
    """The gradient of w.x is w everywhere, whatever the mixture."""
    weight = torch.randn(1, 2, 3, 5)

    def discriminator(x: torch.Tensor) -> torch.Tensor:
        return (x * weight).sum(dim=(1, 2, 3))

    penalty = gradient_penalty(discriminator, torch.rand(4, 2, 3, 5), torch.rand(4, 2, 3, 5))
    assert penalty.item() == pytest.approx((weight.norm().item() - 1) ** 2, rel=1e-4)


def test_content_loss_by_hand() -> None:
    a = {"relu1_1": torch.rand(2, 3, 4, 6), "relu3_3": torch.rand(2, 5, 2, 3)}
    b = {name: torch.rand_like(value) for name, value in a.items()}
    one, two = (
        sum(abs(x - y) for x, y in zip(a[n].flatten().tolist(), b[n].flatten().tolist(), strict=True)) / a[n].numel()
        for n in a
    )
    assert content_loss(a, b, ["relu3_3"]).item() == pytest.approx(two, rel=1e-5)
    assert content_loss(a, b, list(a)).item() == pytest.approx(one + two, rel=1e-5)
    assert content_loss(a, b, list(a), (0.5, 2.0)).item() == pytest.approx(0.5 * one + 2 * two, rel=1e-5)
    assert content_loss(a, a, list(a)).item() == 0


def slow_similarity(features: torch.Tensor, row: int, column: int, size: int, query: str) -> list[float]:
    """One patch of one image [C, h, w], cell by cell."""
    channels, height, width = features.shape
    cells = {}
    for i in range(height):
        for j in range(width):
            vector = [
                features[c, i, j].item() - sum(features[c].flatten().tolist()) / (height * width)
                for c in range(channels)
            ]
            norm = math.sqrt(sum(v * v for v in vector))
            cells[i, j] = [v / norm for v in vector]
    at = (row, column) if query == "upper_left" else (row + size // 2, column + size // 2)
    return [
        sum(a * b for a, b in zip(cells[at], cells[row + i, column + j], strict=True))
        for i in range(size)
        for j in range(size)
    ]


@pytest.mark.parametrize("query", ["upper_left", "centre"])
@pytest.mark.parametrize(("height", "width"), [(5, 9), (9, 5)])
def test_self_similarity_by_hand(query: str, height: int, width: int) -> None:
    torch.manual_seed(1)
    features = torch.randn(2, 4, height, width)
    rows, columns = torch.tensor([0, height - 3, 1]), torch.tensor([width - 3, 0, 1])
    fast = self_similarity(features, rows, columns, 3, query)
    assert fast.shape == (2, 3, 9)
    for n in range(2):
        for m in range(3):
            slow = slow_similarity(features[n], rows[m].item(), columns[m].item(), 3, query)
            torch.testing.assert_close(fast[n, m], torch.tensor(slow), rtol=1e-4, atol=1e-5)


def test_self_loss_by_hand() -> None:
    torch.manual_seed(2)
    a = {"p": torch.randn(2, 4, 6, 10), "q": torch.randn(2, 3, 4, 7)}
    b = {name: torch.randn_like(value) for name, value in a.items()}
    torch.manual_seed(5)
    fast = self_similarity_loss(a, b, ("p", "q"), (3, 2), patches=4)
    torch.manual_seed(5)
    total = 0.0
    for name, size in (("p", 3), ("q", 2)):
        rows, columns = draw_patches(*a[name].shape[-2:], size, 4)
        terms = []
        for n in range(2):
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
                ours = slow_similarity(a[name][n], row, column, size, "upper_left")
                theirs = slow_similarity(b[name][n], row, column, size, "upper_left")
                dot = sum(x * y for x, y in zip(ours, theirs, strict=True))
                norms = math.sqrt(sum(x * x for x in ours)) * math.sqrt(sum(y * y for y in theirs))
                terms.append(abs(1 - dot / norms))
        total += sum(terms) / len(terms)
    assert fast.item() == pytest.approx(total / 2, rel=1e-4)


def test_self_loss_ignores_gain_and_offset_and_sees_structure() -> None:
    torch.manual_seed(0)
    a = {"p": torch.randn(1, 8, 12, 20)}
    brighter = {"p": 3 * a["p"] + 5}
    assert self_similarity_loss(brighter, a, ("p",), (4,)).item() == pytest.approx(0, abs=1e-5)
    assert self_similarity_loss({"p": torch.randn(1, 8, 12, 20)}, a, ("p",), (4,)).item() > 0.1


@pytest.mark.parametrize(("height", "width"), [(16, 24), (24, 16), (3, 30)])
def test_patches_lie_inside_and_reach_every_border(height: int, width: int) -> None:
    torch.manual_seed(0)
    rows, columns = draw_patches(height, width, 8, 2000)
    size = min(8, height, width)
    assert rows.min() == 0 and columns.min() == 0
    assert rows.max() == height - size and columns.max() == width - size


def test_a_patch_larger_than_the_map_is_cut_to_it() -> None:
    features = {"p": torch.randn(1, 3, 4, 9)}
    assert self_similarity_loss(features, features, ("p",), (64,)).item() == pytest.approx(0, abs=1e-5)


def test_keeping_the_largest_entries_follows_the_generated_side() -> None:
    ours = torch.tensor([[0.9, 0.1, 0.5, -0.3]])
    theirs = torch.tensor([[0.2, 0.8, 0.4, 0.7]])
    kept, also = keep_largest(ours, theirs, 0.5)
    assert kept.tolist() == [[pytest.approx(0.9), 0, 0.5, 0]]
    assert also.tolist() == [[pytest.approx(0.2), 0, pytest.approx(0.4), 0]]


def test_self_loss_has_a_gradient_everywhere_it_should() -> None:
    a = {"p": torch.randn(1, 4, 6, 6, requires_grad=True)}
    b = {"p": torch.randn(1, 4, 6, 6)}
    self_similarity_loss(a, b, ("p",), (4,), keep=0.25).backward()
    assert torch.isfinite(a["p"].grad).all() and a["p"].grad.abs().sum() > 0
    flat = {"p": torch.zeros(1, 4, 6, 6, requires_grad=True)}
    self_similarity_loss(flat, b, ("p",), (4,)).backward()
    assert torch.isfinite(flat["p"].grad).all()


def test_correlation_loss_is_blind_to_gain_and_sees_inversion() -> None:
    image = torch.rand(3, 1, 12, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert correlation_loss(0.3 * image + 0.2, image).item() == pytest.approx(0, abs=1e-5)
    assert correlation_loss(-image, image).item() == pytest.approx(2, abs=1e-5)
    other = image.flip(-1)
    expected = 1 - np.mean(
        [np.corrcoef(a.numpy().ravel(), b.numpy().ravel())[0, 1] for a, b in zip(image, other, strict=True)]
    )
    assert correlation_loss(image, other).item() == pytest.approx(expected, abs=1e-5)
    flat = torch.zeros(1, 1, 8, 8, requires_grad=True)
    correlation_loss(flat, image[:1, :, :8, :8]).backward()
    assert torch.isfinite(flat.grad).all(), "an image of one grey level has a finite gradient"


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, -4), (-4, 2), (4, 4)])
def test_the_best_shift_finds_each_images_own_misalignment(down: int, right: int) -> None:
    coarse = torch.rand(2, 1, 8, 10, generator=torch.Generator().manual_seed(1)) * 2 - 1
    wide = F.interpolate(coarse, size=(64, 80), mode="bicubic")
    image, moved = wide[..., 8:-8, 8:-8], wide[..., 8 - down : 56 - down, 8 - right : 72 - right]
    found = best_shift(image, torch.cat([moved[:1], image[1:]]), 4)  # the second one fits as it is
    assert found.shape == image.shape
    torch.testing.assert_close(found[0, :, 4:-4, 4:-4], image[0, :, 4:-4, 4:-4])
    torch.testing.assert_close(found[1], image[1])


def test_a_shift_never_leaves_a_small_image() -> None:
    image = torch.rand(2, 1, 24, 40, generator=torch.Generator().manual_seed(1))
    assert torch.equal(best_shift(image, image, 32), image)


def test_the_paired_loss_counts_pairs_alone_and_its_mean_over_batches_is_that_over_the_whole() -> None:
    image, reference = torch.zeros(3, 1, 2, 2), torch.tensor([1.0, 3.0, 5.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    assert paired_loss(image, reference).item() == pytest.approx(3)
    assert paired_loss(image, reference, torch.tensor([1.0, 0, 1]).view(3, 1, 1, 1)).item() == pytest.approx(2)
    assert paired_loss(image, reference, torch.tensor([0.0, 1, 0]).view(3, 1, 1, 1)).item() == pytest.approx(1)
    paired = torch.tensor([1.0, 0, 0]).view(3, 1, 1, 1)
    parts = [paired_loss(image[i : i + 1], reference[i : i + 1], paired[i : i + 1]).item() for i in range(3)]
    assert paired_loss(image, reference, paired).item() == pytest.approx(sum(parts) / 3)
    assert paired_loss(image, reference, torch.zeros(3, 1, 1, 1)).item() == 0


def test_each_image_of_a_gradient_penalty_is_mixed_by_its_own_share() -> None:
    seen = []

    def discriminator(images: torch.Tensor) -> torch.Tensor:
        seen.append(images.detach())
        return images.square().sum((1, 2, 3))

    real, fake = torch.ones(4, 1, 2, 2), torch.zeros(4, 1, 2, 2)
    penalty = gradient_penalty(discriminator, real, fake)
    share = seen[0].flatten(1)
    assert torch.equal(share, share[:, :1].expand(-1, 4)) and len(share[:, 0].unique()) == 4
    torch.testing.assert_close(penalty, (4 * share[:, 0] - 1).square().mean())
