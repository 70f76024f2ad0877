"""The only reader of the environment.

Each setting is cast where it is read, has a default and a help sentence, and a wrong value stops
with the name of the variable, the value and what is allowed. docs/settings.md lists what
`describe()` returns; a test keeps the two equal.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import platformdirs

from app.core import casts
from app.core.casts import Network
from app.core.errors import BadInput

PROFILES = ("pocket", "studio")
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Described:
    """One setting as documentation shows it. `default` is the text of the environment variable."""

    variable: str
    default: str
    allowed: str
    help: str


def _default_home() -> Path:
    return Path(platformdirs.user_data_dir("clairvision", appauthor=False))


def _cores() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _setting(
    help_: str,
    cast: Callable[[str], Any],
    allowed: str,
    *,
    variable: str = "",
    shown: str = "",
    secret: bool = False,
) -> dict[str, Any]:
    return {
        "help": help_,
        "cast": cast,
        "allowed": allowed,
        "variable": variable,
        "shown": shown,
        "secret": secret,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that an operator can decide. Build it with `from_environment`."""

    home: Path = field(
        default_factory=_default_home,
        metadata=_setting(
            "Folder that holds everything of this installation: database, thumbnails, models, "
            "logs and secrets.",
            casts.path,
            "a folder",
            shown="the platform's data folder",
        ),
    )
    database_url: str | None = field(
        default=None,
        repr=False,
        metadata=_setting(
            "PostgreSQL with pgvector to use; without it one is started under the home folder.",
            casts.url("postgresql", "postgres", "postgresql+psycopg"),
            "postgresql://user:password@host/database",
            variable="DATABASE_URL",
            shown="embedded",
            secret=True,
        ),
    )
    redis_url: str | None = field(
        default=None,
        repr=False,
        metadata=_setting(
            "Redis to use; without it one is started under the home folder.",
            casts.url("redis", "rediss", "unix"),
            "redis://, rediss:// or unix:// URL",
            variable="REDIS_URL",
            shown="embedded",
            secret=True,
        ),
    )
    blobs_url: str | None = field(
        default=None,
        metadata=_setting(
            "Where thumbnails and point clouds are kept. Several machines need one that all of them "
            "reach; the credentials are in the cloud's usual variables (AWS_…, GOOGLE_…, AZURE_…).",
            casts.url("file", "s3", "gs", "az"),
            "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///folder",
            shown="the folder blobs in the home folder",
        ),
    )
    profile: str = field(
        default="pocket",
        metadata=_setting(
            "Which models make the vectors: pocket (small, no download) or studio (ViT-L/14 and "
            "FaceNet).",
            casts.one_of(*PROFILES),
            "pocket, studio",
        ),
    )
    studio_model: str = field(
        default="ViT-L-14/datacomp_xl_s13b_b90k",
        metadata=_setting(
            "The open_clip architecture and weights of the studio profile.",
            casts.text,
            "ARCHITECTURE/WEIGHTS as open_clip names them",
        ),
    )
    host: str = field(
        default="127.0.0.1",
        metadata=_setting(
            "Address on which the web server listens; 0.0.0.0 opens it to the network.",
            casts.text,
            "an address or host name of this machine",
        ),
    )
    port: int = field(
        default=8765,
        metadata=_setting("Port of the web server.", casts.whole(1, 65535), "1 to 65535"),
    )
    public_url: str | None = field(
        default=None,
        metadata=_setting(
            "Address under which people reach the server, for links and for the check of a "
            "request's origin. Behind a reverse proxy it must be set.",
            casts.url("http", "https"),
            "http:// or https:// URL",
            shown="http://HOST:PORT",
        ),
    )
    allowed_cidrs: tuple[Network, ...] = field(
        default=(),
        metadata=_setting(
            "Private networks from which photos may be fetched, for example a NAS. Nothing else "
            "can open them.",
            casts.networks,
            "networks separated by commas, like 192.168.1.0/24",
            shown="none",
        ),
    )
    extra_ports: tuple[int, ...] = field(
        default=(),
        metadata=_setting(
            "Ports beside 80 and 443 from which photos may be fetched.",
            casts.ports,
            "ports separated by commas",
            shown="none",
        ),
    )
    trusted_proxies: tuple[Network, ...] = field(
        default=(),
        metadata=_setting(
            "Networks of reverse proxies, whose X-Forwarded-For and X-Forwarded-Proto are believed. "
            "Without it the limits on wrong passwords see only the proxy's address.",
            casts.networks,
            "networks separated by commas, like 172.16.0.0/12",
            shown="none",
        ),
    )
    instance_credentials: bool = field(
        default=False,
        metadata=_setting(
            "Whether buckets may be opened with this machine's own cloud identity. Whoever may add "
            "a source can then read all that the machine may read.",
            casts.yes_or_no,
            "yes, no",
        ),
    )
    max_photo_bytes: int = field(
        default=80_000_000,
        metadata=_setting(
            "Largest original that is fetched, in bytes.",
            casts.whole(1_000, 2_000_000_000),
            "1000 to 2000000000",
        ),
    )
    max_megapixels: int = field(
        default=100,
        metadata=_setting(
            "Largest picture that is decoded, in millions of pixels.",
            casts.whole(1, 1_000),
            "1 to 1000",
        ),
    )
    fetch_concurrency: int = field(
        default=32,
        metadata=_setting(
            "Photos that one ingest process fetches at the same time.",
            casts.whole(1, 512),
            "1 to 512",
        ),
    )
    per_host_concurrency: int = field(
        default=8,
        metadata=_setting(
            "Photos that one ingest process fetches from the same host at the same time.",
            casts.whole(1, 512),
            "1 to 512",
        ),
    )
    decode_children: int = field(
        default_factory=_cores,
        metadata=_setting(
            "Disposable processes that decode pictures, for each ingest process.",
            casts.whole(1, 256),
            "1 to 256",
            shown="number of cores",
        ),
    )
    chunk_size: int = field(
        default=16,
        metadata=_setting("Photos in one ingest message.", casts.whole(1, 256), "1 to 256"),
    )
    worker_processes: int = field(
        default=1,
        metadata=_setting(
            "Ingest processes that `clairvision up` starts; each loads the models once.",
            casts.whole(1, 64),
            "1 to 64",
        ),
    )
    log_level: str = field(
        default="info",
        metadata=_setting(
            "How much the logs say.", casts.one_of(*LOG_LEVELS), "debug, info, warning, error"
        ),
    )
    secret_key: str | None = field(
        default=None,
        repr=False,
        metadata=_setting(
            "Key that signs sessions and links. Set the same one on every web server; alone, a "
            "server makes its own and keeps it in the home folder.",
            casts.secret,
            "32 characters or more",
            shown="generated",
            secret=True,
        ),
    )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **overrides: Any) -> Self:
        """Settings from `environ` (the process's own by default).

        `overrides` win over the environment and are already of the field's type, as command line
        options are; None means not given. An empty variable counts as unset.
        Raises BadInput for a value that can't be used.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for each in fields(cls):
            variable = variable_of(each.name)
            raw = environ.get(variable, "")
            if raw.strip():
                values[each.name] = _cast(each.name, variable, raw)
        for name, value in overrides.items():
            if value is not None:
                values[name] = _cast(name, f"--{name.replace('_', '-')}", _as_text(value))
        return cls(**{**_remembered(values.get("home", _default_home())), **values})

    def remember(self) -> None:
        """Keep the models that this home was started with: later commands on it use the same.

        The environment and options still win. The home folder must exist.
        """
        kept = {name: getattr(self, name) for name in _REMEMBERED}
        (self.home / _MEMORY).write_text(json.dumps(kept), "utf-8")

    def to_environment(self) -> dict[str, str]:
        """The variables that make a child process read these same settings."""
        found = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and value != ():
                found[variable_of(each.name)] = _as_text(value)
        return found

    @property
    def encoders(self) -> str:
        """The profile's name for app/encoders/registry.py, with the studio model where it has one."""
        return f"studio:{self.studio_model}" if self.profile == "studio" else self.profile

    @property
    def address(self) -> str:
        """Where people open it: the public URL, or host and port."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def variable_of(name: str) -> str:
    """The environment variable of a field: CLAIR_ and its name, save for the two service URLs."""
    for each in fields(Settings):
        if each.name == name:
            return str(each.metadata["variable"]) or f"CLAIR_{name.upper()}"
    raise BadInput(f"There is no setting “{name}”.")


def describe() -> list[Described]:
    """Every setting with its variable, default, allowed values and help, in reading order."""
    rows = []
    for each in fields(Settings):
        shown = each.metadata["shown"] or _as_text(each.default)
        rows.append(
            Described(
                variable_of(each.name), shown, each.metadata["allowed"], each.metadata["help"]
            )
        )
    return rows


def as_markdown() -> str:
    """The table of docs/settings.md."""
    lines = ["| Variable | Default | Allowed | What it does |", "|---|---|---|---|"]
    lines += [
        f"| `{row.variable}` | {row.default} | {row.allowed} | {row.help} |" for row in describe()
    ]
    return "\n".join(lines) + "\n"


_REMEMBERED = ("profile", "studio_model")
_MEMORY = "models.json"


def _remembered(home: Path) -> dict[str, Any]:
    """What `remember` kept in this home; nothing where there is none or it can't be read."""
    try:
        kept = json.loads((home / _MEMORY).read_text("utf-8"))
        return {name: _cast(name, str(home / _MEMORY), str(kept[name])) for name in _REMEMBERED}
    except (OSError, ValueError, KeyError, TypeError, BadInput):
        return {}


_LIFELINE = "CLAIR_LIFELINE_FD"
_NOT_SETTINGS = {"CLAIR_TEST_DATA", "CLAIR_FAULTS", _LIFELINE}


_CREDENTIAL = "CLAIR_CREDENTIAL_"


def credential_variable(name: str) -> str:
    """The variable from which the command line reads a source's credential of this name."""
    return f"{_CREDENTIAL}{name.upper()}"


def given_credential(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """The value of that variable; None where it is not set."""
    value = (os.environ if environ is None else environ).get(credential_variable(name), "")
    return value or None


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """CLAIR_ variables that nothing reads, most likely misspelt; `doctor` shows them."""
    environ = os.environ if environ is None else environ
    known = {variable_of(each.name) for each in fields(Settings)} | _NOT_SETTINGS
    return sorted(
        name
        for name in environ
        if name.startswith("CLAIR_") and not name.startswith(_CREDENTIAL) and name not in known
    )


def chosen_home(environ: Mapping[str, str] | None = None) -> Path | None:
    """The home that CLAIR_HOME names; None where nobody chose one."""
    raw = (os.environ if environ is None else environ).get("CLAIR_HOME", "")
    return casts.path(raw) if raw.strip() else None


def lifeline_fd(environ: Mapping[str, str] | None = None) -> int | None:
    """The pipe that the supervisor handed to this process; None where there is no supervisor."""
    environ = os.environ if environ is None else environ
    raw = environ.get(_LIFELINE, "")
    return int(raw) if raw.isdigit() else None


def with_lifeline(environ: Mapping[str, str], fd: int) -> dict[str, str]:
    """`environ` for a child that reads its lifeline from `fd`."""
    return {**environ, _LIFELINE: str(fd)}


def _cast(name: str, shown: str, raw: str) -> Any:
    metadata = next(each.metadata for each in fields(Settings) if each.name == name)
    try:
        return metadata["cast"](raw)
    except casts.Unusable as error:
        value = "(hidden)" if metadata["secret"] else f"“{raw}”"
        raise BadInput(
            f"{shown} is {value}, which can't be used.", cure=f"Allowed: {metadata['allowed']}."
        ) from error


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
