"""One model, many callers: the batched owner of a device.

Chunks of an ingest run at the same time, but a device wants one batch after the other. Callers hand
their items to the owner and wait; its thread takes them in turn, one item a caller, so that a large
chunk never starves a small one, and runs what it has as one batch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar, cast

from app.core.errors import Overloaded

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Request(Generic[Item, Result]):
    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.next = 0
        self.results: list[Result | None] = [None] * len(items)
        self.open = len(items)
        self.done: Future[list[Result]] = Future()


class BatchedOwner(Generic[Item, Result]):
    """Runs `function` (a batch of items → as many results, in order) on one thread of its own.

    `batch`: the most items a call of `function` gets. `waiting`: the most items that may wait;
    beyond, `run` raises Overloaded instead of growing memory. If a shared batch fails, its callers'
    items are run again apart, so that an error reaches only the caller whose item caused it.
    """

    def __init__(
        self,
        function: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        batch: int,
        waiting: int = 4096,
    ) -> None:
        self._function = function
        self._batch = batch
        self._waiting = waiting
        self._queue: deque[_Request[Item, Result]] = deque()
        self._count = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="model-owner", daemon=True)
        self._thread.start()

    def run(self, items: Sequence[Item]) -> list[Result]:
        """Waits for the results of all items, in order. Raises what `function` raised for them."""
        if not items:
            return []
        request: _Request[Item, Result] = _Request(items)
        with self._changed:
            if self._closed:
                raise Overloaded("The model is shutting down.")
            if self._count and self._count + len(items) > self._waiting:
                raise Overloaded(f"{self._count} pictures already wait for the model.")
            self._count += len(items)
            self._queue.append(request)
            self._changed.notify_all()
        return request.done.result()

    def close(self) -> None:
        """Finishes what waits, then ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if not self._queue:
                    return
                taken = self._take()
            self._work(taken)

    def _take(self) -> list[tuple[_Request[Item, Result], int]]:
        """Up to a batch of (request, index), one item a request in turn."""
        taken: list[tuple[_Request[Item, Result], int]] = []
        while self._queue and len(taken) < self._batch:
            request = self._queue.popleft()
            if request.done.done():
                continue  # an earlier item of it failed
            taken.append((request, request.next))
            request.next += 1
            if request.next < len(request.items):
                self._queue.append(request)
        self._count -= len(taken)
        return taken

    def _work(self, taken: list[tuple[_Request[Item, Result], int]]) -> None:
        try:
            results = self._function([request.items[index] for request, index in taken])
        except Exception as error:  # noqa: BLE001  it is handed to the caller, whatever it is
            self._apart(taken, error)
            return
        for (request, index), result in zip(taken, results, strict=True):
            request.results[index] = result
            request.open -= 1
            if not request.open:
                request.done.set_result(cast("list[Result]", request.results))

    def _apart(self, taken: list[tuple[_Request[Item, Result], int]], error: Exception) -> None:
        requests = list({id(request): request for request, _ in taken}.values())
        if len(requests) == 1:
            self._fail(requests[0], error)
            return
        for request in requests:
            self._work([one for one in taken if one[0] is request])

    def _fail(self, request: _Request[Item, Result], error: Exception) -> None:
        with self._changed:
            if request in self._queue:
                self._queue.remove(request)
            self._count -= len(request.items) - request.next
        request.done.set_exception(error)
