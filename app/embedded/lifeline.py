"""A process that ends when the one that started it is gone, however that ended."""

from __future__ import annotations

import os
import select
import signal
import stat
import threading
import time
from collections.abc import Callable

from app.settings import lifeline_fd

GRACE_SECONDS = 10.0
_PARENT_POLL_SECONDS = 1.0


class Lifeline:
    """A pipe whose far end closes with this process; `fd` is what its children inherit.

    Nothing is ever written to it: a read that returns means that the holder is gone, by whatever
    signal. The children's end goes to `subprocess` in `pass_fds`.
    """

    def __init__(self) -> None:
        self.fd, self._held = os.pipe()

    def cut(self) -> None:
        """Lets every child know now. Safe to call twice."""
        if self._held >= 0:
            os.close(self._held)
            os.close(self.fd)
            self._held = -1


def exit_with_parent(*, grace: float = GRACE_SECONDS) -> bool:
    """Ends this process once its supervisor is gone; call it first in `main`.

    A SIGTERM asks for an orderly end, and after `grace` seconds the process exits at once with
    status 1. Returns False, and does nothing, where no supervisor started this process.
    """
    descriptor = lifeline_fd()
    if descriptor is None:
        return False
    wait = _pipe_ends(descriptor) if _is_pipe(descriptor) else _parent_changes(os.getppid())

    def follow() -> None:
        wait()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
        os._exit(1)

    threading.Thread(target=follow, name="lifeline", daemon=True).start()
    return True


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False  # a child of a child, started without the pipe


def _pipe_ends(descriptor: int) -> Callable[[], None]:
    def wait() -> None:
        # poll() rather than read(): the descriptor may be shared with a forked child
        watch = select.poll()
        watch.register(descriptor, select.POLLIN | select.POLLHUP)
        watch.poll()

    return wait


def _parent_changes(parent: int) -> Callable[[], None]:
    def wait() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL_SECONDS)

    return wait
