"""What surrounds the handlers: hosts, health, static files, compression, log, size, memory."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.core.errors import BadInput, HomeUnusable
from app.main import create_app
from app.settings import Settings
from app.web.access_log import redacted
from app.web.assets import Bundle
from app.web.hosts import host_of
from tests.web.conftest import FixedVectorQueue

FORBIDDEN = ("torch", "torchvision", "onnxruntime", "numba", "umap", "faiss", "sklearn", "scipy")


def test_the_web_process_never_imports_a_model_library() -> None:
    code = f"import sys, app.main; print([m for m in {FORBIDDEN!r} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_health_and_readiness(anonymous: TestClient) -> None:
    assert anonymous.get("/healthz").json() == {"status": "ok"}
    assert anonymous.get("/readyz").json() == {"status": "ready"}


def test_not_ready_without_redis(
    web_settings: Settings, queue: FixedVectorQueue, static: Path
) -> None:
    settings = replace(web_settings, redis_url="redis://127.0.0.1:1/0")
    with TestClient(
        create_app(settings, jobs=queue, static=static), base_url="http://localhost"
    ) as c:
        answer = c.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert c.get("/healthz").status_code == 200
        assert c.post("/login", data={"name": "x"}).status_code == 403


def test_not_ready_without_postgresql(
    web_settings: Settings, queue: FixedVectorQueue, static: Path
) -> None:
    settings = replace(web_settings, database_url="postgresql://a:b@127.0.0.1:1/c")
    app = create_app(settings, jobs=queue, static=static)
    with TestClient(app, base_url="http://localhost", follow_redirects=False) as client:
        assert client.get("/readyz").status_code == 503
        client.cookies.set("clair", "something")
        page = client.get("/events")
        assert page.status_code == 503
        assert page.headers["retry-after"] == "5"
        assert 'data-retry-after="5"' in page.text


@pytest.mark.parametrize(
    ("host", "listens", "public", "status"),
    [
        ("localhost", "127.0.0.1", None, 200),
        ("127.0.0.1:8765", "127.0.0.1", None, 200),
        ("[::1]:8765", "127.0.0.1", None, 200),
        ("evil.example", "127.0.0.1", None, 421),
        ("192.168.1.5:8765", "127.0.0.1", None, 421),
        ("192.168.1.5:8765", "0.0.0.0", None, 200),
        ("[fe80::1]", "::", None, 200),
        ("evil.example", "0.0.0.0", None, 421),
        ("photos.example", "0.0.0.0", "https://photos.example", 200),
        ("PHOTOS.example:443", "0.0.0.0", "https://photos.example", 200),
        ("a.photos.example", "0.0.0.0", "https://photos.example", 421),
        ("localhost:x", "127.0.0.1", None, 421),
        ("localhost/evil", "127.0.0.1", None, 421),
        ("", "127.0.0.1", None, 421),
    ],
)
def test_hosts(
    tmp_path: Path,
    queue: FixedVectorQueue,
    static: Path,
    host: str,
    listens: str,
    public: str | None,
    status: int,
) -> None:
    settings = Settings(
        home=tmp_path,
        database_url="postgresql://nobody@127.0.0.1:1/none",
        redis_url="redis://127.0.0.1:1/0",
        host=listens,
        public_url=public,
    )
    client = TestClient(create_app(settings, jobs=queue, static=static))
    answer = client.get("/healthz", headers={"Host": host})
    assert answer.status_code == status
    assert "content-security-policy" in answer.headers


def test_host_of_takes_nothing_but_a_host() -> None:
    assert host_of("Localhost:80") == "localhost"
    assert host_of("[::1]:80") == "::1"
    for wrong in ("a@b", "a/b", "a?b", "a b:x", "[::1", "a:99999", ""):
        assert host_of(wrong) is None


def test_static_files(anonymous: TestClient) -> None:
    script = anonymous.get("/static/dist/assets/base-abc123.js")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-encoding"] == "gzip"
    assert anonymous.get("/favicon.ico").headers["location"] == "/static/icon.svg"
    icon = anonymous.get("/static/icon.svg")
    assert icon.headers["cache-control"] == "no-cache"
    known = {"If-None-Match": icon.headers["etag"]}
    assert anonymous.get("/static/icon.svg", headers=known).status_code == 304
    for hidden in (
        "dist/.vite/manifest.json",
        "../pyproject.toml",
        "%2e%2e/pyproject.toml",
        "none",
    ):
        assert anonymous.get(f"/static/{hidden}").status_code == 404


def test_pages_name_their_hashed_files(owner: TestClient) -> None:
    page = owner.get("/events").text
    assert '<script type="module" src="/static/dist/assets/base-abc123.js">' in page
    assert '<link rel="stylesheet" href="/static/dist/assets/base-abc123.css">' in page


def test_styles_of_imported_chunks_come_first(tmp_path: Path) -> None:
    (tmp_path / "dist" / ".vite").mkdir(parents=True)
    (tmp_path / "dist" / ".vite" / "manifest.json").write_text(
        """{"src/pages/base.ts": {"file": "b.js", "css": ["b.css"], "imports": ["_c.js"]},
            "_c.js": {"file": "c.js", "css": ["c.css"], "imports": ["_c.js"]},
            "src/pages/gallery.ts": {"file": "g.js", "imports": ["_c.js"], "css": ["g.css"]},
            "src/pages/duplicates.ts": {"file": "d.js"}, "src/pages/scenes.ts": {"file": "e.js"},
            "src/pages/photo.ts": {"file": "p.js"}, "src/pages/space.ts": {"file": "s.js"}}"""
    )
    assets = Bundle(tmp_path).of("gallery")
    assert assets.scripts == ["/static/dist/b.js", "/static/dist/g.js"]
    assert [Path(s).name for s in assets.styles] == ["c.css", "b.css", "g.css"]


def test_without_a_built_frontend_the_server_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(HomeUnusable, match="make setup"):
        Bundle(tmp_path)


def test_without_services_the_server_says_how_to_start_them(settings: Settings) -> None:
    with pytest.raises(BadInput, match="DATABASE_URL"):
        create_app(replace(settings, database_url=None))


def test_the_log_holds_no_secret(anonymous: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "app.web.access"):
        anonymous.get("/welcome/the-secret-of-the-link")
        anonymous.get("/login?next=/events?q=private")
    assert "GET /welcome/… 200" in caplog.text
    assert "secret" not in caplog.text
    assert "private" not in caplog.text
    assert redacted("/a\nb") == "/a?b"


def test_a_large_form_is_refused(owner: TestClient) -> None:
    answer = owner.post("/events", data={"name": "x" * 1_100_000})
    assert answer.status_code == 413
    assert "too large" in answer.text


def test_a_form_that_cannot_be_read_is_refused(owner: TestClient) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"name=%ff", b"name=\xff", b"name=a%00b", b"&".join([b"a=b"] * 101)):
        assert owner.post("/events", content=body, headers=headers).status_code == 400


def test_head_is_a_get_without_a_body(owner: TestClient, visitor: Callable[[], TestClient]) -> None:
    answer = owner.head("/events")
    assert (answer.status_code, answer.content) == (200, b"")
    assert visitor().head("/events").status_code == 303
