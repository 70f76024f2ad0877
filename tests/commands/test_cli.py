"""The command line against a real installation: what a person or a script would meet."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import psutil
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def indexed(installation, photos):
    """An event whose photos are indexed, with faces."""
    from tests.origin import Answer, Origin

    answers = {f"/{name}": Answer(data) for name, data in photos.items()}
    answers["/list.txt"] = Answer("\n".join([*photos, "missing.jpg"]).encode())
    with Origin(answers) as origin:
        yield origin, installation.json("ingest", "Summer party", origin.url("/list.txt"), "--wait")


def test_ingest_reports_what_became_of_every_photo(indexed, photos):
    _, report = indexed
    assert report["discovered"] == len(photos) + 1
    assert report["indexed"] == len(photos)
    assert report["unchanged"] == 0
    ((failed),) = report["failed"]
    assert failed["uri"].endswith("/missing.jpg")
    assert failed["reason"] == "not-found"
    assert report["photos_per_second"] > 0
    assert report["seconds"] > 0


def test_search_finds_real_photos_by_words(indexed, installation):
    for words, file in (
        ("a cat", "chelsea"),
        ("a cup of coffee", "coffee"),
        ("a rocket launch", "rocket"),
    ):
        hits = installation.json("search", "summer-party", words, "--limit", "3")
        assert [hit["rank"] for hit in hits] == [1, 2, 3]
        assert hits[0]["score"] >= hits[1]["score"] >= hits[2]["score"]
        assert any(file in hit["uri"] for hit in hits), (words, hits)
        assert set(hits[0]) == {"rank", "score", "photo_id", "uri"}


def test_a_second_ingest_changes_nothing(indexed, installation, photos):
    origin, _ = indexed
    again = installation.json("ingest", "summer-party", origin.url("/list.txt"), "--wait")
    assert again["unchanged"] == len(photos)
    assert again["indexed"] == 0


def test_faces_come_once_they_are_allowed(indexed, installation):
    origin, _ = indexed
    code, out, _ = installation.run("faces", "summer-party", "--on", "--purpose", "To find guests.")
    assert code == 0
    assert "ingested again" in " ".join(out.split())
    installation.json("ingest", "summer-party", origin.url("/list.txt"), "--wait")
    (event,) = [e for e in installation.json("status")["events"] if e["slug"] == "summer-party"]
    assert event["faces"] >= 2  # the astronaut and the officer
    code, _, err = installation.run("faces", "summer-party", "--on")
    assert code == 2
    assert "purpose" in err


def test_a_folder_is_a_source_too(installation, photos, tmp_path):
    for name in list(photos)[:3]:
        (tmp_path / name).write_bytes(photos[name])
    report = installation.json("ingest", "Folder event", str(tmp_path), "--wait")
    assert (report["discovered"], report["indexed"]) == (3, 3)
    (tmp_path / next(iter(photos))).write_bytes(photos["chelsea.jpg"])
    again = installation.json("ingest", "folder-event", str(tmp_path), "--wait")
    assert (again["indexed"], again["unchanged"]) == (1, 2)


def test_the_graph_can_be_watched_and_built_again(indexed, installation, eventually):
    def states():
        found = installation.json("graph", "status", "summer-party")["stages"]
        return {stage["stage"]: stage["state"] for stage in found}

    eventually(lambda: set(states().values()) == {"done"})
    unchanged = installation.json("graph", "build", "summer-party")["stages"]
    assert unchanged[0]["skipped"]
    anew = installation.json("graph", "build", "summer-party", "--anew")["stages"]
    assert not anew[0]["skipped"]
    assert anew[0]["figures"]["photos"] == unchanged[0]["figures"]["photos"] > 3
    code, out, _ = installation.run("graph", "status", "summer-party")
    assert code == 0
    assert "graph" in out
    assert "done" in out
    assert installation.run("graph", "link", "summer-party", "summer-party")[0] == 2
    code, _, err = installation.run("graph", "build", "no-such-event")
    assert code == 2
    assert "no-such-event" in err


def test_status_counts_and_lists_workers(indexed, installation, eventually):
    eventually(lambda: len(installation.json("status")["workers"]) == 3)
    status = installation.json("status")
    assert status["running"] is True
    assert {w["queues"] for w in status["workers"]} == {"discover, ingest", "query", "graph"}
    assert any(event["slug"] == "summer-party" for event in status["events"])
    code, out, _ = installation.run("status")
    assert code == 0
    assert "Summer party" in out


def test_a_wait_ends_when_somebody_pauses_and_following_shows_it(installation, photos, eventually):
    from app.commands.common import connect, ingests
    from app.ingest.figures import latest_run
    from app.settings import Settings
    from app.storage.engine import session_scope
    from app.storage.events import find_event
    from tests.origin import Answer, Origin

    connected = connect(Settings.from_environment({}, home=installation.home))
    service = ingests(connected)

    def run():
        with session_scope(connected.engine) as session:
            event = find_event(session, "slow-event")
            return latest_run(session, event.id) if event else None

    names = list(photos)[:3]
    answers = {f"/{name}": Answer(photos[name]) for name in names}
    answers["/list.txt"] = Answer("\n".join(names).encode())
    following = command(installation, "status", "--follow", "--json")
    with Origin(answers, delay=6) as origin:  # long enough to decide while they are on their way
        waiting = command(installation, "ingest", "Slow event", origin.url("/list.txt"), "--wait")
        eventually(run)
        service.pause(run().id, by="test")
        _, err = waiting.communicate(timeout=120)
        assert waiting.returncode == 1
        assert f"`clairvision run resume {run().id}`" in " ".join(err.split())
        told = [json.loads(following.stdout.readline())]
        while told[-1]["state"] != "paused":
            told.append(json.loads(following.stdout.readline()))
        service.resume(run().id, by="test")
        while told[-1]["state"] != "done":
            told.append(json.loads(following.stdout.readline()))
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=60)
    assert following.returncode == 0
    assert "paused" in {each["state"] for each in told}
    assert (told[-1]["indexed"], told[-1]["discovered"]) == (3, 3)
    connected.engine.dispose()


def command(installation, *arguments):
    """A command that goes on beside the test."""
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", *arguments, "--home", str(installation.home)],
        env={**os.environ, **installation.env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_tokens_open_the_api(indexed, installation):
    token = installation.json("token", "create", "--scope", "read")["token"]
    address = (
        f"http://127.0.0.1:{installation.port}/api/v1/events/summer-party/search?q=cat&limit=2"
    )
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        hits = json.load(answer)["items"]
    assert "chelsea" in hits[0]["uri"]
    assert {"photo_id", "uri", "score"} <= set(hits[0])


def test_a_second_up_on_the_same_home_says_so(installation):
    code, _, err = installation.run("up", "--port", "18999")
    assert code == 1
    assert f":{installation.port}" in err
    assert "already runs" in " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("search", "nowhere", "x"), 2, "no event “nowhere”"),
        (("search", "summer-party", "  "), 2, "empty"),
        (("ingest", "e", "/no/such/place"), 2, "no file or folder"),
        (("ingest", "e", ""), 2, "source is empty"),
        (("ingest", "e", "http://x/a.txt", "--kind", "ftp"), 2, "no kind of source"),
        (("token", "create", "--scope", "all"), 2, "no scope"),
        (("models", "pull", "ViT-Q-99/none"), 2, "ViT-Q-99"),
        (("doctor", "--profile", "gigantic"), 2, "gigantic"),
    ],
)
def test_bad_usage_is_told_in_a_sentence_with_a_cure(indexed, installation, arguments, code, said):
    found, out, err = installation.run(*arguments)
    assert (found, out) == (code, "")
    assert said in " ".join(err.split())
    assert "Traceback" not in err


def test_an_empty_folder_is_a_failure_that_says_so(installation, tmp_path):
    code, _, err = installation.run("ingest", "Empty", str(tmp_path), "--wait")
    assert code == 1
    assert "No photos were found" in " ".join(err.split())


def test_doctor_finds_everything_well(installation):
    checks = installation.json("doctor")
    assert {"python", "settings"} <= {check["name"] for check in checks}
    assert all(check["ok"] for check in checks), checks


class TestWithoutAnInstallation:
    def test_commands_say_how_to_start_it(self, installation, tmp_path):
        for command in (("search", "e", "x"), ("ingest", "e", str(tmp_path)), ("token", "create")):
            code, _, err = installation.run(*command, home=tmp_path / "other")
            assert code == 1
            assert "clairvision up" in err

    def test_down_where_nothing_runs(self, installation, tmp_path):
        code, out, _ = installation.run("down", home=tmp_path / "other")
        assert code == 0
        assert "Nothing runs" in out

    def test_a_taken_port(self, installation, tmp_path):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = str(taken.getsockname()[1])
            code, _, err = installation.run("up", "--port", port, home=tmp_path / "other")
        assert code == 1
        assert port in err
        assert "--port" in err

    def test_a_home_that_cannot_be(self, installation, tmp_path):
        (tmp_path / "file").write_text("in the way")
        code, _, err = installation.run("up", "--port", "18998", home=tmp_path / "file" / "home")
        assert code == 1
        assert "Traceback" not in err

    def test_weights_that_cannot_be_had_name_the_three_ways_out(self, installation, tmp_path):
        code, _, err = installation.run(
            "models",
            "pull",
            "ViT-L-14/openai",
            "--mirror",
            "http://127.0.0.1:9",
            home=tmp_path / "other",
        )
        assert code == 1
        said = " ".join(err.split())
        assert "--from FILE" in said
        assert "--profile pocket" in said


def test_down_leaves_no_process_behind(installation, tmp_path, photos):
    """A second installation, because the first one serves the other tests."""
    from tests.installation import free_port

    home = tmp_path / "second"
    code, _, err = installation.run("up", "--detach", "--port", str(free_port()), home=home)
    assert code == 0, err
    state = json.loads((home / "run" / "supervisor.json").read_text())
    family = [psutil.Process(state["pid"]), *psutil.Process(state["pid"]).children(recursive=True)]
    assert len(family) > 6
    assert installation.run("down", home=home)[0] == 0
    others = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(home) in str(process.info["cmdline"]) and process.pid != os.getpid()
    ]
    _, alive = psutil.wait_procs({*family, *others}, timeout=20)
    assert alive == []
