"""Where and in which arithmetic networks run: device, precision, memory layout. Built once by a command."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from util.text import plural

T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)
LARGEST = 2**26  # bytes; larger ones, few and of many sizes, would leave holes that nothing fills
KEPT = 2**30  # bytes
PAYS_STEPS = 5000  # compiling takes a minute or two, and saves some ten milliseconds a step and more
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Device:
    """device: where; dtype: of autocast regions, float32 for none; memory_format: of networks and images."""

    device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format

    @property
    def needs_scaling(self) -> bool:
        """Whether gradients can vanish in this dtype, so that the loss must be scaled."""
        return self.dtype == torch.float16

    @property
    def precision(self) -> str:
        """Name of the dtype, as --precision spells it."""
        return next(name for name, dtype in PRECISIONS.items() if dtype == self.dtype)

    def describe(self) -> str:
        """Name the device and the arithmetic, e.g. "cpu (2 threads), bf16"."""
        if self.device.type == "cuda":
            where = f"{self.device} ({torch.cuda.get_device_name(self.device)})"
        else:
            where = f"{self.device} ({plural(torch.get_num_threads(), 'thread')})"
        name = self.precision
        if self.device.type == "cuda" and self.dtype == torch.float32 and torch.backends.cudnn.allow_tf32:
            name += " (TF32 in convolutions)"
        return f"{where}, {name}" + (", channels_last" if self.is_channels_last else "")

    @property
    def is_channels_last(self) -> bool:
        """Whether networks and images lie in NHWC order."""
        return self.memory_format == torch.channels_last

    def autocast(self) -> torch.autocast:
        """A context in which networks run in this precision."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def place(self, module: N) -> N:
        """The module on this device, in this memory layout. Convolutions that are not trained are kept in this
        precision: autocast would cast their weights anew at every call."""
        for part in module.modules():
            if isinstance(part, nn.Conv2d) and not part.weight.requires_grad:
                part.to(self.dtype)
        return module.to(self.device).to(memory_format=self.memory_format)

    def compile_mode(self, wanted: str, one_size: bool, steps: int, joined: bool) -> str:
        """What --compile stands for. auto is "default" on a CUDA GPU where a C compiler is found, for images of one
        size and steps enough to pay for the compiling, else "off". joined: whether what stands between convolutions is
        one pass without compiling (models/fused.py)."""
        if wanted != "auto":
            return wanted
        compilers = (os.environ.get("CC", "cc"), "gcc", "clang")
        pays = self.device.type == "cuda" and one_size and steps >= PAYS_STEPS and not joined
        return "default" if pays and any(map(shutil.which, compilers)) else "off"

    def compile(self, networks: Iterable[nn.Module], mode: str, forgiving: bool = False) -> None:
        """Compile networks in their place, in a mode of torch.compile or not at all ("off"); ValueError where this
        machine lacks the compiler. Every size of images is compiled anew; a graph break is an error. forgiving: what
        cannot be compiled runs as it is written, with a warning."""
        if mode == "off":
            return
        if self.device.type == "cpu" and shutil.which(os.environ.get("CXX", "g++")) is None:
            raise ValueError("--compile needs a C++ compiler on the CPU: install one (on Debian: apt install g++)")
        if forgiving:
            torch._dynamo.config.suppress_errors = True
        for network in networks:
            network.compile(fullgraph=not forgiving, dynamic=False, mode=mode)

    def expect_one_size(self) -> None:
        """Let cuDNN try its algorithms at each new image size: pays where sizes seldom change."""
        torch.backends.cudnn.benchmark = self.device.type == "cuda"

    @contextlib.contextmanager
    def many_sizes(self, compiled: bool) -> Iterator[None]:
        """A context for images of many sizes, in which compiled networks run as they were written and cuDNN tries
        nothing. compiled: whether there are any."""
        trying = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = False
        try:
            with torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext():
                yield
        finally:
            torch.backends.cudnn.benchmark = trying

    def remarks(self, compiled: str) -> list[str]:
        """What a user should know before a long run. compiled: the mode in which networks are compiled."""
        if self.device.type == "cpu" and self.dtype == torch.float16:
            return ["fp16 is emulated on the CPU, and very slow: leave --precision out"]
        if compiled != "off":
            return [f"networks are compiled ({compiled}): the first step takes minutes, the others less"]
        return []

    def memory(self) -> dict[str, float]:
        """{"memory": the most that tensors have taken of the GPU so far, GiB}; empty on the CPU. Never waits."""
        if self.device.type != "cuda":
            return {}
        return {"memory": round(torch.cuda.max_memory_allocated(self.device) / 2**30, 3)}

    def images(self, images: torch.Tensor) -> torch.Tensor:
        """[N,C,H,W] uint8, or float in [-1,1] -> float32 in [-1,1] on the device; never waits for the device."""
        images = images.to(self.device, non_blocking=True)
        if images.dtype == torch.uint8:
            images = images.float().div_(127.5).sub_(1)
        return images.contiguous(memory_format=self.memory_format)

    def steps(self, updates: Iterator[T]) -> Iterator[T]:
        """The items of a generator, whose own code alone runs under autocast: not what is done with them."""
        while True:
            with self.autocast():
                try:
                    item = next(updates)
                except StopIteration:
                    return
            yield item


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def select_device(device: str = "auto", precision: str = "auto", channels_last: str = "auto") -> Device:
    """Turn options into a Device; ValueError where this machine cannot do what is asked."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        where = torch.device(device)
    except RuntimeError:
        raise ValueError(f"--device {device}: give auto, cpu, cuda or cuda:N") from None
    if where.type == "cuda":
        count = torch.cuda.device_count()
        where = torch.device("cuda", own_gpu() if where.index is None else where.index)
        if where.index >= count:
            raise ValueError(f"--device {device}: PyTorch sees {count} CUDA devices here; use --device cpu")
        torch.cuda.set_device(where)
    elif where.type != "cpu":
        raise ValueError(f"--device {device}: give auto, cpu, cuda or cuda:N")
    if precision == "auto":
        precision = "bf16" if _native_bf16(where) else "fp32"
    dtype = PRECISIONS[precision]
    if where.type == "cpu":
        _keep_freed_memory()
    # On the CPU channels_last gains nothing.
    last = channels_last == "on" or (channels_last == "auto" and where.type == "cuda" and dtype != torch.float32)
    return Device(where, dtype, torch.channels_last if last else torch.contiguous_format)


def _keep_freed_memory() -> None:
    """Let glibc keep freed activations of up to LARGEST bytes, KEPT in all, for the next ones. It would give them back
    to the system, which clears every page anew: a tenth of a training step's time on the CPU, a third of a fusion
    network's."""
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, LARGEST)
        library.mallopt(M_TRIM_THRESHOLD, KEPT)
        library.mallopt(M_TOP_PAD, LARGEST)  # threads have heaps of that size, which would be given back when empty


def own_gpu() -> int:
    """The number of this rank's GPU on its machine; ValueError where there are fewer than ranks."""
    number, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if 0 < count <= number:
        raise ValueError(f"more ranks than GPUs: lower --nproc_per_node to {count}")
    return number


def _native_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
        return any(f" {flag}" in flags for flag in ("avx512_bf16", "amx_bf16"))
    return False
