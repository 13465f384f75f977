"""The main job from the terminal, against tgtd with CHAP in both directions."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.e2e.conftest import ChapTgtd, Console

pytestmark = [pytest.mark.e2e, pytest.mark.interop]

WRITTEN_BYTES = 64 << 20


def chap_words(
    console: Console, array: ChapTgtd, *, secret: str | None = None, mutual: str | None = None
) -> list[str]:
    return [
        "--chap-user",
        array.user,
        "--chap-secret-file",
        console.secret_file("chap", secret or array.secret),
        "--mutual-chap-user",
        array.mutual_user,
        "--mutual-chap-secret-file",
        console.secret_file("mutual", mutual or array.mutual_secret),
    ]


def test_the_main_job(console: Console, chap_tgtd: ChapTgtd) -> None:
    console.start_engine()
    found = console.json("discover", chap_tgtd.portal)
    assert [target["name"] for target in found["targets"]] == [chap_tgtd.TARGET]

    chap = chap_words(console, chap_tgtd)
    console.ok("login", chap_tgtd.TARGET, "--portal", chap_tgtd.portal, *chap)
    (session,) = console.json("sessions")["sessions"]
    assert session["target"] == chap_tgtd.TARGET
    assert session["state"] == "logged_in"
    assert "mutual" in session["auth"]

    luns = console.json("luns")["luns"]
    disks = [lun for lun in luns if lun["size_bytes"] == 96 << 20]
    assert len(disks) == 2
    assert len({lun["identity"] for lun in disks}) == 2

    console.ok("logout", chap_tgtd.TARGET)
    assert console.json("sessions")["sessions"] == []


@pytest.mark.parametrize("digest", ["none", "crc32c"])
def test_what_is_written_is_read_back(
    console: Console, chap_tgtd: ChapTgtd, tmp_path: Path, digest: str
) -> None:
    if digest == "crc32c":
        chap_tgtd.peer.set_key("HeaderDigest", "CRC32C")
        chap_tgtd.peer.set_key("DataDigest", "CRC32C")
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(os.urandom(WRITTEN_BYTES))
    url = f"iscsi://{chap_tgtd.portal}/{chap_tgtd.TARGET}/1"
    words = [*chap_words(console, chap_tgtd), "--header-digest", digest, "--data-digest", digest]

    console.ok("lun", "write", url, "--input", str(source), "--yes", *words)
    console.ok("lun", "read", url, "--length", str(WRITTEN_BYTES), "--output", str(copy), *words)

    assert digest_of(copy) == digest_of(source)
    # The file under the LUN has it too: what was read did not come from a cache of ours.
    with chap_tgtd.files[0].open("rb") as medium:
        assert hashlib.sha256(medium.read(WRITTEN_BYTES)).hexdigest() == digest_of(source)


def test_a_wrong_secret_of_ours_names_the_direction(console: Console, chap_tgtd: ChapTgtd) -> None:
    console.start_engine()
    words = chap_words(console, chap_tgtd, secret="not-the-secret-at-all")
    done = console.run("login", chap_tgtd.TARGET, "--portal", chap_tgtd.portal, *words)
    assert done.returncode == 1
    assert "target refused" in done.stderr.replace("\n", " ")
    assert "not-the-secret-at-all" not in done.stdout + done.stderr


def test_a_wrong_secret_of_the_target_names_the_direction(console: Console, chap_tgtd: ChapTgtd) -> None:
    console.start_engine()
    words = chap_words(console, chap_tgtd, mutual="not-the-targets-secret")
    done = console.run("login", chap_tgtd.TARGET, "--portal", chap_tgtd.portal, *words)
    assert done.returncode == 1
    assert "failed to prove itself" in done.stderr.replace("\n", " ")
    assert "not-the-targets-secret" not in done.stdout + done.stderr


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
