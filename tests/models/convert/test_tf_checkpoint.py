"""The reader of TensorFlow checkpoints, on checkpoints made here and on the released one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from models.convert.tf_checkpoint import read
from tests.checkpoint_writer import write_checkpoint
from tests.conftest import SHARED

RELEASED = SHARED / "stdfusionnet" / "tf_checkpoint" / "Fusion.model-29"


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "a/conv1/w": rng.normal(size=(3, 2, 1, 4)).astype(np.float32),
        "a/conv1/b": rng.normal(size=4).astype(np.float32),
        "a/conv10/b": rng.normal(size=(2, 3)),
        "b/empty": np.zeros((0, 5), np.float32),
        "b/large": rng.normal(size=(40, 50)).astype(np.float32),
        "global_step": np.array(12345, np.int64),
        "z": np.arange(-3, 4, dtype=np.int32),
    }


@pytest.mark.parametrize("per_block", [1, 3, 100])
def test_reads_what_was_written(tmp_path: Path, per_block: int) -> None:
    write_checkpoint(tmp_path / "model-3", arrays(), per_block)
    found = read(tmp_path / "model-3")
    assert sorted(found) == sorted(arrays())
    for name, array in arrays().items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)


def test_released_checkpoint() -> None:
    if not RELEASED.with_name(RELEASED.name + ".index").exists():
        pytest.skip(f"{RELEASED} is not here")
    found = read(RELEASED)
    assert sum(array.size for array in found.values()) == 282_513
    assert found["STDFusion_model/reconstruction_network/block1/conv2/w"].shape == (3, 3, 128, 128)


def test_damage_is_one_clear_error(tmp_path: Path) -> None:
    prefix = tmp_path / "m"
    index, data = tmp_path / "m.index", tmp_path / "m.data-00000-of-00001"
    with pytest.raises(ValueError, match="no such file"):
        read(prefix)
    write_checkpoint(prefix, arrays())
    whole_index, whole = index.read_bytes(), data.read_bytes()
    for changed, message in (
        (whole_index[:-1], "cut short"),
        (b"", "cut short"),
    ):
        index.write_bytes(changed)
        with pytest.raises(ValueError, match=message):
            read(prefix)
    index.write_bytes(whole_index)
    data.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="cut short"):
        read(prefix)
    data.unlink()
    with pytest.raises(ValueError, match="beside the .index"):
        read(prefix)
    write_checkpoint(prefix, arrays(), compression=1)
    with pytest.raises(ValueError, match="compressed"):
        read(prefix)


def test_no_wrong_byte_gives_another_error(tmp_path: Path) -> None:
    prefix, index = tmp_path / "m", tmp_path / "m.index"
    write_checkpoint(prefix, arrays())
    whole = index.read_bytes()
    for at in range(len(whole)):
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with contextlib.suppress(ValueError):
            read(prefix)
