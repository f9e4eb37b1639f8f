"""LPIPS, FID and KID: with networks and weights that the test makes, and where there are none."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from util.metrics import learned
from util.metrics.learned import (
    KID_SUBSET_SIZE,
    LearnedMetrics,
    features_of,
    fid_warning,
    load_inception,
    load_learned,
    load_lpips,
    lpips_scores,
    set_scores,
    three_channels,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of AlexNet's convolutions, named as torchvision names them."""
    torch.manual_seed(0)
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    state = {}
    for place, (out, into, side) in shapes.items():
        state[f"features.{place}.weight"] = torch.randn(out, into, side, side) / (into * side * side) ** 0.5
        state[f"features.{place}.bias"] = 0.1 * torch.randn(out)
    path = tmp_path_factory.mktemp("weights") / "alexnet.safetensors"
    save_file(state, path)
    return path


def no_network(*_: object, **__: object) -> None:
    raise URLError("no route")


def square_root(matrix: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T


def test_fid_by_its_formula() -> None:
    torch.manual_seed(1)
    a, b = torch.randn(40, 5).double(), (torch.randn(30, 5) * 1.5 + 0.7).double()
    s, t = torch.cov(a.T), torch.cov(b.T)
    root = square_root(square_root(s) @ t @ square_root(s))
    wanted = (a.mean(0) - b.mean(0)).square().sum() + torch.trace(s) + torch.trace(t) - 2 * torch.trace(root)
    assert set_scores(a, b)["FID"] == pytest.approx(float(wanted), rel=1e-6)
    assert set_scores(a, a)["FID"] == pytest.approx(0, abs=1e-6)


def test_kid_by_its_formula_and_repeatably(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    a, b = torch.randn(12, 4).double(), (torch.randn(12, 4) + 0.5).double()
    kernel = [((x @ y.T) / 4 + 1) ** 3 for x, y in ((a, a), (b, b), (a, b))]
    within = sum((k.sum() - k.trace()) / (12 * 11) for k in kernel[:2])
    assert set_scores(a, b)["KID"] == pytest.approx(float(within - 2 * kernel[2].mean()), rel=1e-9)
    assert KID_SUBSET_SIZE > 12
    c = torch.randn(20, 4).double()
    torch.manual_seed(3)
    first = set_scores(a, c)["KID"]
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), drawn), "the caller's random numbers are left alone"
    torch.manual_seed(4)
    assert set_scores(a, c)["KID"] == first
    monkeypatch.setattr(learned, "KID_SUBSETS", 1)
    apart = [set_scores(a, c[torch.randperm(20)])["KID"] for _ in range(100)]
    assert abs(first - np.mean(apart)) < np.std(apart) / 3, "the mean over many subsets, not one of them"


def test_sets_are_of_the_images_given_whatever_other_ranks_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    features = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0)).double()
    alone = set_scores(*features)
    monkeypatch.setattr("torchmetrics.metric.jit_distributed_available", lambda: True)
    monkeypatch.setattr("torchmetrics.metric.gather_all_tensors", lambda tensor, group=None: [tensor, tensor + 1])
    assert set_scores(*features) == alone


def test_what_another_rank_lacks_is_left_out() -> None:
    learned = LearnedMetrics(lambda a, b: a, lambda a: a, {}, {"LPIPS": {}, "FID": {}, "KID": {}})
    learned.leave_out({"FID": "no route", "KID": "no route"})
    assert learned.lpips and learned.inception is None and learned.about.keys() == {"LPIPS"}
    assert learned.unavailable == {"FID": "no route", "KID": "no route"}


def test_one_image_is_no_set() -> None:
    assert all(math.isnan(value) for value in set_scores(torch.ones(1, 3), torch.ones(9, 3)).values())
    assert fid_warning(5, 9, 8) and fid_warning(8, 8, 8) is None


def test_features_are_of_8_bit_rgb() -> None:
    seen = []

    def network(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return images.float().mean((2, 3))

    grey = torch.tensor([[-3.0, 10.6], [254.4, 300.0]])[None, None]
    assert features_of(LearnedMetrics(inception=network), grey).shape == (1, 3)
    assert seen[0].dtype == torch.uint8 and seen[0][0, 2].tolist() == [[0, 11], [254, 255]]


def test_lpips_from_a_file(alexnet: Path) -> None:
    network, about = load_lpips(alexnet, CPU)
    assert len(about["sha256"]) == 64
    learned = LearnedMetrics(lpips=lambda a, b: network(a, b).flatten())
    torch.manual_seed(5)
    real = (torch.rand(2, 1, 40, 52) * 255).round()
    noisy = (real + 30 * torch.randn_like(real)).clamp(0, 255)
    assert lpips_scores(learned, real, real).tolist() == [0, 0]
    some, more = lpips_scores(learned, noisy, real), lpips_scores(learned, 255 - real, real)
    assert some.shape == (2,) and (some > 0).all() and (more > some).all()
    assert lpips_scores(learned, real[..., :20, :], real[..., :20, :]).isnan().all(), "too small for AlexNet"
    again, _ = load_lpips(alexnet, CPU)
    a, b = (three_channels(image / 127.5 - 1) for image in (noisy, real))
    assert torch.equal(again(a, b), network(a, b)), "nothing of it is random"


def test_wrong_files_are_the_users_mistakes(alexnet: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"not weights")
    torch.save({"features.0.weight": torch.ones(3)}, tmp_path / "other.pth")
    for load, option in ((load_lpips, "--lpips_weights"), (load_inception, "--inception_weights")):
        for name, text in (("none.pth", "no such file"), ("broken.pth", "cannot be read"), ("other.pth", "holds no")):
            with pytest.raises(ValueError, match=f"{option} .*{name}: {text}"):
                load(tmp_path / name, CPU)


def test_without_network_the_remedy(monkeypatch: pytest.MonkeyPatch, alexnet: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    before = socket.getdefaulttimeout()
    learned = load_learned(None, None, CPU)
    assert learned.lpips is None and learned.inception is None
    assert set(learned.unavailable) == {"LPIPS", "FID", "KID"} and "no route" in learned.unavailable["FID"]
    assert "--lpips_weights" in learned.unavailable["LPIPS"] and "--inception_weights" in learned.unavailable["KID"]
    assert socket.getdefaulttimeout() == before
    learned = load_learned(None, alexnet, CPU)
    assert learned.lpips is not None and set(learned.unavailable) == {"FID", "KID"}
