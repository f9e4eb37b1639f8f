"""Where networks run: what select_device does to the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.conftest import ROOT

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
