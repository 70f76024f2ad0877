"""The batched owner: one model, many callers."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.core.errors import NotAnImage, Overloaded
from app.encoders.owner import BatchedOwner


def _doubled(batch: Sequence[int]) -> list[int]:
    return [2 * item for item in batch]


def test_results_come_back_in_order_to_their_callers() -> None:
    sizes: list[int] = []

    def function(batch: Sequence[int]) -> list[int]:
        sizes.append(len(batch))
        return _doubled(batch)

    owner = BatchedOwner(function, batch=8)
    chunks = [list(range(start, start + 37)) for start in range(0, 1000, 100)]
    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(owner.run, chunks)) == [_doubled(chunk) for chunk in chunks]
    assert max(sizes) == 8
    assert sum(sizes) == 370
    assert owner.run([]) == []
    owner.close()


class _Gate:
    """A function whose first call waits until the test lets it go on."""

    def __init__(self) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        self.batches: list[list[int]] = []

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        if len(self.batches) == 1:
            self.entered.set()
            assert self.open.wait(10)
        if any(item < 0 for item in batch):
            raise NotAnImage("a broken picture")
        return _doubled(batch)


def _queued(owner: BatchedOwner[int, int], items: int) -> None:
    """Returns once so many items wait."""
    with owner._changed:
        assert owner._changed.wait_for(lambda: owner._count >= items, 10)


def test_callers_share_batches_and_a_large_chunk_starves_nobody() -> None:
    gate = _Gate()
    owner = BatchedOwner(gate, batch=4)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(owner.run, [0])
        assert gate.entered.wait(10)
        large = pool.submit(owner.run, list(range(100, 120)))
        _queued(owner, 20)
        small = pool.submit(owner.run, [1, 2])
        _queued(owner, 22)
        gate.open.set()
        assert (first.result(10), small.result(10)) == ([0], [2, 4])
        assert large.result(10) == _doubled(range(100, 120))
    assert gate.batches[1] == [100, 1, 101, 2]
    owner.close()


def test_an_error_reaches_only_the_caller_who_caused_it() -> None:
    gate = _Gate()
    owner = BatchedOwner(gate, batch=4)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(owner.run, [0])
        assert gate.entered.wait(10)
        good = pool.submit(owner.run, [1, 2, 3, 4, 5])
        _queued(owner, 5)
        bad = pool.submit(owner.run, [-1, 6, 7, 8, 9])
        _queued(owner, 10)
        gate.open.set()
        assert first.result(10) == [0]
        assert good.result(10) == [2, 4, 6, 8, 10]
        with pytest.raises(NotAnImage):
            bad.result(10)
    assert owner.run([21]) == [42]
    assert owner._count == 0
    owner.close()


def test_too_many_waiting_items_are_refused() -> None:
    gate = _Gate()
    owner = BatchedOwner(gate, batch=1, waiting=3)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(owner.run, [0])
        assert gate.entered.wait(10)
        waiting = pool.submit(owner.run, [1, 2, 3])
        _queued(owner, 3)
        with pytest.raises(Overloaded):
            owner.run([4])
        gate.open.set()
        assert (first.result(10), waiting.result(10)) == ([0], [2, 4, 6])
    owner.close()
    with pytest.raises(Overloaded, match="shutting down"):
        owner.run([1])
