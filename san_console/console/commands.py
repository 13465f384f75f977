"""The command lines that do what the window does, to copy: our own, and iscsiadm's.

No secret is ever in one: a secret file is named where one is needed, or the program asks.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from san_console.names.display import visible

_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def quoted(words: Sequence[str]) -> str:
    """The words as one line for a POSIX shell.

    Raises ValueError for a word with a control character: pasted into a terminal it would act before the
    shell could see the quotes.
    """
    for word in words:
        if _UNUSABLE.search(word) or visible(word, len(word) + 1) != word:
            raise ValueError(f"{visible(word)} cannot stand in a command")
    return shlex.join(words)


def discover(address: str, *, isns: bool = False, chap_user: str = "", mutual_user: str = "") -> str:
    words = ["san-console", "discover", address, *(["--isns"] if isns else [])]
    return quoted([*words, *_chap_words(chap_user, mutual_user)])


def login(
    target: str,
    portal: str,
    *,
    chap_user: str = "",
    mutual_user: str = "",
    header_digest: str = "",
    data_digest: str = "",
    favourite: bool = False,
) -> str:
    words = ["san-console", "login", target, "--portal", portal, *_chap_words(chap_user, mutual_user)]
    if header_digest:
        words += ["--header-digest", header_digest]
    if data_digest:
        words += ["--data-digest", data_digest]
    if favourite:
        words.append("--favourite")
    return quoted(words)


def logout(target: str) -> str:
    return quoted(["san-console", "logout", target])


def lun_url(portal: str, target: str, lun: int, *, user: str = "") -> str:
    """`iscsi://[user@]host:port/target/lun`, as the `lun` commands take it."""
    return f"iscsi://{f'{user}@' if user else ''}{portal}/{target}/{lun}"


def lun_info(url: str) -> str:
    return quoted(["san-console", "lun", "info", url])


def lun_read(url: str, path: str, *, offset_bytes: int = 0, length_bytes: int | None = None) -> str:
    words = ["san-console", "lun", "read", url]
    if offset_bytes:
        words += ["--offset", str(offset_bytes)]
    if length_bytes is not None:
        words += ["--length", str(length_bytes)]
    return quoted([*words, "--output", path])


def target_show(target: str) -> str:
    return quoted(["san-console", "target", "show", target])


def target_access(target: str, initiator: str, *, address: str = "") -> str:
    words = ["san-console", "target", "access", target, initiator]
    return quoted([*words, *(["--address", address] if address else [])])


def target_lun(action: str, target: str, lun_id: str, *, size: str = "") -> str:
    """`action` is `online`, `offline`, `retry`, `grow` or `clear-reservation`."""
    return quoted(["san-console", "target", action, target, lun_id, *([size] if size else [])])


def target_alua(target: str, tag: int, access_state: str) -> str:
    return quoted(["san-console", "target", "alua", target, str(tag), access_state])


def target_export(targets: Sequence[str], path: str) -> str:
    return quoted(["san-console", "target", "export", *targets, "--output", path])


def target_apply(path: str, *, only: Sequence[str] = ()) -> str:
    return quoted(
        ["san-console", "target", "apply", path, *(word for one in only for word in ("--only", one))]
    )


def target_undo(steps: int = 1) -> str:
    return quoted(["san-console", "target", "undo", *(["--steps", str(steps)] if steps > 1 else [])])


def iscsiadm_discover(address: str) -> str:
    return quoted(["iscsiadm", "-m", "discovery", "-t", "sendtargets", "-p", address])


def iscsiadm_login(target: str, portal: str, *, chap_user: str = "") -> str:
    """open-iscsi's way; its CHAP secret is to be set in its node record first, for which a line is added."""
    node = ["iscsiadm", "-m", "node", "-T", target, "-p", portal]
    lines = []
    if chap_user:
        for name, value in (
            ("node.session.auth.authmethod", "CHAP"),
            ("node.session.auth.username", chap_user),
        ):
            lines.append(quoted([*node, "-o", "update", "-n", name, "-v", value]))
        lines.append("# the secret: set node.session.auth.password in the node record, not on a command line")
    lines.append(quoted([*node, "--login"]))
    return "\n".join(lines)


def iscsiadm_logout(target: str, portal: str) -> str:
    return quoted(["iscsiadm", "-m", "node", "-T", target, "-p", portal, "--logout"])


def _chap_words(chap_user: str, mutual_user: str) -> list[str]:
    words = ["--chap-user", chap_user] if chap_user else []
    return words + (["--mutual-chap-user", mutual_user] if mutual_user else [])
