"""Scores by trained networks: LPIPS of an image, FID and KID of a set; computed by torchmetrics."""

from __future__ import annotations

import math
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors.torch import load_file
from torch import nn

from util.files import digest
from util.images import strips
from util.text import plural

PATIENCE = 10.0  # seconds that a download may stand still
LPIPS_SIDE = 35  # pixels of the shorter side, at least, that AlexNet's layers need
LPIPS_PIXELS = 16 << 20  # that AlexNet sees at once, at most
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
INCEPTION_FILE, ALEXNET_FILE = "weights-inception-2015-12-05-6726825d.pth", "alexnet-owt-7be5be79.pth"
RESIZE = "299x299, bilinear, antialiased, one channel repeated to three"


class Unavailable(Exception):
    """Why a metric cannot be computed here, and the remedy, as one line."""


@dataclass
class LearnedMetrics:
    """What of LPIPS, FID and KID can be computed here. about: metric -> what it depends on, for a reader."""

    lpips: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None  # [N, 3, H, W] in [-1, 1] -> [N]
    inception: Callable[[torch.Tensor], torch.Tensor] | None = None  # uint8 [N, 3, H, W] -> [N, features]
    unavailable: dict[str, str] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)

    def leave_out(self, lacking: Mapping[str, str]) -> None:
        """Do without metrics; lacking: metric -> why it cannot be had."""
        self.unavailable |= lacking
        self.lpips = None if "LPIPS" in lacking else self.lpips
        self.inception = None if {"FID", "KID"} & lacking.keys() else self.inception
        self.about = {metric: about for metric, about in self.about.items() if metric not in lacking}


def _read(option: str, path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ValueError(f"{option} {path}: no such file")
    try:
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways inside torch and safetensors
        raise ValueError(f"{option} {path}: cannot be read as weights ({type(error).__name__})") from None


@contextmanager
def _download(file: str, option: str) -> Iterator[None]:
    """Errors of a download as Unavailable."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    except (URLError, OSError, RuntimeError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise Unavailable(
            f"the weights cannot be downloaded ({reason}): put {file} on this machine and give {option} FILE"
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def _cached(name: str) -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def _facts(path: Path) -> dict[str, str]:
    return {"weights": str(path), "sha256": digest(path)}


def load_inception(weights: Path | None, device: torch.device) -> tuple[nn.Module, dict[str, Any]]:
    """(uint8 [N, 3, H, W] -> [N, 2048] of the Inception network that FID is defined by, what it depends on).

    weights: torch-fidelity's file; None: its own download. ValueError for a wrong file, Unavailable without any."""
    if weights is not None:
        _read("--inception_weights", weights)
    with _download(INCEPTION_FILE, "--inception_weights"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchmetrics.image.fid import NoTrainInceptionV3

        try:
            path = None if weights is None else str(weights)
            network = NoTrainInceptionV3("inception-v3-compat", ["2048"], path, antialias=True)
        except (RuntimeError, AttributeError, TypeError) as error:
            if weights is None:
                raise
            raise ValueError(
                f"--inception_weights {weights}: holds no Inception network as {INCEPTION_FILE} does "
                f"({type(error).__name__})"
            ) from None
    return network.requires_grad_(False).to(device), _facts(weights or _cached(INCEPTION_FILE)) | {"resize": RESIZE}


def load_lpips(weights: Path | None, device: torch.device) -> tuple[nn.Module, dict[str, Any]]:
    """([N, 3, H, W] in [-1, 1], twice -> [N], what it depends on): LPIPS with AlexNet.

    weights: torchvision's file of AlexNet; None: its own download. Errors as of load_inception."""
    state = None if weights is None else _read("--lpips_weights", weights)
    with _download(ALEXNET_FILE, "--lpips_weights"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchmetrics.functional.image.lpips import _NoTrainLpips

        network = _NoTrainLpips(net="alex", pnet_rand=weights is not None)
    if state is not None:
        wanted = {f"features.{key.partition('.')[2]}": value for key, value in network.net.state_dict().items()}
        if any(key not in state or state[key].shape != value.shape for key, value in wanted.items()):
            raise ValueError(f"--lpips_weights {weights}: holds no AlexNet as torchvision's {ALEXNET_FILE} does")
        network.net.load_state_dict(
            {key: state[f"features.{key.partition('.')[2]}"] for key in network.net.state_dict()}
        )
    return network.requires_grad_(False).to(device), _facts(weights or _cached(ALEXNET_FILE)) | {"network": "AlexNet"}


def load_learned(inception: Path | None, lpips: Path | None, device: torch.device) -> LearnedMetrics:
    """All that can be had: given files, or downloads; what cannot is named in `unavailable`, with the remedy.

    ValueError for a given file that is wrong."""
    found = LearnedMetrics()
    try:
        network, about = load_lpips(lpips, device)
        found.lpips, found.about["LPIPS"] = lambda a, b: network(a, b).flatten(), about
    except Unavailable as error:
        found.unavailable["LPIPS"] = str(error)
    try:
        found.inception, about = load_inception(inception, device)
        found.about |= {"FID": about, "KID": about}
    except Unavailable as error:
        found.unavailable |= {"FID": str(error), "KID": str(error)}
    return found


def three_channels(images: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] -> [N, 3, H, W]."""
    return images.expand(-1, 3, -1, -1)


@torch.no_grad()
def lpips_scores(learned: LearnedMetrics, generated: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] in 0..255, twice -> [N], 0 upward, lower is better; nan where a side is less than LPIPS_SIDE.

    Zhang et al., CVPR 2018: weighted distances of normalised AlexNet features. Of an image of more than LPIPS_PIXELS
    the mean over strips, each seen alone."""
    height, width = real.shape[-2:]
    if min(height, width) < LPIPS_SIDE:
        return torch.full((len(real),), math.nan)
    found = torch.zeros(())
    for rows in strips(height, width, LPIPS_PIXELS):
        a, b = (three_channels(image[..., rows, :].float() / 127.5 - 1) for image in (generated, real))
        found = found + learned.lpips(a, b) * (a.shape[-2] / height)
    return found


@torch.no_grad()
def features_of(learned: LearnedMetrics, images: torch.Tensor) -> torch.Tensor:
    """[N, 1, H, W] in 0..255 -> [N, features] on the CPU."""
    if images.dtype != torch.uint8:
        images = images.round().clamp(0, 255).to(torch.uint8)
    return learned.inception(three_channels(images)).cpu()


class _Features(nn.Module):
    """Lets torchmetrics take features that are computed already."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_features = count

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def set_scores(generated: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
    """FID and KID (means; both lower is better) of features [N, features] and [M, features]; nan of fewer than two.

    FID: Heusel et al., NeurIPS 2017. KID: Binkowski et al., ICLR 2018, cubic kernel, mean over 100 random subsets of
    1000, or of all images where there are fewer; the subsets are the same at every call."""
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    if min(len(generated), len(real)) < 2:
        return {"FID": math.nan, "KID": math.nan}
    size = min(KID_SUBSET_SIZE, len(generated), len(real))
    whole = size == len(generated) == len(real)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        features, subsets = _Features(real.shape[1]), 1 if whole else KID_SUBSETS
        # One rank has the features of all images: nothing is to be added by others.
        fid = FrechetInceptionDistance(features, sync_on_compute=False).set_dtype(torch.float64)
        kid = KernelInceptionDistance(features, subsets, size, sync_on_compute=False)
        for metric in (fid, kid):
            metric.update(real.double(), real=True)
            metric.update(generated.double(), real=False)
        return {"FID": float(fid.compute()), "KID": float(kid.compute()[0])}


def fid_warning(generated: int, real: int, features: int) -> str | None:
    """A line where the sets are too small for FID's covariances."""
    if min(generated, real) >= features:
        return None
    return (
        f"FID of {generated} generated and {plural(real, 'real image')}, fewer than its {features} features: it is "
        "too high by an amount that depends on their number; compare only sets of the same size, or KID, which has no "
        "such bias"
    )
