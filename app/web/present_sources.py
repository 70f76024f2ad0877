"""Sources, their runs and their failures into what the Sources tab shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from app.core.errors import BadInput
from app.core.failures import cure_for
from app.core.runs import FailedPhoto, RunSummary, SourceHealth
from app.core.sources import SourceField
from app.sources.kinds import Kind
from app.sources.open import KINDS, kind_of
from app.web import present
from app.web.commands import recognised
from app.web.contexts import RunRow
from app.web.source_contexts import (
    CardError,
    FailedRow,
    FieldRow,
    HealthRow,
    IgnoredRow,
    KindChoice,
    SourceCard,
    SourceFields,
)

SCHEDULES = {
    "": "never",
    "3600": "every hour",
    "21600": "every 6 hours",
    "86400": "every day",
    "604800": "every week",
}
# Sources say in words why they can't be read; these are of keys, passwords and the like.
_ABOUT_ACCESS = re.compile(r"credential|password|token|\bkeys?\b|sign.?in|signature|denied", re.I)
_UNFOLDED = 3
"""So many sources are shown in full; of more only those that work or need somebody."""


def kind_choices() -> list[KindChoice]:
    """Every kind of source, for a person to choose from."""
    return [KindChoice(kind.name, kind.title, kind.example) for kind in KINDS.values()]


def field_rows(kind: Kind, values: Mapping[str, str] | None = None) -> list[FieldRow]:
    """The inputs of a kind, with the options that were typed; credentials are never shown again."""
    given = values or {}
    return [_field(each, given) for each in kind.fields]


def _field(field: SourceField, given: Mapping[str, str]) -> FieldRow:
    return FieldRow(
        name=field.name,
        label=field.label,
        help=field.help,
        secret=field.secret,
        choices=list(field.choices),
        value="" if field.secret else given.get(field.name, ""),
    )


def without_defaults(kind: str, options: Mapping[str, str]) -> dict[str, str]:
    """The options that were chosen: a list that stands at its first choice was left alone."""
    fields = KINDS[kind].fields if kind in KINDS else ()
    first = {field.name: field.choices[0] for field in fields if field.choices}
    return {name: value for name, value in options.items() if first.get(name) != value}


def changed_options(
    kind: str, stored: Mapping[str, str], typed: Mapping[str, str]
) -> dict[str, str]:
    """What a form with all options of a kind says anew of them; an empty value removes one."""
    told = {**dict.fromkeys(typed, ""), **without_defaults(kind, typed)}
    kept = without_defaults(kind, stored)
    return {name: value for name, value in told.items() if kept.get(name, "") != value}


def look_at(source: str, kind: str, options: Mapping[str, str] | None = None) -> SourceFields:
    """What an address is, in a sentence, and what may be told of it; or why it can't be read."""
    if not source.strip():
        if kind in KINDS:
            chosen = KINDS[kind]
            return SourceFields(
                kind, chosen.title, f"For example {chosen.example}", field_rows(chosen, options)
            )
        return SourceFields("", "", "")
    try:
        uri, found = recognised(source, kind)
    except BadInput as error:
        return SourceFields("", "", str(error))
    chosen = kind_of(found)
    sentence = chosen.recognise(uri) or f"It is read as this: {chosen.title.lower()}."
    return SourceFields(found, chosen.title, sentence, field_rows(chosen, options))


def source_card(
    health: SourceHealth,
    run: RunSummary | None,
    *,
    sources: int,
    ignored: Sequence[tuple[int, int]] = (),
    error: CardError | None = None,
) -> SourceCard:
    """`sources` is how many the event has: of few each is shown unfolded. `ignored` is (run, count)
    of the runs that have ignored failures."""
    row = present.run_row(run) if run else None
    others = _other_troubles(health, run)
    attention = sum(group.count for group in others) + (row.failing if row else 0)
    state = _state(health, row, attention)
    kind = KINDS.get(health.kind)
    fields = kind.fields if kind else ()
    labels = {field.name: field.label for field in fields}
    mine = error if error and error.source_id == health.id else None
    typed = {**health.options, **(mine.options if mine else {})}
    busy = state not in ("well", "new")
    return SourceCard(
        id=health.id,
        kind=health.kind,
        title=kind.title if kind else health.kind,
        uri=health.uri,
        base=health.base,
        state=state,
        attention=attention,
        options=[(labels.get(n, n), v) for n, v in sorted(health.options.items())],
        has_credentials=health.has_credentials,
        photos=health.photos,
        indexed=health.indexed,
        vanished=health.vanished,
        health=others,
        trouble=health.trouble,
        scanned_at=health.scanned_at,
        next_scan_at=health.next_scan_at,
        rescan_seconds=health.rescan_seconds,
        secrets=[_field(field, {}) for field in fields if field.secret],
        settings=[_field(f, typed) for f in fields if not f.secret],
        leading=[field.label for field in fields if field.leads],
        locked_out=any(field.secret for field in fields) and _locked_out(health),
        run=row,
        unfolded=sources <= _UNFOLDED or busy or mine is not None,
        ignored=[IgnoredRow(run_id, count) for run_id, count in ignored],
        error=mine,
    )


def _locked_out(health: SourceHealth) -> bool:
    refused = any(each.reason in ("unauthorised", "forbidden") for each in health.troubles)
    return refused or bool(health.trouble and _ABOUT_ACCESS.search(health.trouble))


def _other_troubles(health: SourceHealth, run: RunSummary | None) -> list[HealthRow]:
    """A source's troubles without those that its run shows as failures already."""
    shown = {group.reason: group.count for group in run.failures} if run else {}
    return [
        HealthRow(
            each.reason,
            each.count - shown.get(each.reason, 0),
            each.example_uri,
            each.message,
            each.cure,
        )
        for each in health.troubles
        if each.count > shown.get(each.reason, 0)
    ]


def _state(health: SourceHealth, run: RunRow | None, attention: int) -> str:
    if run is not None and run.is_open:
        return run.state
    if health.trouble is not None or (run is not None and run.state == "failed"):
        return "trouble"
    if attention:
        return "attention"
    return "well" if health.scanned_at or health.photos else "new"


def schedules(cards: Sequence[SourceCard]) -> list[tuple[str, str]]:
    """(seconds, words) to choose from; one that was set elsewhere is offered too."""
    odd = {str(card.rescan_seconds) for card in cards if card.rescan_seconds} - set(SCHEDULES)
    return [*SCHEDULES.items(), *((s, f"every {_words(int(s))}") for s in sorted(odd, key=int))]


def _words(seconds: int) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds % length == 0:
            return f"{seconds // length} {unit}"
    return f"{seconds} seconds"


def failed_row(failed: FailedPhoto) -> FailedRow:
    return FailedRow(
        photo_id=failed.photo_id,
        uri=failed.uri,
        name=present.file_name(failed.uri) or failed.uri[:80],
        reason=failed.reason,
        message=failed.message,
        retriable=failed.retriable,
    )


def cure_of(reason: str) -> str:
    """What to do about failures of one reason; nothing for the failures of all."""
    return cure_for(reason) if reason else ""
