"""Makes a worker process say when each of its actors begins, without changing the product.

Python imports this before anything else where its folder stands on PYTHONPATH. In worker processes
it puts one line before the first of every actor: a datagram with the job's name and the monotonic
clock in nanoseconds, to the socket that BENCH_NOTES names.
"""

import functools
import inspect
import os
import socket
import sys
import time


def _note_actors() -> None:
    from workers import actors

    link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    plain = actors._actor

    def note(job: str) -> None:
        now = time.monotonic_ns()
        link.sendto(f"{job} {now}".encode(), os.environ["BENCH_NOTES"])

    def noting(broker, job, **options):
        decorate = plain(broker, job, **options)

        def apply(work):
            @functools.wraps(work)
            async def later(*arguments):
                note(job)
                return await work(*arguments)

            @functools.wraps(work)
            def now(*arguments):
                note(job)
                return work(*arguments)

            return decorate(later if inspect.iscoroutinefunction(work) else now)

        return apply

    actors._actor = noting


if "worker" in sys.orig_argv and os.environ.get("BENCH_NOTES"):
    _note_actors()
