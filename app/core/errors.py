"""Every error that ClairVision raises on purpose.

    ClairError
    ├── BadInput                 the caller can fix it: wrong argument, broken list, unknown kind
    │   ├── UnknownEvent
    │   ├── UnknownPhoto
    │   ├── UnknownRun
    │   ├── UnknownSource
    │   ├── UnknownGroup
    │   ├── UnknownCluster
    │   └── UnknownModel
    ├── NotAllowed               the principal may not do this
    │   └── NotSignedIn
    ├── Conflict                 it exists already, or another process holds it
    │   ├── AlreadyRunning
    │   └── PortTaken
    ├── PhotoRejected            this photo can't be indexed, and trying again would not help
    │   ├── ForbiddenAddress
    │   └── NotAnImage
    ├── TryAgain                 a passing fault; `after` says how long to wait
    │   ├── SourceUnavailable
    │   ├── EncoderWarming
    │   └── Overloaded
    ├── NotModified              the original is still the version that the caller holds
    ├── ServiceDown              PostgreSQL or Redis can't be reached
    ├── ModelUnavailable         weights missing or broken
    ├── HomeUnusable             the home folder can't be written
    └── DiskFull

Each carries a `message` that says what happened and, where there is one, a `cure` that says what to do.
Library exceptions are translated into these at the border, with the library's exception as their cause.
`app/web/errors.py` maps them to responses and `app/cli.py` to exit codes; no other place does.
"""


class ClairError(Exception):
    """Base of all deliberate errors. `str(error)` is one line for people: message, then cure."""

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message} {self.cure}".rstrip()


class BadInput(ClairError):
    """The request can't be carried out as it stands; the message says which part to change."""


class UnknownEvent(BadInput):
    def __init__(self, event: str) -> None:
        super().__init__(
            f"There is no event “{event}”.",
            cure="Check its name; the list of events shows them all.",
        )


class UnknownPhoto(BadInput):
    def __init__(self, photo_id: int) -> None:
        super().__init__(f"There is no photo {photo_id}.")


class UnknownRun(BadInput):
    def __init__(self, run_id: int) -> None:
        super().__init__(f"There is no run {run_id}.")


class UnknownSource(BadInput):
    def __init__(self, source_id: int) -> None:
        super().__init__(f"There is no source {source_id}.")


class UnknownGroup(BadInput):
    def __init__(self, group_id: int) -> None:
        super().__init__(
            f"There is no group {group_id} any more.",
            cure="The photos were grouped anew. Load the page again.",
        )


class UnknownCluster(BadInput):
    def __init__(self, cluster_id: int) -> None:
        super().__init__(
            f"There is no cluster {cluster_id} any more.",
            cure="The scenes were made anew. Load the page again.",
        )


class UnknownModel(BadInput):
    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"There is no model “{name}”.", cure=f"Known: {', '.join(known)}.")


class NotAllowed(ClairError):
    """The principal is known but may not perform the action."""


class NotSignedIn(NotAllowed):
    def __init__(self) -> None:
        super().__init__("This needs a sign-in.", cure="Sign in, or send a bearer token.")


class Conflict(ClairError):
    """The state of things forbids it: it exists already, or somebody else holds it."""


class AlreadyRunning(Conflict):
    """Another process already serves this home folder."""


class PortTaken(Conflict):
    """Another program listens on the wanted port."""


class PhotoRejected(ClairError):
    """The photo can't be indexed and a retry would end the same way. `reason` groups failures."""

    def __init__(self, reason: str, message: str, *, cure: str = "") -> None:
        super().__init__(message, cure=cure)
        self.reason = reason


class ForbiddenAddress(PhotoRejected):
    """The address leads where the server must not connect (SECURITY.md 9–12)."""

    def __init__(self, message: str, *, cure: str = "") -> None:
        super().__init__("forbidden-address", message, cure=cure)


class NotAnImage(PhotoRejected):
    """The bytes are not an image of a supported format, or a damaged one."""

    def __init__(self, message: str, *, reason: str = "not-an-image", cure: str = "") -> None:
        super().__init__(reason, message, cure=cure)


class TryAgain(ClairError):
    """A passing fault. `reason` groups failures; `after` is the wait in seconds, None if unknown."""

    def __init__(
        self, reason: str, message: str, *, after: float | None = None, cure: str = ""
    ) -> None:
        super().__init__(message, cure=cure)
        self.reason = reason
        self.after = after


class SourceUnavailable(TryAgain):
    """The origin did not answer, answered 429/5xx, or broke off."""


class EncoderWarming(TryAgain):
    """The query encoder has not answered yet."""

    def __init__(self, message: str = "The search model is still warming up.") -> None:
        super().__init__("warming", message, after=2.0, cure="Try again in a few seconds.")


class Overloaded(TryAgain):
    """A bounded resource is full; answered with 503 and Retry-After."""

    def __init__(self, message: str, *, after: float = 2.0) -> None:
        super().__init__("overloaded", message, after=after)


class NotModified(ClairError):
    """The original is unchanged: what is indexed still describes it. `version` where it has a new
    one all the same."""

    def __init__(self, version: str | None = None) -> None:
        super().__init__("The original is unchanged.")
        self.version = version


class ServiceDown(ClairError):
    """A service that everything needs (PostgreSQL, Redis) can't be reached."""


class ModelUnavailable(ClairError):
    """A model's weights are missing, incomplete or don't match their checksum."""


class HomeUnusable(ClairError):
    """The home folder can't be created or written."""


class DiskFull(ClairError):
    """Too little disk space is left to go on safely."""
