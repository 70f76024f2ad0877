"""The stages after an ingest, in a process of their own: `python -m workers.job RUN`.

FAISS, numba and UMAP cost hundreds of megabytes and hold the interpreter for long, so they live
only as long as the job does, away from the worker that keeps Dramatiq's heartbeat.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Engine

from app.core.errors import ClairError, DiskFull, ServiceDown
from app.embedded.lifeline import exit_with_parent
from app.encoders.registry import load_text_encoder, profile_models
from app.graph.build import GraphStage
from app.graph.clusters import ClustersStage
from app.graph.groups import GroupsStage
from app.graph.stage import Carried, Stage, carry_out
from app.ingest.discovery import RETRY_WAIT
from app.ingest.pipeline import PATIENCE_SECONDS
from app.ingest.runs import fail_run, give_back_run
from app.settings import Settings
from app.space.build import LayoutStage
from app.storage.blobs import open_blobs
from app.storage.engine import make_engine, session_scope
from app.storage.progress import Change, ProgressPublisher
from app.storage.tables import Run, RunKind
from workers.logs import set_up_logging

log = logging.getLogger(__name__)

_CHANGES = {RunKind.LAYOUT: Change.LAYOUT}


def stage_of(kind: RunKind, settings: Settings, engine: Engine) -> Stage[Any, Any]:
    """The work of a kind of run. Raises KeyError for an ingest, which is none."""
    image_model, face_model = profile_models(settings.encoders)
    models = settings.home / "models"
    blobs = open_blobs(settings.home, settings.blobs_url)
    stages: dict[RunKind, Callable[[], Stage[Any, Any]]] = {
        RunKind.GRAPH: lambda: GraphStage(engine, image_model, settings.home / "cache" / "graph"),
        RunKind.GROUPS: lambda: GroupsStage(engine, image_model, blobs),
        RunKind.CLUSTERS: lambda: ClustersStage(
            image_model, blobs, partial(load_text_encoder, settings.encoders, models)
        ),
        RunKind.LAYOUT: lambda: LayoutStage(image_model, blobs, face_model),
    }
    return stages[kind]()


def run_stages(settings: Settings, engine: Engine, run_id: int) -> None:
    """Carry the run out, and those that follow it: this process has loaded already what they need.

    Each is claimed like any other, so that nothing is lost if this process dies between two.
    """
    assert settings.redis_url  # noqa: S101 - the supervisor always hands it on
    progress = ProgressPublisher(settings.redis_url)
    following: int | None = run_id
    while following is not None:
        with session_scope(engine) as session:
            run = session.get(Run, following)
        if run is None:
            return  # its event was deleted
        print(following, flush=True)  # noqa: T201 - the worker gives back what was begun last
        carried = _carry_out(engine, run, stage_of(RunKind(run.kind), settings, engine))
        following = carried.following.id if carried and carried.following else None
        if carried is not None:
            progress.publish(carried.event_id, _CHANGES.get(RunKind(run.kind), Change.PROGRESS))
            progress.publish(carried.event_id)


def _carry_out(engine: Engine, run: Run, stage: Stage[Any, Any]) -> Carried | None:
    """Carry one stage out; what breaks it is written into its run. Raises what can be tried again."""
    try:
        return carry_out(engine, run.id, stage)
    except (ServiceDown, DiskFull):
        _give_back(engine, run.id)
        raise
    except ClairError:
        raise  # the run's lease runs out and the sweeper tries again, a few times at most
    except Exception as error:
        with session_scope(engine) as session:
            fail_run(session, run.id, f"{type(error).__name__}: {error}"[:500])
        raise


def _give_back(engine: Engine, run_id: int) -> None:
    """Hand the run back as soon as PostgreSQL takes it: the fault was not its own."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        try:
            with session_scope(engine) as session:
                return give_back_run(session, run_id, after=RETRY_WAIT)
        except (ServiceDown, DiskFull):
            time.sleep(0.5)
    log.warning("run %s could not be given back; its lease will run out", run_id)
    return None


def main(arguments: list[str]) -> int:
    exit_with_parent()
    settings = Settings.from_environment()
    set_up_logging(settings.log_level)
    run_id = int(arguments[0])
    assert settings.database_url  # noqa: S101 - the supervisor always hands it on
    engine = make_engine(settings.database_url, pool_size=2, application="clairvision job")
    try:
        run_stages(settings, engine, run_id)
    except ClairError as error:
        log.warning("run %s: %s", run_id, error)
        return 1
    except Exception:
        log.exception("run %s failed", run_id)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
