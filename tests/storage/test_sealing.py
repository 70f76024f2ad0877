"""Credentials at rest: only the installation's key opens them."""

import stat

import pytest

from app.core.errors import BadInput
from app.storage.engine import make_engine, session_scope
from app.storage.sealing import KEY_FILE, Sealer, secret_key
from app.storage.tables import Source

SECRETS = {"secret_key": "hunter2-hunter2", "token": "t-0123456789"}


def test_what_was_sealed_comes_back_and_cannot_be_read_at_rest():
    sealed = Sealer("one key").seal({**SECRETS, "empty": ""})
    assert all(value.encode() not in sealed for value in SECRETS.values())
    assert dict(Sealer("one key").unseal(sealed)) == SECRETS
    assert Sealer("one key").seal({"token": ""}) is None
    assert Sealer("one key").unseal(None) == ()


def test_another_key_or_a_changed_byte_is_an_error_that_says_what_to_do():
    sealed = Sealer("one key").seal(SECRETS)
    with pytest.raises(BadInput, match="CLAIR_SECRET_KEY"):
        Sealer("another key").unseal(sealed)
    changed = sealed[:-5] + bytes([sealed[-5] ^ 1]) + sealed[-4:]
    with pytest.raises(BadInput):
        Sealer("one key").unseal(changed)


def test_no_representation_shows_a_secret():
    source = Source(event_id=1, kind="s3", uri="s3://b/", options={"region": "x"})
    source.sealed = Sealer("k").seal(SECRETS)
    spec = Sealer("k").spec(source)
    assert spec.credential("token") == SECRETS["token"]
    assert spec.option("region") == "x"
    for shown in (repr(spec), str(spec), repr(source)):
        assert not any(value in shown for value in SECRETS.values())


def test_a_home_makes_its_key_once_for_its_owner_only(tmp_path):
    key = secret_key(tmp_path / "home", None)
    assert len(key) >= 32
    assert secret_key(tmp_path / "home", None) == key
    assert stat.S_IMODE((tmp_path / "home" / KEY_FILE).stat().st_mode) == 0o600
    assert secret_key(tmp_path / "home", "configured") == "configured"
    assert [path.name for path in (tmp_path / "home").iterdir()] == [KEY_FILE]


def test_a_process_with_another_key_finds_out(database_url):
    engine = make_engine(database_url)
    with session_scope(engine) as session:
        Sealer("first").check(session)
    with session_scope(engine) as session:
        Sealer("first").check(session)
    with pytest.raises(BadInput, match="secret key"), session_scope(engine) as session:
        Sealer("second").check(session)
    engine.dispose()
