"""Run inside `dbus-run-session`: commands that find their secrets in a real keyring, by the user's name.

Usage: python keyring_commands.py PORTAL TARGET. Standard input: the keyring's password, then user, secret,
mutual user and mutual secret, a line each. Prints what each command said as one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

from san_console.api.methods import SaveIdentity
from san_console.cli.engine_link import connect


def command(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "san_console", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said = {"words": words[:2], "code": done.returncode, "out": done.stdout, "err": done.stderr}
    print(json.dumps(said), flush=True)


async def save(identities: list[tuple[str, str]]) -> None:
    async with await connect() as client:
        for user, secret in identities:
            await client.call("identities.save", SaveIdentity(user=user, secret=secret))


def main() -> int:
    portal, target = sys.argv[1:]
    password, user, secret, mutual_user, mutual_secret = sys.stdin.read().splitlines()
    subprocess.run(
        ["gnome-keyring-daemon", "--unlock", "--components=secrets"],
        input=password,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    users = ["--chap-user", user, "--mutual-chap-user", mutual_user]
    try:
        asyncio.run(save([(user, secret), (mutual_user, mutual_secret)]))
        command("login", target, "--portal", portal, *users)
        command("lun", "info", f"iscsi://{portal}/{target}/1", *users, "--json")
        command("logout", target)
    finally:
        command("engine", "stop", "--force")
    return 0


if __name__ == "__main__":
    sys.exit(main())
