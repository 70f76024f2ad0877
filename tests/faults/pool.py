"""Light workers of one installation: started, watched, killed, and ended with the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from app.embedded.lifeline import Lifeline
from app.settings import Settings, with_lifeline

DECODERS = "2"


class LightWorker:
    """One process of tests/faults/light.py; `prefix` is a command that runs it elsewhere."""

    def __init__(
        self, settings: Settings, lifeline: Lifeline, *, prefix=(), **environ: str
    ) -> None:
        self.home = settings.home
        self.home.mkdir(parents=True, exist_ok=True)
        self.log = self.home / "worker.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "tests.faults.light"],
                env=with_lifeline(
                    {
                        **os.environ,
                        **settings.to_environment(),
                        "CLAIR_DECODE_CHILDREN": DECODERS,
                        **environ,
                    },
                    lifeline.fd,
                ),
                pass_fds=(lifeline.fd,),
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def hold(self) -> None:
        """Stand still with the next photos in hand; `holding` tells when it does."""
        (self.home / "hold").touch()

    @property
    def holding(self) -> bool:
        return (self.home / "holding").exists()

    def let_go(self) -> None:
        (self.home / "hold").unlink(missing_ok=True)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, seconds: float = 30.0) -> int:
        """Ask it to stop, as a supervisor does; returns its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


class Pool:
    """A context manager; leaving it ends every worker that is left."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.workers: list[LightWorker] = []
        self._lifeline = Lifeline()

    def start(self, home: Path | None = None, *, prefix=(), **environ: str) -> LightWorker:
        """One more worker, on a home of its own where one is given."""
        settings = self.settings
        if home is not None:
            settings = Settings.from_environment(settings.to_environment(), home=home)
        worker = LightWorker(settings, self._lifeline, prefix=prefix, **environ)
        self.workers.append(worker)
        return worker

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._lifeline.cut()
        for worker in self.workers:
            worker.let_go()
            worker.kill()
            # For whoever reads of a failed test; pytest drops it otherwise.
            sys.stdout.write(f"--- {worker.log}\n{worker.said[-4000:]}\n")
