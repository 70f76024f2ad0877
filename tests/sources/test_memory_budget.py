import asyncio

import pytest

from app.sources.memory import MemoryBudget


async def test_no_more_is_held_than_the_budget():
    budget, held, most = MemoryBudget(100), 0, 0

    async def reader(size):
        nonlocal held, most
        async with budget.hold(size):
            held += size
            most = max(most, held)
            await asyncio.sleep(0)
            held -= size

    await asyncio.gather(*(reader(size) for size in (60, 50, 40, 30, 20, 10) * 5))
    assert 60 <= most <= 100


async def test_a_giant_waits_for_all_others_and_then_passes():
    budget = MemoryBudget(100)
    async with budget.hold(1):
        giant = asyncio.create_task(_enter(budget, 10_000))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not giant.done()
    assert await giant


async def test_room_comes_back_after_an_error():
    budget = MemoryBudget(10)
    with pytest.raises(RuntimeError):
        async with budget.hold(10):
            raise RuntimeError
    assert await _enter(budget, 10)


async def _enter(budget, size):
    async with budget.hold(size):
        return True
