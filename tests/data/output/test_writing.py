"""Writer threads: what is submitted is done, only so much waits, and errors come out."""

from __future__ import annotations

import threading

import pytest
import torch

from data.output.writing import Writers, fetch


def test_everything_is_written_before_the_end() -> None:
    done = []
    with Writers(3) as writers:
        for number in range(50):
            writers.submit(1, done.append, number)
    assert sorted(done) == list(range(50))


def test_the_caller_waits_where_too_much_would() -> None:
    gate, third = threading.Event(), threading.Event()
    with Writers(1, limit=20) as writers:

        def submit() -> None:
            for _ in range(2):
                writers.submit(10, gate.wait)
            writers.submit(10, lambda: None)
            third.set()

        caller = threading.Thread(target=submit)
        caller.start()
        assert not third.wait(0.1), "20 bytes wait: the third has no room"
        gate.set()
        caller.join()
        assert third.is_set() and sum(size for _, size in writers.waiting) <= 20


def test_an_error_of_a_thread_is_raised() -> None:
    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), Writers(1) as writers:
        writers.submit(1, fail)
    with pytest.raises(OSError, match="disk full"), Writers(1, limit=0) as writers:
        writers.submit(1, fail)
        raise AssertionError("the error comes with the next result at the latest")


def test_an_error_of_the_caller_ends_what_waits() -> None:
    gate, done = threading.Event(), []

    def fail() -> None:
        with Writers(1) as writers:
            writers.submit(1, gate.wait)
            for number in range(9):
                writers.submit(1, done.append, number)
            threading.Timer(0.05, gate.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not done


def test_what_the_cpu_made_is_there_already() -> None:
    image = torch.rand(1, 2, 3)
    (first, none), wait = fetch([image, None], torch.device("cpu"))
    assert first is image and none is None and not wait()
