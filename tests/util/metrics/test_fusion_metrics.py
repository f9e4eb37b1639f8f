"""Fusion metrics: VIFB's published values, slow plain implementations, and what must not change a score."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from util.metrics import triplet
from util.metrics.fusion import FUSION_METRICS, FusionScorer, fusion_scores

VIFB_SAMPLE = Path(__file__).parents[4] / "shared" / "data" / "vifb_sample"
VIFB_NAMES = {
    "Avg_gradient": "AG",
    "Cross_entropy": "CE",
    "Edge_intensity": "EI",
    "Entropy": "EN",
    "Mutinf": "MI",
    "Psnr": "PSNR",
    "Qabf": "Qabf",
    "Qcb": "Qcb",
    "Qcv": "Qcv",
    "Rmse": "RMSE",
    "Spatial_frequency": "SF",
    "Ssim": "SSIM",
    "Variance": "SD",
}


def smooth_noise(seed: int, height: int = 45, width: int = 58, channels: int = 1) -> torch.Tensor:
    """[1, C, H, W] uint8 with edges, texture and some exactly flat parts."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, channels, height // 8, width // 8, generator=generator) * 1.2 - 0.1
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)
    noisy = 230 * fine + 12 * torch.rand(fine.shape, generator=generator) * (fine > 0.3)
    return noisy.clamp(0, 255).to(torch.uint8)


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    visible, infrared = smooth_noise(1), smooth_noise(2)
    fused = (0.7 * visible + 0.3 * infrared).to(torch.uint8)
    fused[..., :20] = visible[..., :20]  # edges of equal strength, which Qabf treats apart
    return fused, visible, infrared


def read(path: Path) -> torch.Tensor:
    pixels = np.asarray(Image.open(path))
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1).copy()).permute(2, 0, 1)[None]


@pytest.mark.skipif(not VIFB_SAMPLE.exists(), reason=f"no VIFB sample at {VIFB_SAMPLE}")
@pytest.mark.parametrize("name", ["fight", "man", "walking2"])
def test_vifb_published_values(name: str) -> None:
    visible, infrared = read(VIFB_SAMPLE / "vi" / f"{name}.jpg"), read(VIFB_SAMPLE / "ir" / f"{name}.jpg")
    for method, published in json.loads((VIFB_SAMPLE / "published_metrics.json").read_text())[name].items():
        fused = read(VIFB_SAMPLE / "fused" / f"{name}_{method}.jpg")
        scores = fusion_scores(fused, visible, infrared, convention="vifb")
        ours = {theirs: scores[VIFB_NAMES[theirs]].item() for theirs in published}
        assert ours == pytest.approx(published, rel=5e-5), method  # published with five digits


# Slow and obvious: one image [H, W] float64 each, loops over pixels, direct convolutions, numpy only.


def windows(image: np.ndarray, kernel: np.ndarray, border: int = 0, mode: str = "constant") -> np.ndarray:
    padded = np.pad(image, border, mode=mode) if border else image
    return np.einsum("hwij,ij->hw", np.lib.stride_tricks.sliding_window_view(padded, kernel.shape), kernel)


def gauss(size: int, sigma: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.exp(-(x**2 + y**2) / (2 * sigma**2))


def slow_entropy(image: np.ndarray) -> float:
    shares = [np.mean(image == level) for level in range(256)]
    return -sum(share * math.log2(share) for share in shares if share > 0)


def slow_mutual(a: np.ndarray, b: np.ndarray) -> float:
    return slow_entropy(a) + slow_entropy(b) - pair_entropy(a, b)


def pair_entropy(a: np.ndarray, b: np.ndarray) -> float:
    counts: dict[tuple[float, float], int] = {}
    for key in zip(a.flat, b.flat, strict=True):
        counts[key] = counts.get(key, 0) + 1
    return -sum(n / a.size * math.log2(n / a.size) for n in counts.values())


def slow_divergence(source: np.ndarray, fused: np.ndarray) -> float:
    shares = [(np.mean(source == level), np.mean(fused == level)) for level in range(256)]
    return sum(p * math.log2(p / q) for p, q in shares if p > 0 and q > 0)


def stretched(image: np.ndarray) -> np.ndarray:
    return np.floor((image - image.min()) / (image.max() - image.min()) * 255 + 0.5)


SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], float)


def slow_qabf(fused: np.ndarray, sources: list[np.ndarray]) -> float:
    def edge(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = windows(image, -SOBEL_X, 1), windows(image, SOBEL_X.T, 1)
        angle = np.array([math.atan(b / a) if a else math.pi / 2 for a, b in zip(x.flat, y.flat, strict=True)])
        return np.sqrt(x**2 + y**2).ravel(), angle

    above, below = 0.0, 0.0
    for source in sources:
        for g, a, gf, af in zip(*edge(source), *edge(fused), strict=True):
            ratio = gf / g if g > gf else gf if g == gf else g / gf
            agreement = 1 - abs(a - af) / (math.pi / 2)
            strength = 0.9994 / (1 + math.exp(-15 * (ratio - 0.5)))
            above += g * strength * 0.9879 / (1 + math.exp(-22 * (agreement - 0.8)))
            below += g
    return above / below


def slow_nabf(fused: np.ndarray, sources: list[np.ndarray]) -> float:
    def edge(image: np.ndarray) -> list[tuple[float, float]]:
        across, along = (windows(image, kernel / 8, 1, "reflect") for kernel in (SOBEL_X, SOBEL_X.T))
        return list(zip(across.flat, along.flat, strict=True))

    def angle(across: float, along: float) -> float:
        return math.pi / 2 if along == 0 and across else math.atan(across / along) if across else 0.0

    above, below = 0.0, 0.0
    for f, *others in zip(edge(fused), *(edge(source) for source in sources), strict=True):
        strongest = all(math.hypot(*f) > math.hypot(*s) for s in others)
        for s in others:
            g, gf = math.hypot(*s), math.hypot(*f)
            ratio = min(g, gf) / max(g, gf) if g and gf else 0.0
            agreement = abs(abs(angle(*s) - angle(*f)) - math.pi / 2) * 2 / math.pi
            kept = 0.9999 / (1 + math.exp(-19 * (ratio - 0.5))) * 0.9995 / (1 + math.exp(-22 * (agreement - 0.5)))
            weight = g**1.5 if g >= 2 else 0.001
            above += strongest * weight * (1 - math.sqrt(kept))
            below += weight
    return above / below


def slow_ssim_factors(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    window = gauss(11, 1.5) / gauss(11, 1.5).sum()
    ma, mb = windows(a, window), windows(b, window)
    va, vb, ab = windows(a * a, window) - ma**2, windows(b * b, window) - mb**2, windows(a * b, window) - ma * mb
    return (2 * ma * mb + 2.55**2) / (ma**2 + mb**2 + 2.55**2), (2 * ab + 7.65**2) / (va + vb + 7.65**2)


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    luminance, contrast = slow_ssim_factors(a, b)
    return float(np.mean(luminance * contrast))


def slow_ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        luminance, contrast = slow_ssim_factors(a, b)
        product *= np.mean(luminance * contrast if scale == 4 else contrast) ** weight
        a, b = (np.pad(x, [(0, side % 2) for side in x.shape], mode="edge") for x in (a, b))
        a, b = ((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4 for x in (a, b))
    return float(product)


def slow_vif(source: np.ndarray, fused: np.ndarray) -> float:
    above, below = 0.0, 0.0
    for scale in range(4):
        size = 2 ** (4 - scale) + 1
        window = gauss(size, size / 5) / gauss(size, size / 5).sum()
        if scale:
            source, fused = windows(source, window)[::2, ::2], windows(fused, window)[::2, ::2]
        ms, mf = windows(source, window), windows(fused, window)
        vs, vf = (np.maximum(windows(x * x, window) - m**2, 0) for x, m in ((source, ms), (fused, mf)))
        both = windows(source * fused, window) - ms * mf
        for s, f, c in zip(vs.flat, vf.flat, both.flat, strict=True):
            gain = max(c / (s + 1e-10), 0.0) if s >= 1e-10 and f >= 1e-10 else 0.0
            noise = max(f - gain * c, 1e-10)
            above += math.log10(1 + gain**2 * s / (noise + 2))
            below += math.log10(1 + s / 2)
    return above / below


def radius(shape: tuple[int, int], divisor: float) -> np.ndarray:
    """Centred frequency grid in -1..1 along both sides, times side / divisor."""
    y, x = ((np.arange(n) - n // 2) * 2 / n * n / divisor for n in shape)
    return np.hypot(y[:, None], x)


def seen(image: np.ndarray, response: np.ndarray) -> np.ndarray:
    return np.fft.ifft2(np.fft.ifftshift(np.fft.fftshift(np.fft.fft2(image)) * response)).real


def slow_qcb(fused: np.ndarray, sources: list[np.ndarray]) -> float:
    r = radius(fused.shape, 30)
    sensitivity = np.exp(-((r / 15.3870) ** 2)) - 0.7622 * np.exp(-((r / 1.3456) ** 2))

    def masked(image: np.ndarray) -> np.ndarray:
        image = seen(stretched(image), sensitivity)
        contrast = np.abs(windows(image, gauss(31, 2) / 4, 15) / windows(image, gauss(31, 4) / 16, 15) - 1)
        return contrast**3 / (contrast**2 + 0.0001)

    a, b, f = masked(sources[0]), masked(sources[1]), masked(fused)
    qa, qb = np.minimum(a, f) / np.maximum(a, f), np.minimum(b, f) / np.maximum(b, f)
    return float(np.mean((a * a * qa + b * b * qb) / (a * a + b * b)))


def slow_qcv(fused: np.ndarray, sources: list[np.ndarray]) -> float:
    r = 0.144 * radius(fused.shape, 8)
    above, below = 0.0, 0.0
    for source in map(stretched, sources):
        strength = np.sqrt(windows(source, SOBEL_X, 1) ** 2 + windows(source, SOBEL_X.T, 1) ** 2)
        difference = seen(source - stretched(fused), 2.6 * (0.0192 + r) * np.exp(-(r**1.1)))
        for top in range(0, fused.shape[0], 16):
            for left in range(0, fused.shape[1], 16):
                block = np.s_[top : top + 16, left : left + 16]
                weight = (strength[block] ** 5).sum()
                above += weight * (difference[block] ** 2).sum() / 256
                below += weight
    return above / below


def slow_scores(fused: np.ndarray, visible: np.ndarray, infrared: np.ndarray) -> dict[str, float]:
    both = [visible, infrared]
    height, width = fused.shape
    gradients = np.gradient(fused)
    sobel = windows(fused, SOBEL_X, 1, "edge") ** 2 + windows(fused, SOBEL_X.T, 1, "edge") ** 2
    mse = [np.mean((source - fused) ** 2) for source in both]
    neighbours = np.mean(np.diff(fused, axis=0) ** 2) + np.mean(np.diff(fused, axis=1) ** 2)
    return {
        "EN": slow_entropy(fused),
        "SD": float(np.std(fused)),
        "SF": math.sqrt(neighbours),
        "AG": np.sqrt((gradients[0] ** 2 + gradients[1] ** 2) / 2).sum() / ((height - 1) * (width - 1)),
        "MI": sum(slow_mutual(source, fused) for source in both),
        "SCD": sum(np.corrcoef((fused - b).ravel(), a.ravel())[0, 1] for a, b in (both, both[::-1])),
        "VIF": sum(slow_vif(source, fused) for source in both),
        "Qabf": slow_qabf(fused, both),
        "Nabf": slow_nabf(fused, both),
        "SSIM": sum(slow_ssim(source, fused) for source in both),
        "CC": sum(np.corrcoef(source.ravel(), fused.ravel())[0, 1] for source in both) / 2,
        "PSNR": 10 * math.log10(255**2 / np.mean(mse)),
        "RMSE": float(np.mean(np.sqrt(mse))),
        "CE": sum(slow_divergence(source, fused) for source in both) / 2,
        "EI": float(np.sqrt(sobel).mean()),
        "Qcb": slow_qcb(fused, both),
        "Qcv": slow_qcv(fused, both),
    }


def test_slow_implementations_agree(pair) -> None:
    images = [image[0, 0].double().numpy() for image in pair]
    expected = slow_scores(*images)
    scores = {name: score.item() for name, score in fusion_scores(*pair, list(expected)).items()}
    assert scores == pytest.approx(expected, rel=1e-8)
    vifb = {name: score.item() for name, score in fusion_scores(*pair, convention="vifb").items()}
    fused, *sources = map(stretched, images)
    pixels = fused.size
    expected["MI"] = sum(slow_mutual(source, fused) for source in sources) * math.log(2)
    expected["RMSE"] /= math.sqrt(pixels)
    expected["PSNR"] = 20 * math.log10(255 / math.sqrt(expected["RMSE"]))
    expected["SF"] = math.sqrt(sum((np.diff(images[0], axis=axis) ** 2).sum() for axis in (0, 1)) / pixels)
    assert vifb == pytest.approx({name: expected[name] for name in vifb}, rel=1e-8)
    assert sorted(vifb) == sorted(VIFB_NAMES.values())


def test_slow_ms_ssim_agrees() -> None:
    fused, visible, infrared = (smooth_noise(seed, 163, 181) for seed in (3, 4, 5))
    visible = (0.5 * visible + 0.5 * fused).to(torch.uint8)
    infrared = (0.2 * infrared + 0.8 * fused).to(torch.uint8)
    expected = sum(slow_ms_ssim(x[0, 0].double().numpy(), fused[0, 0].double().numpy()) for x in (visible, infrared))
    assert fusion_scores(fused, visible, infrared, ["MS-SSIM"])["MS-SSIM"].item() == pytest.approx(expected, rel=1e-8)


def test_equal_images_score_best() -> None:
    image = smooth_noise(1, 170, 190)
    scores = {name: score.item() for name, score in fusion_scores(image, image, image).items()}
    best = {"VIF": 2, "SSIM": 2, "MS-SSIM": 2, "CC": 1, "PSNR": math.inf, "RMSE": 0, "CE": 0, "Nabf": 0, "Qcb": 1}
    assert {name: scores[name] for name in best} == pytest.approx(best, abs=1e-9)
    assert (scores["SCD"], scores["Qcv"]) == (0, 0)
    assert scores["MI"] == pytest.approx(2 * scores["EN"])
    assert 0.97 < scores["Qabf"] < 0.98  # what its constants allow


def test_sources_are_interchangeable(pair) -> None:
    fused, visible, infrared = pair
    there, back = fusion_scores(fused, visible, infrared), fusion_scores(fused, infrared, visible)
    for name in FUSION_METRICS:
        torch.testing.assert_close(there[name], back[name], rtol=1e-10, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("convention", ["standard", "vifb"])
def test_batch_scores_as_single_images(convention: str) -> None:
    fused, visible = (torch.cat([smooth_noise(10 * k + n, channels=3) for n in range(3)]) for k in (1, 2))
    infrared = torch.cat([smooth_noise(30 + n) for n in range(3)])
    batch = fusion_scores(fused, visible, infrared, convention=convention)
    for n in range(3):
        single = fusion_scores(fused[n : n + 1], visible[n : n + 1], infrared[n : n + 1], convention=convention)
        for name, score in single.items():
            assert batch[name].shape == (3,)
            assert batch[name].dtype == torch.float64
            torch.testing.assert_close(batch[name][n : n + 1], score, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("convention", ["standard", "vifb"])
def test_grey_in_three_channels_scores_as_one(convention: str, pair) -> None:
    fused, visible, infrared = pair
    one = fusion_scores(fused, visible, infrared, convention=convention)
    three = fusion_scores(fused.repeat(1, 3, 1, 1), visible.repeat(1, 3, 1, 1), infrared, convention=convention)
    for name in one:
        if (convention, name) != ("vifb", "SF"):  # VIFB's SF counts the seams between channels
            torch.testing.assert_close(one[name], three[name], rtol=1e-9, atol=1e-12, equal_nan=True)


def test_vifb_scores_channels_apart_and_standard_their_luminance() -> None:
    fused, visible, infrared = smooth_noise(1, channels=3), smooth_noise(2, channels=3), smooth_noise(3)
    vifb = fusion_scores(fused, visible, infrared, ["Qabf", "SD"], "vifb")
    apart = [
        fusion_scores(fused[:, c : c + 1], visible[:, c : c + 1], infrared, ["Qabf", "SD"], "vifb") for c in range(3)
    ]
    for name, score in vifb.items():
        torch.testing.assert_close(score, sum(channel[name] for channel in apart) / 3)
    side_by_side = torch.cat(fused.double().unbind(1), -1)[0].numpy()
    seams = math.sqrt(sum((np.diff(side_by_side, axis=a) ** 2).sum() for a in (0, 1)) / side_by_side.size)
    assert fusion_scores(fused, visible, infrared, ["SF"], "vifb")["SF"].item() == pytest.approx(seams)
    grey = torch.einsum("nchw,c->nhw", fused.double(), torch.tensor([0.299, 0.587, 0.114]).double()).round()
    assert fusion_scores(fused, visible, infrared, ["SD"])["SD"].item() == pytest.approx(grey.std(correction=0).item())


@pytest.mark.parametrize("convention", ["standard", "vifb"])
@pytest.mark.parametrize("kept_pixels", [10**9, 0])
def test_fused_images_that_share_their_sources_score_as_alone(
    convention: str, kept_pixels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triplet, "KEPT_PIXELS", kept_pixels)
    size = (163, 181)
    visible, infrared = smooth_noise(1, *size, 3), smooth_noise(2, *size)
    scorer = FusionScorer(visible, infrared, convention=convention)
    for fused in (smooth_noise(3, *size, 3), smooth_noise(4, *size), infrared, smooth_noise(3, *size, 3)):
        assert scorer(fused) == fusion_scores(fused, visible, infrared, convention=convention)
    assert bool(scorer.grey_sources[0].known) == (kept_pixels > 0)


def test_what_is_known_of_sources_does_not_grow_with_the_fused_images(pair) -> None:
    scorer = FusionScorer(*pair[1:])
    (((plane,),), _) = (source.planes() for source in scorer.grey_sources)
    scorer(pair[0])
    kept = len(plane.known)
    for seed in range(3, 6):
        scorer(smooth_noise(seed))
    assert len(plane.known) == kept > 5


def test_float_images_score_as_the_8_bit_images_they_would_be_saved_as(pair) -> None:
    fused, visible, infrared = pair
    shifted = (fused.float() + 0.3, visible.float() - 0.3, infrared.double())
    expected = fusion_scores(fused, visible, infrared)
    for name, score in fusion_scores(*shifted).items():
        torch.testing.assert_close(score, expected[name], equal_nan=True)


def test_images_too_small_for_a_window_score_nan() -> None:
    small = smooth_noise(1, 12, 30)
    scores = fusion_scores(small, small, small)
    assert [name for name, score in scores.items() if score.isnan()] == ["VIF", "MS-SSIM"]


@pytest.mark.parametrize("level", [0, 16, 100, 255])
def test_a_flat_source_has_no_vif_whatever_its_grey_level(level: int, pair) -> None:
    fused, _, infrared = pair
    assert fusion_scores(fused, torch.full_like(fused, level), infrared, ["VIF"])["VIF"].isnan().all()


@pytest.mark.parametrize("role", ["fused", "visible"])
def test_one_flat_image_leaves_scores_finite(role: str, pair) -> None:
    flat = torch.full_like(pair[0], 7)
    images = (flat, *pair[1:]) if role == "fused" else (pair[0], flat, pair[2])
    names = [name for name in FUSION_METRICS if name not in ("VIF", "MS-SSIM")]
    assert all(score.isfinite().all() for score in fusion_scores(*images, names).values())


def test_mistakes_are_named(pair) -> None:
    fused, visible, infrared = pair
    with pytest.raises(ValueError, match="PSNRR.*EN, SD"):
        fusion_scores(fused, visible, infrared, ["EN", "PSNRR"])
    with pytest.raises(ValueError, match="VIF in convention 'vifb'"):
        fusion_scores(fused, visible, infrared, ["VIF"], "vifb")
    with pytest.raises(ValueError, match="standard, vifb"):
        fusion_scores(fused, visible, infrared, convention="tang")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("convention", ["standard", "vifb"])
def test_cuda_scores_as_cpu(convention: str) -> None:
    images = [torch.cat([smooth_noise(10 * k + n, 170, 190, 3) for n in range(2)]) for k in range(3)]
    on_cpu = fusion_scores(*images, convention=convention)
    on_gpu = fusion_scores(*(image.cuda() for image in images), convention=convention)
    for name, score in on_cpu.items():
        torch.testing.assert_close(on_gpu[name].cpu(), score, rtol=1e-8, atol=1e-10)
