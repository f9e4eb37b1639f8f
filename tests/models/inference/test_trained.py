"""Trained networks from disk: files that name their method, imported generators, what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.images import ThermalRange, read_infrared, write_image
from data.transforms import Preprocess
from models.cycle_gan import CycleGAN
from models.generators import make_generator
from models.inference.trained import SHIPPED, OneDirection, load_network
from options.cycle_gan import CycleGANOptions
from options.stdfusion_net import STDFusionNetOptions
from util.command_line import to_dict
from util.images import luminance
from util.training.state import load_weights, save_weights

SMALL = CycleGANOptions(ngf=4, netG="resnet_6blocks", upsample="transpose")


def imported(path: Path, outputs: int, direction: str = "to_infrared") -> torch.nn.Module:
    """A file as scripts.import_weights writes it, and its generator."""
    torch.manual_seed(0)
    generator = make_generator("resnet_6blocks", 3, outputs, 4, "instance", False, "transpose").eval()
    state = {f"{direction}.{name}": tensor for name, tensor in generator.state_dict().items()}
    metadata = {"model": "cycle_gan", "options": json.dumps(to_dict(SMALL)), "direction": direction}
    save_weights(path, state, metadata | {"in_channels": "3", "out_channels": str(outputs)})
    return generator


def test_a_file_names_its_own_method_and_options(tmp_path: Path) -> None:
    network = CycleGAN.network(SMALL)
    path = tmp_path / "w.safetensors"
    save_weights(path, network.state_dict(), {"model": "cycle_gan", "options": json.dumps(to_dict(SMALL))})
    loaded, options, facts = load_network(path, "generation")
    x = torch.rand(1, 3, 16, 20)
    assert options == SMALL and facts["weights"] == str(path) and not loaded.training
    assert torch.equal(loaded(x), network.eval()(x))


@pytest.mark.parametrize("outputs", [1, 3])
def test_an_imported_generator_makes_one_channel(tmp_path: Path, outputs: int) -> None:
    generator = imported(tmp_path / "w.safetensors", outputs)
    loaded, _, _ = load_network(tmp_path / "w.safetensors", "generation")
    x = torch.rand(1, 3, 16, 20)
    expected = generator(x) if outputs == 1 else luminance(generator(x))
    assert isinstance(loaded, OneDirection)
    torch.testing.assert_close(loaded(x), expected)


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    imported(path, 3, "to_visible")
    with pytest.raises(ValueError, match="--direction to_infrared"):
        load_network(path, "generation")
    with pytest.raises(ValueError, match="cycle_gan.*stdfusion_net"):
        load_network(path, "fusion")
    other = {"model": "stdfusion_net", "options": json.dumps(to_dict(STDFusionNetOptions()))}
    save_weights(path, {"x": torch.rand(2)}, other)
    with pytest.raises(ValueError, match="tensors are not those of stdfusion_net"):
        load_network(path, "fusion")
    save_weights(path, {"x": torch.rand(2)}, other | {"options": "{"})
    with pytest.raises(ValueError, match="options in it cannot be read"):
        load_network(path, "fusion")
    facts = {"model": "cycle_gan", "options": json.dumps(to_dict(SMALL))}
    channels = {"in_channels": "3", "out_channels": "1"}
    imported(path, 1)
    for wrong in (
        {"mean_infrared": "x"},
        {"mean_infrared": "nan"},
        {"direction": "up"} | channels,
        {"direction": "to_infrared"},
        {"direction": "to_infrared"} | channels | {"in_channels": "²"},
    ):
        save_weights(path, {"x": torch.rand(2)}, facts | wrong)
        with pytest.raises(
            ValueError, match=r"w\.safetensors: (its (mean_infrared|direction) is '|does not say that).*anew"
        ):
            load_network(path, "generation")
    path.write_bytes(b"junk")
    with pytest.raises(ValueError, match="not an intact safetensors file"):
        load_network(path, "fusion")


def test_test_command_takes_a_weights_file(tmp_path: Path, command: Callable) -> None:
    imported(tmp_path / "w.safetensors", 3)
    write_image(tmp_path / "in" / "a.png", np.random.default_rng(0).integers(0, 255, (21, 34, 3), np.uint8))
    command("test.py", "--weights", "w.safetensors", "--name", "imp", "--dataroot", tmp_path / "in", "--num_threads", 0)
    assert read_infrared(tmp_path / "results/imp/infrared/a.png", ThermalRange()).shape == (21, 34)


def test_without_a_run_the_projects_own_generator_makes_infrared(command: Callable, tmp_path: Path) -> None:
    picture = np.tile(np.linspace(0, 255, 96, dtype=np.uint8)[None, :, None], (64, 1, 3))
    write_image(tmp_path / "pictures" / "a.png", picture)
    cpu = ("--device", "cpu", "--num_threads", 0)
    done = command("test.py", "--dataroot", "pictures", *cpu)
    made = tmp_path / "results/to_infrared/infrared/a.png"
    array = np.asarray(Image.open(made))
    assert array.shape == (64, 96) and array.std() > 5 and "to_infrared.safetensors" in done.stdout
    command("fuse.py", "--visible", "pictures", "--generator", *cpu)
    assert (tmp_path / "results/stdfusion_net/fused/a.png").is_file()
    command("scripts.export", "--weights", SHIPPED, "--format", "safetensors", "--out", "half.safetensors")
    command("test.py", "--weights", "half.safetensors", "--dataroot", "pictures", *cpu)
    assert (tmp_path / "results/half/infrared/a.png").read_bytes() == made.read_bytes(), (
        "it is in half precision itself"
    )


def test_a_weights_file_says_how_its_generator_saw_images(tmp_path: Path) -> None:
    metadata, _ = load_weights(SHIPPED)
    sees = Preprocess.of_weights(metadata, "w")
    assert sees is not None and sees.mode == "scale_width_and_crop" and sees.load_size >= 320
    assert metadata["infrared_range"] == "percentile" and metadata["model"] == "pix2pix"
    assert Preprocess.of_weights({}, "w") is None
    with pytest.raises(ValueError, match="^w: load_size"):
        Preprocess.of_weights({"input": '{"load_size": "x"}'}, "w")
