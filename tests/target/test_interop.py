"""Initiators from outside against our target: libiscsi, QEMU; and tshark reads along."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from san_console.initiator import connect
from tests.peers import Process, free_port, need, wait_for
from tests.target.serving import NAME, secret_file, serve

pytestmark = pytest.mark.interop

MIB = 1 << 20


def run(*argv: str, timeout_s: float = 60.0) -> str:
    """The output of a program that has to succeed."""
    done = subprocess.run(
        argv, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
    )
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def test_iscsi_ls_and_iscsi_inq(tmp_path: Path) -> None:
    need("iscsi-ls", "libiscsi-bin")
    with serve([f"file:{tmp_path}/disk,size=64M", "memory:1M,ro"]) as serving:
        listing = run("iscsi-ls", "-s", f"iscsi://{serving.portal}")
        assert f"Target:{NAME} Portal:{serving.portal},1" in listing
        assert re.search(r"Lun:0 .*DIRECT_ACCESS \(Size:63M\)", listing)
        assert "Lun:1" in listing
        assert "Vendor:SANCNSL" in run("iscsi-inq", serving.url(0))
        pages = run("iscsi-inq", "-e", "1", "-c", "131", serving.url(0))
        assert "naa" in pages.lower() or "Designator" in pages


def test_qemu_img_copies_256_mib_in_and_out(tmp_path: Path) -> None:
    qemu_img = need("qemu-img", "qemu-utils qemu-block-extra")
    source, back = tmp_path / "source", tmp_path / "back"
    with source.open("wb") as stream:
        for _ in range(64):
            stream.write(os.urandom(MIB) * 2 + bytes(2 * MIB))
    with serve([f"file:{tmp_path}/disk,size=256M"]) as serving:
        run(qemu_img, "convert", "-n", "-f", "raw", "-O", "raw", str(source), serving.url(0), timeout_s=110)
        run(qemu_img, "convert", "-f", "raw", "-O", "raw", serving.url(0), str(back), timeout_s=110)
        assert serving.process.output.count("\n") == 1
    assert source.read_bytes() == back.read_bytes()
    assert (tmp_path / "disk").read_bytes() == source.read_bytes()


@pytest.mark.parametrize(("blocks", "depth"), [("1", "32"), ("8", "32"), ("512", "8")])
@pytest.mark.parametrize("lun", ["file", "memory:64M", "memory:64M,block=4096"])
def test_iscsi_perf_runs_without_an_error(tmp_path: Path, lun: str, blocks: str, depth: str) -> None:
    need("iscsi-perf", "libiscsi-bin")
    spec = f"file:{tmp_path}/disk,size=64M" if lun == "file" else lun
    with serve([spec]) as serving:
        report = run("iscsi-perf", "-b", blocks, "-m", depth, "-t", "1", "-r", serving.url(0))
        assert "finished" in report
        assert "iops average" in report
        assert serving.process.output.count("\n") == 1


def test_chap_with_a_good_and_a_bad_secret(tmp_path: Path) -> None:
    need("iscsi-inq", "libiscsi-bin")
    chap = ["--chap-user", "alice", "--chap-secret-file", secret_file(tmp_path, "one", "opensesame-1234")]
    mutual = [
        "--mutual-chap-user",
        "target",
        "--mutual-chap-secret-file",
        secret_file(tmp_path, "two", "anothersecret-99"),
    ]
    with serve(["memory:16M"], *chap, *mutual) as serving:
        good = serving.url(0, "alice%opensesame-1234@")
        assert "Vendor:SANCNSL" in run("iscsi-inq", good)
        both = good + "?target_user=target&target_password=anothersecret-99"
        assert "Vendor:SANCNSL" in run("iscsi-inq", both)
        assert "finished" in run("iscsi-perf", "-b", "8", "-m", "32", "-t", "1", good)
        for url in (
            serving.url(0),
            serving.url(0, "alice%opensesame-1235@"),
            serving.url(0, "bob%opensesame-1234@"),
        ):
            refused = subprocess.run(
                ["iscsi-inq", url], capture_output=True, text=True, timeout=30, check=False
            )
            assert refused.returncode != 0
        assert "opensesame" not in serving.process.output
        assert "anothersecret" not in serving.process.output
        assert serving.process.output.count("was refused") == 3


def test_the_access_list_decides(tmp_path: Path) -> None:
    need("iscsi-inq", "libiscsi-bin")
    mine, other = "iqn.2026-11.org.example:mine", "iqn.2026-11.org.example:other"
    with serve(["memory:16M"], "--acl", mine, "iqn.2026-11.org.example:lab-*") as serving:
        assert "Vendor" in run("iscsi-inq", "-i", mine, serving.url(0))
        assert "Vendor" in run("iscsi-inq", "-i", "iqn.2026-11.org.example:lab-7", serving.url(0))
        assert NAME in run("iscsi-ls", "-i", mine, f"iscsi://{serving.portal}")
        assert NAME not in run("iscsi-ls", "-i", other, f"iscsi://{serving.portal}")
        refused = subprocess.run(
            ["iscsi-inq", "-i", other, serving.url(0)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert refused.returncode != 0


async def use_every_way(url: str, digest: str) -> None:
    """Log in with our initiator, look around, write all kinds of sizes, read them back, log out."""
    async with connect(url, header_digest=digest, data_digest=digest) as session:
        unit = session.lun(0)
        info = await unit.info()
        assert (info.blocks, info.block_bytes) == (16 * MIB // 512, 512)
        for length in (512, 4096, 65536, 300 * 1024, 2 * MIB):
            data = os.urandom(length)
            await unit.write(7, data)
            await unit.write(3, data[:512], fua=True)
            assert bytes(await unit.read(7, length // 512)) == data
        await unit.flush()


@pytest.mark.parametrize("digest", ["none", "require"])
async def test_our_initiator_and_tshark_find_nothing_wrong(tmp_path: Path, digest: str) -> None:
    tshark = need("tshark", "tshark")
    capture = tmp_path / "login.pcap"
    port = free_port()
    with serve([f"file:{tmp_path}/disk,size=16M"], portal=f"127.0.0.1:{port}") as serving:
        argv = [tshark, "-i", "lo", "-f", f"tcp port {port}", "-B", "64", "-w", str(capture)]
        with Process(argv, end_signal=signal.SIGINT) as sniffer:
            sniffer.wait_until(lambda: "Capturing on" in sniffer.output)
            wait_for(capture.exists)
            await use_every_way(serving.url(0), digest)
            decode = ["-r", str(capture), "-d", f"tcp.port=={port},iscsi"]

            def logged_out() -> bool:
                argv = [tshark, *decode, "-Y", "iscsi.opcode == 0x26"]
                # The end of the file may be half a packet as yet.
                seen = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False).stdout
                return "Logout Response" in seen

            wait_for(logged_out, 30)

    def frames(display_filter: str, *more: str) -> str:
        return run(tshark, *decode, "-Y", display_filter, *more)

    assert frames("iscsi.opcode == 0x05 || iscsi.opcode == 0x01").count("\n") > 20
    bad = frames("_ws.malformed || (iscsi && (_ws.expert.severity >= 0x600000) && !tcp.analysis.flags)", "-V")
    assert bad == "", bad[:4000]
