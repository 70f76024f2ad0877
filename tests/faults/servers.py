"""PostgreSQL and Redis from their wheels, listening on an address of the network, with passwords.

The embedded ones listen on sockets of their own machine only; servers for many machines are what
an operator runs. So these are started from the same plans, with another address, under the same
guard: they end with this process, however it ends.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from app.embedded.home import prepare_home
from app.embedded.ports import free_port
from app.embedded.postgres import plan_postgres, postgres_answers, prepare_database
from app.embedded.redis import plan_redis, redis_answers
from app.embedded.services import _start_guard
from tests.faults.installation import wait_for


class Servers:
    """A context manager; `database_url` and `redis_url` are reachable from all of `cidr`."""

    def __init__(self, home: Path, address: str, cidr: str) -> None:
        folder = prepare_home(home)
        postgres, cache = plan_postgres(folder, durable=False), plan_redis(folder)
        with (folder.pg / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {cidr} scram-sha-256\n")
        where = f"{address}:{free_port()}"
        listen = [
            "-c",
            f"listen_addresses={address}",
            "-c",
            f"port={where.rsplit(':', maxsplit=1)[-1]}",
        ]
        # Of an option that is given twice the last one counts, in both servers.
        argv = [*postgres.service.argv, *listen]
        port = free_port()
        with (folder.run / "redis.conf").open("a") as lines:
            lines.write(f"port {port}\nbind {address}\n")
        password = cache.url.split(":", 2)[2].split("@", 1)[0]
        self.redis_url = f"redis://:{password}@{address}:{port}/0"
        self.database_url = _at(postgres.url, where)
        self._admin_url = _at(postgres.admin_url, where)
        plans = [replace(postgres.service, argv=argv), cache.service]
        self._guard = _start_guard(plans, postgres.service.fds or [], None)

    def __enter__(self) -> Servers:
        try:
            wait_for(lambda: postgres_answers(self._admin_url))
            prepare_database(self._admin_url, self.database_url)
            wait_for(lambda: redis_answers(self.redis_url))
        except BaseException:
            self._guard.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._guard.stop()


def _at(url: str, where: str) -> str:
    """The same account and database, at another address."""
    parts = urlsplit(url)
    account = parts.netloc.rsplit("@", 1)[0]
    return parts._replace(netloc=f"{account}@{where}", query="").geturl()
