"""What happened on the demo host in the last days, and what is running there now."""

from __future__ import annotations

from typing import Final

from san_console.api.engine_objects import Job, Severity
from san_console.console.simulated.demo_initiator import LOSS_S, PREFIX
from san_console.console.simulated.demo_luns import GIB, TIB
from san_console.console.simulated.demo_serving import ARCHIVE, PROD
from san_console.console.simulated.world import World

_Story = tuple[float, Severity, str, str, str, str, str, str, str]

_LOST = ("The peer closed the connection.", "10.21.0.12:3260 (the target)", "Look at the array's own log.")
_SILENT = (
    "10.20.0.41:3260 gave no answer in 5.0 s.",
    "this computer, after waiting",
    "Is the archive array switched on?",
)
_MISSING = (
    "/mnt/archive/2024.img is not there.",
    "this computer's file system",
    "Is /mnt/archive mounted? Its mappings stay until it is back.",
)
_FULL = (
    "1.6 TiB of its 2.0 TiB are in use; its initiators were warned.",
    "this computer (the target prod)",
    "Grow the LUN, or let its initiators give back what they no longer use.",
)
_NONE = ("", "", "")

_STORY: Final[tuple[_Story, ...]] = (
    (352_900, "info", "engine_started", "engine", "engine", "The engine started.", *_NONE),
    (352_880, "info", "login", "session", "s2", "Logged in to prod-db at 10.21.0.11:3260.", *_NONE),
    (352_878, "info", "login", "session", "s1", "Logged in to prod-db at 10.20.0.11:3260.", *_NONE),
    (42_000, "info", "login", "session", "s3", "Logged in to prod-vm at 10.20.0.12:3260.", *_NONE),
    (41_990, "info", "login", "session", "s4", "Logged in to backup at 10.20.0.40:3260.", *_NONE),
    (32_400, "info", "target_login", "target_session", "t1", "db-1.example logged in to prod.", *_NONE),
    (32_395, "info", "target_login", "target_session", "t2", "db-2.example logged in to prod.", *_NONE),
    (10_800, "info", "target_login", "target_session", "t3", "esx-7.example logged in to prod.", *_NONE),
    (
        9_200,
        "warning",
        "digest_error",
        "session",
        "s3",
        "A header digest of prod-vm did not match; the connection was made anew.",
        "The CRC32C in a PDU's header differs from the one that was computed.",
        "this computer found it; it arose on the way or in the target",
        "Look at the error counters of ens192 and of the switch port.",
    ),
    (9_198, "info", "recovered", "session", "s3", "prod-vm is logged in again after 1.2 s.", *_NONE),
    (
        5_400,
        "error",
        "target_login_failed",
        "local_target",
        PROD,
        "An initiator was refused: esx-8.example.",
        "CHAP failed: the initiator's answer does not fit its secret.",
        "this computer (the target prod)",
        "Does esx-8 hold the secret of db-hosts or of esx-lab?",
    ),
    (3_600, "error", "lun_offline", "local_target", ARCHIVE, "LUN 2024 went offline.", *_MISSING),
    (2_100, "warning", "threshold_reached", "local_target", PROD, "LUN vm-store is 80 % full.", *_FULL),
    (1_320, "info", "target_login", "target_session", "t4", "This computer logged in to lab-1.", *_NONE),
    (1_320, "info", "login", "session", "s6", "Logged in to lab-1 at 127.0.0.1:3260.", *_NONE),
    (600, "error", "connection_lost", "session", "s5", "The connection to archive was lost.", *_SILENT),
    (598, "info", "retry_scheduled", "session", "s5", "Next try in 1 s.", *_NONE),
    (301, "warning", "retry_scheduled", "session", "s5", "Try 5 failed; next try in 16 s.", *_SILENT),
    (125, "info", "discovered", "source", "10.20.0.11:3260", "10.20.0.11:3260 named 5 targets.", *_NONE),
    (118, "error", "discovery_failed", "source", "10.20.0.99:3260", "Discovery failed.", *_SILENT),
    (95, "info", "target_new", "target", PREFIX + "prod-vm2", "prod-vm2 was found, a new one.", *_NONE),
    (95, "warning", "target_changed", "target", PREFIX + "prod-vm", "prod-vm has another portal.", *_NONE),
    (95, "warning", "target_vanished", "target", PREFIX + "old-array", "old-array is gone.", *_NONE),
    (LOSS_S[0], "error", "connection_lost", "session", "s3", "connection 2 lost", *_LOST),
    (22, "warning", "retry_scheduled", "session", "s5", "Try 6 failed; next try in 30 s.", *_SILENT),
    (LOSS_S[1], "info", "recovered", "session", "s3", "Traffic goes on over connection 1.", *_NONE),
)  # fmt: skip


def fill_story(world: World) -> None:
    """Events of the last days, and what is running now."""
    for ago, severity, kind, object_kind, object_id, text, cause, side, check in _STORY:
        world.event(
            severity,
            kind,
            object_kind,
            object_id,
            text,
            cause=cause,
            side=side,
            check=check,
            at=world.now - ago,
        )
    world.put(
        "jobs",
        Job(
            id="job-copy",
            kind="lun_to_file",
            title="Copy backup · LUN 2 to /srv/images/daily.img",
            object_id="s4/2",
            done=1_490 * GIB,
            total=4 * TIB,
            unit="bytes",
            message="212 MB/s, 3 h 36 min to go",
            started_at=world.now - 7_300,
        ),
    )
    world.put(
        "jobs",
        Job(
            id="job-probe",
            kind="probe",
            title="See which portals answer",
            done=17,
            total=22,
            unit="portals",
            started_at=world.now - 4,
        ),
    )
    world.put(
        "jobs",
        Job(
            id="job-bench",
            kind="lun_bench",
            title="Measure lab-1 · LUN 0",
            object_id="s6/0",
            state="done",
            done=10,
            total=10,
            unit="s",
            result={
                "iops": "61870",
                "bytes_per_s": "253419520",
                "p50_us": "92",
                "p99_us": "301",
                "pattern": "randread",
                "block_bytes": "4096",
                "queue_depth": "32",
            },
            started_at=world.now - 400,
            ended_at=world.now - 390,
        ),
    )
