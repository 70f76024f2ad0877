"""Slots: never too many, never lost, in turn."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sources.hosts import HostGate

HOST, OTHER = "http://one.example", "http://two.example"


async def settled() -> None:
    """Every task has run until it waits for something that does not come by itself."""
    for _ in range(5):
        await asyncio.sleep(0)


class Visitor:
    """Somebody who enters the gate, stays, and leaves when told."""

    def __init__(self, gate: HostGate, host: str = HOST) -> None:
        self.inside = False
        self._go = asyncio.Event()
        self._task = asyncio.create_task(self._visit(gate, host))

    async def _visit(self, gate: HostGate, host: str) -> None:
        async with gate.slot(host):
            self.inside = True
            try:
                await self._go.wait()
            finally:
                self.inside = False

    def leave(self) -> None:
        self._go.set()

    def give_up(self) -> None:
        self._task.cancel()

    async def gone(self) -> None:
        await asyncio.gather(self._task, return_exceptions=True)


async def test_visitors_enter_in_turn() -> None:
    gate = HostGate(8, 1)
    visitors = [Visitor(gate) for _ in range(3)]
    for inside in range(3):
        await settled()
        assert [visitor.inside for visitor in visitors] == [n == inside for n in range(3)]
        assert not gate.enter_now(HOST)
        visitors[inside].leave()
    await settled()
    assert gate.enter_now(HOST)


@pytest.mark.parametrize("leaves_first", [True, False])
async def test_a_turn_that_nobody_waits_for_any_more_goes_to_the_next(leaves_first: bool) -> None:
    gate = HostGate(8, 1)
    first, impatient, patient = (Visitor(gate) for _ in range(3))
    await settled()
    for step in [first.leave, impatient.give_up][:: 1 if leaves_first else -1]:
        step()  # both in the same moment: nobody else has run in between
    await settled()
    assert (first.inside, impatient.inside, patient.inside) == (False, False, True)
    patient.leave()
    await settled()
    assert gate.enter_now(HOST)


async def test_a_slow_host_does_not_take_the_slots_of_others() -> None:
    gate = HostGate(3, 2)
    slow = [Visitor(gate) for _ in range(5)]
    await settled()
    assert sum(visitor.inside for visitor in slow) == 2
    assert gate.enter_now(OTHER)
    assert not gate.enter_now("http://three.example")  # the process's own limit
    for visitor in slow:
        visitor.give_up()
        await visitor.gone()


STEPS = st.lists(
    st.tuples(st.sampled_from(["come", "leave", "give up"]), st.integers(0, 7), st.booleans()),
    max_size=40,
)


@settings(deadline=None, max_examples=60)
@given(steps=STEPS)
def test_whatever_happens_no_slot_is_lost_or_made(steps: list[tuple[str, int, bool]]) -> None:
    async def play() -> None:
        gate = HostGate(3, 2)
        visitors: list[Visitor] = []
        for step, number, pause in steps:
            if step == "come":
                visitors.append(Visitor(gate, (HOST, OTHER)[number % 2]))
            elif visitors and step == "leave":
                visitors[number % len(visitors)].leave()
            elif visitors:
                visitors[number % len(visitors)].give_up()
            if pause:
                await settled()
                assert sum(visitor.inside for visitor in visitors) <= 3
        for visitor in visitors:
            visitor.leave()
        for visitor in visitors:
            await visitor.gone()
        assert [gate.enter_now(host) for host in (HOST, HOST, HOST)] == [True, True, False]
        assert [gate.enter_now(host) for host in (OTHER, OTHER)] == [True, False]

    asyncio.run(play())
