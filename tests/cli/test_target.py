"""`san-console target serve` as its user sees it."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.target.serving import NAME, serve, start

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_the_luns_and_ends_cleanly(number: int) -> None:
    with start("--name", NAME, "--portal", "127.0.0.1:0", "--lun", "memory:1M", "null:1G") as process:
        process.wait_until(lambda: process.output.count("\n") == 2)
        first, second = process.output.splitlines()
        assert first.startswith("iscsi://127.0.0.1:")
        assert first.endswith(f"/{NAME}/0")
        assert second.endswith(f"/{NAME}/1")
        process.signal(number)
        assert process.wait(10) == 0
        assert process.output.count("\n") == 2


def test_json() -> None:
    with start("--name", NAME, "--portal", "127.0.0.1:0", "--lun", "memory:1M", "--json") as process:
        process.wait_until(lambda: process.output.rstrip().endswith("}"))
        data = json.loads(process.output)
        assert data["schema"] == "san-console/target-serve/1"
        assert data["target"] == NAME
        assert len(data["luns"]) == 1


def test_ipv6_and_several_portals() -> None:
    with serve(["memory:1M"], "--portal", "[::1]:0") as serving:
        assert serving.portal.startswith("127.0.0.1:")


def discovered(url: str) -> dict[str, Any]:
    """What an initiator is told at the portal of `url`."""
    import asyncio

    from san_console.names.portal import Portal
    from tests.target.raw_initiator import RawInitiator, settings

    async def ask() -> dict[str, Any]:
        portal = Portal.parse(url.split("/")[2])
        raw = await RawInitiator.open(portal.port, portal.host)
        login = await raw.login(settings(target_name=None))
        text = (await raw.send_targets("All")).decode()
        await raw.close()
        assert login.result is not None
        return {"text": text, "result": login.result}

    return asyncio.run(ask())


def log_in(url: str, **changes: object) -> Any:
    """The result of a login at the portal of `url`. Raises what the login raises."""
    import asyncio

    from san_console.names.portal import Portal
    from tests.target.raw_initiator import RawInitiator, settings

    async def ask() -> Any:
        portal = Portal.parse(url.split("/")[2])
        raw = await RawInitiator.open(portal.port, portal.host)
        try:
            return (await raw.login(settings(**changes))).result
        finally:
            await raw.close()

    return asyncio.run(ask())


def test_portal_groups_and_limits() -> None:
    from san_console.iscsi.negotiation import Offer

    words = ["--portal", "127.0.0.2:0,7", "--portal", "[::1]:0", "--max-connections", "3"]
    words += ["--error-recovery-level", "1", "--access-state", "7=active/non-optimized"]
    with serve(["memory:1M,physical=4096,wce=off", "memory:1M,thin,threshold=80"], *words) as serving:
        text = discovered(serving.urls[0])["text"]
        lines = text.rstrip("\0").split("\0")
        assert lines[0] == f"TargetName={NAME}"
        assert [line.rpartition(",")[2] for line in lines[1:]] == ["1", "1", "7"]
        assert [line.split("=")[1].rpartition(":")[0] for line in lines[1:]] == [
            "127.0.0.1",
            "[::1]",
            "127.0.0.2",
        ]
        offer = Offer(max_connections=8, error_recovery_level=2)
        result = log_in(serving.urls[0], offer=offer)
        assert (result.tpgt, result.params.max_connections, result.params.error_recovery_level) == (1, 3, 1)


@pytest.mark.parametrize("words", ["127.0.0.1:3260", "1=[::1]:3260,permanent"])
def test_redirects(words: str) -> None:
    from san_console.iscsi.errors import Redirected

    with serve(["memory:1M"], "--redirect", words) as serving, pytest.raises(Redirected) as error:
        log_in(serving.urls[0])
    assert error.value.permanent is words.endswith("permanent")
    assert error.value.address == words.removeprefix("1=").removesuffix(",permanent")


def test_access_by_network() -> None:
    from san_console.iscsi.errors import LoginFailed

    with serve(["memory:1M"], "--acl", "127.0.0.0/8", "iqn.2026-11.org.example:x@10.0.0.0/8") as serving:
        assert log_in(serving.urls[0]).tsih
    with serve(["memory:1M"], "--acl", "10.0.0.0/8") as serving, pytest.raises(LoginFailed) as error:
        log_in(serving.urls[0])
    assert (error.value.status_class, error.value.status_detail) == (2, 2)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--lun", "memory:1M", "--portal", "127.0.0.1:0,x"], 2, "no portal group tag"),
        (["--lun", "memory:1M", "--portal", "127.0.0.2:0,0"], 2, "tag of 0"),
        (["--lun", "memory:1M", "--redirect", "7=127.0.0.1:1"], 2, "no portal group 7"),
        (["--lun", "memory:1M", "--redirect", "127.0.0.1:1,forever"], 2, "permanent"),
        (["--lun", "memory:1M", "--redirect", "0.0.0.0:1"], 2, "Nobody can be redirected"),
        (["--lun", "memory:1M", "--access-state", "asleep"], 2, "choose one of"),
        (["--lun", "memory:1M", "--max-connections", "9"], 2, "max connections cannot be 9"),
        (["--lun", "memory:1M", "--error-recovery-level", "3"], 2, "error recovery level cannot be 3"),
        (["--lun", "memory:1M", "--acl", "10.0.0.1/8"], 2, "bits set behind its prefix"),
        (["--lun", "memory:1M,threshold=80"], 2, "not thin"),
        (["--lun", "file:/nonexistent/disk"], 1, "does not exist"),
        (["--lun", "file:/dev/null"], 1, "not a regular file"),
        (["--lun", "block:/etc/hostname"], 1, "not a block device"),
        (["--lun", "tape:1M"], 2, "does not say what the LUN is made of"),
        (["--lun", "memory:1M,block=1000"], 2, "block size of 1000"),
        (["--lun", "memory:much"], 2, "is not a size"),
        (["--lun", "memory:1M", "--chap-secret-file", "/nonexistent"], 1, "without its user"),
    ],
)
def test_what_is_refused(words: list[str], code: int, text: str) -> None:
    with start("--name", NAME, "--portal", "127.0.0.1:0", *words) as process:
        assert process.wait(20) == code
        assert text in process.output
        assert "Traceback" not in process.output


def test_a_file_that_is_too_small_or_not_writable(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(bytes(1000))
    with start("--name", NAME, "--portal", "127.0.0.1:0", "--lun", f"file:{small}") as process:
        assert process.wait(20) == 1
        assert "not a multiple of the block size" in process.output.replace("no multiple", "not a multiple")
    with start("--name", NAME, "--portal", "127.0.0.1:0", "--lun", f"file:{small},size=1M") as process:
        assert process.wait(20) == 1
        assert "too small" in process.output


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with start("--name", NAME, "--portal", f"127.0.0.1:{port}", "--lun", "memory:1M") as process:
            assert process.wait(20) == 1
            assert "already taken" in process.output


@pytest.mark.parametrize("name", ["nonsense", "iqn.2026-11.org.example:\u202e", "iqn.bad"])
def test_names_that_are_none(name: str) -> None:
    with start("--name", name, "--portal", "127.0.0.1:0", "--lun", "memory:1M") as process:
        assert process.wait(20) == 2
        assert "\u202e" not in process.output
