"""VGG16 features: layers, normalisation, weights from files, and what happens without them."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from models.vgg import VGG16


@pytest.fixture(scope="module")
def reference() -> torchvision.models.VGG:
    torch.manual_seed(0)
    return torchvision.models.vgg16(weights=None, num_classes=2).eval()


@pytest.fixture(scope="module")
def weights(reference: torchvision.models.VGG, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The convolutions as torchvision names them, without the large classifier."""
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save({f"features.{name}": value for name, value in reference.features.state_dict().items()}, path)
    return path


def test_features_equal_torchvisions(reference: torchvision.models.VGG, weights: Path) -> None:
    indices = {"relu1_1": 1, "relu2_2": 8, "relu3_3": 15, "relu5_1": 25}  # of reference.features
    vgg = VGG16(indices, str(weights))
    x = torch.rand(2, 3, 40, 64) * 2 - 1
    normalised = torchvision.transforms.functional.normalize((x + 1) / 2, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    found = vgg(x)
    assert set(found) == set(indices)
    for name, index in indices.items():
        with torch.no_grad():
            torch.testing.assert_close(found[name], reference.features[: index + 1](normalised), rtol=1e-4, atol=1e-5)


def test_one_channel_is_repeated_and_nothing_is_trained(weights: Path) -> None:
    vgg = VGG16(["relu2_1"], str(weights))
    grey = torch.rand(1, 1, 16, 24) * 2 - 1
    torch.testing.assert_close(vgg(grey)["relu2_1"], vgg(grey.expand(-1, 3, -1, -1))["relu2_1"])
    assert not any(parameter.requires_grad for parameter in vgg.parameters())
    assert len(vgg.convolutions) == 3, "runs no deeper than the last layer asked for"


def test_safetensors_are_read_too(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "vgg.safetensors"
    save_file(torch.load(weights, weights_only=True), path)
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(
        VGG16(["relu1_2"], str(path))(x)["relu1_2"], VGG16(["relu1_2"], str(weights))(x)["relu1_2"]
    )


def test_random_filters_keep_the_scale_of_what_they_see() -> None:
    torch.manual_seed(0)
    features = VGG16(["relu1_1", "relu4_3"], "random")(torch.rand(1, 3, 64, 64) * 2 - 1)
    assert 0.2 < features["relu4_3"].std() / features["relu1_1"].std() < 5


@pytest.mark.parametrize("content", [None, b"", b"junk" * 100, {"features.0.weight": torch.rand(2, 3, 3, 3)}])
def test_a_bad_file_is_named_with_the_remedy(tmp_path: Path, content: object) -> None:
    path = tmp_path / "vgg.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ValueError, match="vgg.pth.*--vgg_weights FILE.*relu4_3") as error:
        VGG16(["relu1_1"], str(path))
    assert "\n" not in str(error.value)


def test_without_network_both_remedies_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    for layer, weights in (("relu5_1", "imagenet"), ("relu1_1", "torchvision")):
        with pytest.raises(ValueError, match="downloaded.*--vgg_weights FILE.*relu4_3"):
            VGG16([layer], weights)


def test_the_projects_own_weights_need_no_network_and_see_alike_on_all_layers() -> None:
    torch.manual_seed(0)
    layers = ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]
    coarse = torch.rand(4, 3, 16, 16) * 2 - 1  # smooth, as pictures are
    picture = torch.nn.functional.interpolate(coarse, size=(128, 128), mode="bicubic").clamp(-1, 1)
    means = [features.mean().item() for features in VGG16(layers)(picture).values()]
    assert max(means) < 4 * min(means), "each layer is scaled to mean activation 1 on natural pictures: none dominates"
