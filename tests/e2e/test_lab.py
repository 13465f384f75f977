"""`san-console lab --headless`: every step holds, and nothing of the lab is left, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers import Process, wait_for

pytestmark = pytest.mark.e2e

STEPS = (
    "Start an engine of its own",
    "Start the lab",
    "Discover through iSNS",
    "Discover by SendTargets",
    "See whether the portals answer",
    "Be refused with a wrong secret",
    "Log in, CHAP in both directions",
    "Log in, open to anyone",
    "See the LUNs",
    "Write to a LUN",
    "Read it back",
    "Compare",
    "Watch live figures",
    "See both ends of the sessions",
    "Look at the time line",
    "Log out",
)


def environment(folder: Path) -> dict[str, str]:
    """The lab's temporary folders lie below `folder`, where the test sees them come and go."""
    return {**os.environ, "TMPDIR": str(folder), "HOME": str(folder), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's: in a longer one the lab takes the system's."""
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        yield Path(folder)


def processes_below(folder: Path) -> list[str]:
    """Processes whose state lies below `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes()
        except OSError:
            continue
        if f"SAN_CONSOLE_DATA_DIR={folder}".encode() in variables:
            found.append(process.name)
    return found


def test_every_step_holds_and_nothing_is_left(short_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "san_console", "lab", "--headless", "--json"],
        env=environment(short_path),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    document = json.loads(ended.stdout)
    assert document["schema"] == "san-console/lab/1"
    assert document["ok"] is True
    assert tuple(step["what"] for step in document["steps"]) == STEPS
    assert all(step["ok"] and step["figure"] for step in document["steps"])
    figures = {step["what"]: step["figure"] for step in document["steps"]}
    assert "mutual" in figures["Log in, CHAP in both directions"]
    assert "identical" in figures["Compare"]
    assert "IOPS" in figures["Watch live figures"]
    assert list(short_path.iterdir()) == []
    assert processes_below(short_path) == []


@pytest.mark.gui
def test_pictures_of_every_page_are_saved(tmp_path: Path) -> None:
    from PySide6.QtGui import QImage

    from san_console.gui.views.registry import PAGES

    folder = tmp_path / "pictures"
    temporary = tmp_path / "t"
    temporary.mkdir()
    ended = subprocess.run(
        [sys.executable, "-m", "san_console", "lab", "--headless", "--json", "--pictures", str(folder)],
        env=environment(temporary),
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    document = json.loads(ended.stdout)
    assert [step["what"] for step in document["steps"]][-2:] == ["Save a picture of each page", "Log out"]
    saved = [Path(name) for name in document["pictures"]]
    assert sorted(saved) == sorted(folder.iterdir())
    for page in PAGES:
        for theme in ("light", "dark"):
            assert any(path.name.startswith(f"{page.key}-{theme}-") for path in saved)
    for path in saved:
        picture = QImage(str(path))
        assert (picture.width(), picture.height()) in ((1280, 800), (1920, 1080))
        across = range(0, picture.width(), 3)
        colours = {picture.pixel(x, y) for x in across for y in range(0, picture.height(), 7)}
        assert len(colours) > 20, f"{path.name} shows nothing"
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_lab_leaves_nothing(short_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "san_console", "lab", "--headless"]
    with Process(command, env=environment(short_path)) as lab:
        lab.wait_until(lambda: "Write to a LUN" in lab.output, 60)
        lab.signal(number)
        lab.signal(signal.SIGINT)  # an impatient second time must not cut the clean-up short
        assert lab.wait(30) == 130
        assert "Traceback" not in lab.output
    assert list(short_path.iterdir()) == []
    wait_for(lambda: not processes_below(short_path), 10)


@pytest.mark.gui
def test_a_lab_with_its_window_goes_with_it(short_path: Path) -> None:
    command = [sys.executable, "-m", "san_console", "lab"]
    variables = {**environment(short_path), "QT_QPA_PLATFORM": "offscreen"}
    with Process(command, env=variables) as lab:
        lab.wait_until(lambda: len(processes_below(short_path)) == 2, 60)  # the engine and the window
        lab.signal(signal.SIGINT)
        assert lab.wait(30) == 130
    assert list(short_path.iterdir()) == []
    assert processes_below(short_path) == []
