"""Where networks run, in which precision, compiled or not, and what select_device does to the process."""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from tests.conftest import ROOT
from util.device import select_device

CLEARED_PAGES = """
import resource, torch
from util.device import select_device
select_device("cpu")
def cleared():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        [torch.ones(2**21) for _ in range(6)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
cleared()
print(cleared())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_freed_memory_is_kept_for_what_follows() -> None:
    words = [sys.executable, "-c", CLEARED_PAGES]
    assert int(subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout) < 100


def test_device_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    assert select_device("cpu", "fp32").dtype == torch.float32
    assert select_device("cpu", "fp16").needs_scaling and not select_device("cpu", "bf16").needs_scaling
    assert select_device("cpu", "bf16").memory_format == torch.contiguous_format
    assert select_device("cpu", "fp32", "on").is_channels_last
    for wrong in ("gpu", "cuda:99", "mps"):
        with pytest.raises(ValueError, match="--device"):
            select_device(wrong)


def test_every_rank_takes_its_own_gpu_and_never_another(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert select_device("cuda", "fp32").device == torch.device("cuda", 1)
    assert select_device("cuda:0", "fp32").device == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="--nproc_per_node to 2"):
        select_device("cuda", "fp32")
    assert [device.index for device in taken] == [1, 0]


def test_the_cpu_is_told_that_it_emulates_fp16() -> None:
    assert "emulated" in select_device("cpu", "fp16").remarks("off")[0]
    assert (
        not select_device("cpu", "bf16").remarks("off")
        and "compiled (default)" in select_device("cpu", "bf16").remarks("default")[0]
    )


def test_images_reach_the_device_in_range() -> None:
    device = select_device("cpu", "fp32")
    assert device.images(torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2)).flatten().tolist() == [-1, 1]
    floats = torch.tensor([-0.5, 0.25]).view(1, 1, 1, 2)
    assert torch.equal(device.images(floats), floats), "floats are in range already"


def test_auto_compiles_long_runs_on_cuda_with_images_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = select_device("cpu", "fp32")
    cuda = replace(cpu, device=torch.device("cuda", 0))
    monkeypatch.setattr("util.device.shutil.which", lambda name: "/usr/bin/gcc" if name == "gcc" else None)
    assert cuda.compile_mode("auto", True, 10**6, False) == "default"
    assert cuda.compile_mode("auto", False, 10**6, False) == cuda.compile_mode("auto", True, 100, False) == "off"
    assert cpu.compile_mode("auto", True, 10**6, False) == "off"
    assert cuda.compile_mode("auto", True, 10**6, True) == "off", "one pass does it"
    assert cpu.compile_mode("default", True, 1, True) == "default"
    monkeypatch.setattr("util.device.shutil.which", lambda name: None)
    assert cuda.compile_mode("auto", True, 10**6, False) == "off", "Triton needs a C compiler"


@pytest.mark.parametrize("forgiving", [True, False])
def test_what_cannot_be_compiled_runs_as_it_is_written_where_nobody_asked(
    forgiving: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("util.device.shutil.which", lambda name: "/usr/bin/g++")
    network, image = torch.nn.Conv2d(3, 2, 3), torch.rand(1, 3, 6, 6)
    expected = network(image)
    torch.compiler.reset()
    missing = torch._inductor.config.patch({"cpp.cxx": (None, "/nowhere/g++")})
    with torch._dynamo.config.patch(suppress_errors=False), missing:
        select_device("cpu", "fp32").compile([network], "default", forgiving)
        if forgiving:
            torch.testing.assert_close(network(image), expected)
        else:
            with pytest.raises(Exception, match="C\\+\\+ compiler|CxxCompiler"):
                network(image)
    torch.compiler.reset()
