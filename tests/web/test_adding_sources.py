"""The form that adds a source: what it says of an address, what it asks for, what it refuses."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import Engine
from sqlmodel import select
from starlette.testclient import TestClient

from app.core.jobs import Job
from app.storage.engine import session_scope
from app.storage.tables import Event, Source
from tests.web.conftest import FixedVectorQueue, Seeder
from tests.web.rows import BUCKET, words
from tests.web.test_pages import inline_parts

Festival = tuple[Event, list[int]]
HERE = "/events/summer-festival/sources"
SECRET = "hunter2-and-nobody-else"


def test_an_empty_event_has_the_form_open_and_says_what_will_be(
    owner: TestClient, seed: Seeder
) -> None:
    seed.event("Gala")
    page = owner.get("/events/gala/sources").text
    assert re.search(r'<details[^>]*id="add"[^>]* open>', page)
    assert "No source yet" in page
    assert "They stay there" in page


SEEN: list[tuple[str, str, str, list[str]]] = [
    ("", "auto", "", []),
    ("https://photos.example/list.csv", "auto", "list", []),
    (BUCKET, "auto", "s3", ["option.region", "credential.secret_access_key"]),
    ("https://nas.example/photos/", "webdav", "webdav", ["option.user", "credential.password"]),
    ("/", "auto", "folder", []),
    ("ftp://photos.example", "auto", "", []),
    ("photos", "auto", "", []),
    ("/etc/passwd", "auto", "", []),
    ("", "s3", "s3", ["credential.access_key_id"]),
]


@pytest.mark.parametrize(("source", "kind", "found", "inputs"), SEEN)
def test_the_form_says_what_an_address_is_and_asks_for_what_its_kind_needs(
    owner: TestClient, source: str, kind: str, found: str, inputs: list[str]
) -> None:
    answer = owner.post("/source-fields", data={"source": source, "kind": kind})
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert f'data-kind="{found}"' in answer.text
    assert "data-sentence" in answer.text
    assert inline_parts(answer.text) == []
    for name in inputs:
        assert f'name="{name}"' in answer.text
    secrets = re.findall(r'<input type="password"[^>]*>', answer.text)
    assert len(secrets) == answer.text.count('name="credential.')
    assert all('value=""' in each for each in secrets)


def test_without_scripts_a_second_step_shows_the_fields(
    owner: TestClient, festival: Festival, queue: FixedVectorQueue
) -> None:
    form = {"source": BUCKET, "kind": "auto", "rescan": "86400", "step": "fields"}
    shown = owner.post(HERE, data=form | {"option.region": "eu-west-1", "credential.x": SECRET})
    assert shown.status_code == 200
    assert queue.sent == []
    assert f'value="{BUCKET}"' in shown.text
    assert 'name="option.region" value="eu-west-1"' in shown.text
    assert '<option value="86400" selected>' in shown.text
    assert SECRET not in shown.text


def test_a_source_is_added_with_options_credentials_and_a_schedule(
    owner: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    form = {
        "source": BUCKET, "kind": "auto", "rescan": "86400", "option.region": "eu-west-1",
        "option.endpoint": " ", "credential.access_key_id": "id",
        "credential.secret_access_key": SECRET,
    }  # fmt: skip
    added = owner.post(HERE, data=form)
    assert added.status_code == 303
    with session_scope(engine) as session:
        source = session.exec(select(Source).where(Source.kind == "s3")).one()
        assert added.headers["location"] == f"{HERE}#source-{source.id}"
        assert source.options == {"region": "eu-west-1"}
        assert source.rescan_seconds == 86_400
        assert SECRET.encode() not in bytes(source.sealed or b"")
    assert [job for job, _ in queue.sent] == [Job.DISCOVER]
    page = owner.get(HERE).text
    assert "Region: eu-west-1" in words(page)
    assert "Credentials stored" in page
    assert SECRET not in page


def test_a_refused_form_keeps_all_but_the_secrets(
    owner: TestClient, festival: Festival, queue: FixedVectorQueue
) -> None:
    wrong: list[tuple[dict[str, str], str]] = [
        ({"source": "/no/such"}, "no file or folder /no/such"),
        ({"source": "photos"}, "no address and no full path"),
        ({"source": BUCKET, "option.colour": "red"}, "takes no option “colour”"),
        ({"source": BUCKET, "rescan": "soon"}, "no schedule"),
        ({"source": BUCKET, "rescan": "7"}, "every 7 seconds"),
        ({"source": "https://h/list.txt", "kind": "folder"}, "no address of this kind"),
    ]
    for form, said in wrong:
        refused = owner.post(
            HERE, data={"option.region": "eu-west-1", "credential.session_token": SECRET, **form}
        )
        assert refused.status_code == 422, form
        assert said in words(refused.text), form
        assert f'name="source" value="{form["source"]}"' in refused.text.replace(
            'id="source" ', ""
        ).replace('type="text" ', "")
        assert re.search(r'id="source"[^>]*aria-invalid="true"', refused.text)
        assert SECRET not in refused.text
    assert (
        'value="eu-west-1"'
        in owner.post(
            HERE, data={"source": BUCKET, "option.region": "eu-west-1", "rescan": "7"}
        ).text
    )
    assert queue.sent == []


def test_fields_of_another_kind_are_not_taken_for_this_one(
    owner: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    """Without scripts the fields stay when the address is changed after they were shown."""
    stale = {"fields_of": "s3", "option.addressing": "path", "option.region": ""}
    form = {"source": "https://photos.example/list.txt", "kind": "auto", **stale}
    for entered in ({"option.region": "eu-west-1"}, {"credential.session_token": SECRET}):
        refused = owner.post(HERE, data=form | entered)
        assert refused.status_code == 422
        assert "was for another kind of source" in refused.text
        assert SECRET not in refused.text
    assert queue.sent == []
    assert owner.post(HERE, data=form).status_code == 303
    with session_scope(engine) as session:
        source = session.exec(select(Source).where(Source.uri == form["source"])).one()
    assert (source.kind, source.options) == ("list", {})


def test_a_choice_that_was_left_alone_is_no_option(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    form = {"source": BUCKET, "fields_of": "s3", "option.addressing": "path"}
    assert owner.post(HERE, data=form).status_code == 303
    other = {"source": f"{BUCKET}/2", "fields_of": "s3", "option.addressing": "virtual"}
    assert owner.post(HERE, data=other).status_code == 303
    with session_scope(engine) as session:
        found = session.exec(select(Source.options).where(Source.kind == "s3")).all()
    assert found == [{}, {"addressing": "virtual"}]
