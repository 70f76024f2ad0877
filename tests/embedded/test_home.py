"""The home folder: made closed, never somebody else's, never on a full disk."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.core.errors import AlreadyRunning, DiskFull, HomeUnusable
from app.core.marks import HOME_MARK
from app.embedded.home import ensure_space, hold_home, home_is_held, is_locked, prepare_home


def test_a_new_home_is_closed_to_others(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "deep" / "home")
    assert home.path.stat().st_mode & 0o777 == 0o700
    folders = {entry.name for entry in home.path.iterdir()}
    expected = {"pg", "redis", "blobs", "models", "run", "logs", "secrets", HOME_MARK}
    assert folders == expected


def test_preparing_twice_changes_nothing(tmp_path: Path) -> None:
    secret = prepare_home(tmp_path / "home").secret("signing")
    assert prepare_home(tmp_path / "home").secret("signing") == secret


def test_a_home_that_others_could_enter_is_closed(tmp_path: Path) -> None:
    prepare_home(tmp_path / "home").path.chmod(0o755)
    assert prepare_home(tmp_path / "home").path.stat().st_mode & 0o777 == 0o700


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    place = tmp_path / "home"
    place.write_text("a file")
    with pytest.raises(HomeUnusable, match="is not a folder") as raised:
        prepare_home(place)
    assert "CLAIR_HOME" in raised.value.cure


def test_a_file_above_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeUnusable, match="can't be used"):
        prepare_home(tmp_path / "file" / "home")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(HomeUnusable, match="Permission denied"):
            prepare_home(tmp_path / "home")
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.odt").write_text("years of work")
    with pytest.raises(HomeUnusable, match="other files"):
        prepare_home(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.odt"]


def test_a_fresh_volume_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    assert prepare_home(tmp_path).logs.is_dir()


def test_too_little_space_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(DiskFull, match="MB are needed"):
        prepare_home(tmp_path / "home", min_free=1 << 60)


def test_space_is_counted_in_bytes(tmp_path: Path) -> None:
    assert ensure_space(tmp_path, 1) > 1


def test_a_secret_is_long_private_and_the_same_for_all(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "home")
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: home.secret("signing"), range(32)))
    assert len(found) == 1
    assert len(found.pop()) == 43
    assert (home.secrets / "signing").stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in home.secrets.iterdir()] == ["signing"]


def test_a_second_holder_learns_who_the_first_is(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "home")
    with hold_home(home, "http://127.0.0.1:8765"):
        assert home_is_held(home)
        with (
            pytest.raises(AlreadyRunning, match=rf"http://127.0.0.1:8765 \(process {os.getpid()}"),
            hold_home(home, "http://127.0.0.1:9999"),
        ):
            pytest.fail("both hold the home")
    assert not home_is_held(home)


def test_a_killed_holder_holds_no_longer(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "home")
    script = (
        "import sys, time; from pathlib import Path;"
        "from app.embedded.home import Home, hold_home;"
        "held = hold_home(Home(Path(sys.argv[1])), 'http://here'); held.__enter__();"
        "print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, home.path], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert home_is_held(home)
        holder.kill()
    assert not home_is_held(home)


def test_no_lock_file_means_no_lock(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "never.lock")
