"""Run inside `dbus-run-session`: the main job with secrets in a real keyring, watched from outside.

Usage: python keyring_session.py PORTAL TARGET EXPORT_FOLDER. Standard input: the keyring's password, then
user, secret, mutual user and mutual secret, a line each, so that no secret is in an argument. Prints one JSON
line for each step.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from san_console.api.initiator_objects import LoginSettings
from san_console.api.methods import ById, Login, Logout, QueryEvents, SaveIdentity, TryIdentity
from san_console.rpc.client import EngineClient


def unlock_keyring(password: str) -> None:
    """Starts the daemon on this bus; it ends with the bus."""
    words = ["gnome-keyring-daemon", "--unlock", "--components=secrets"]
    subprocess.run(
        words, input=password, text=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def say(step: str, **what: object) -> None:
    print(json.dumps({"step": step, **what}), flush=True)


async def walk(portal: str, target: str, folder: Path, lines: list[str]) -> None:
    user, secret, mutual_user, mutual_secret = lines
    async with await EngineClient.connect() as client:
        keyring = await client.call("keyring.check")
        say("keyring", state=keyring.state, backend=keyring.backend)
        ours = await client.call("identities.save", SaveIdentity(user=user, secret=secret))
        theirs = await client.call("identities.save", SaveIdentity(user=mutual_user, secret=mutual_secret))
        say("identities", places=[ours.place, theirs.place])
        trial = await client.call(
            "identities.test", TryIdentity(id=ours.id, mutual_id=theirs.id, target=target, portal=portal)
        )
        say("test", ok=trial.ok, text=trial.text)
        login = LoginSettings(identity_id=ours.id, mutual_identity_id=theirs.id)
        session = await client.call("sessions.login", Login(target=target, portal=portal, login=login))
        say("login", state=session.state, auth=session.auth)
        events = await client.call("events.query", QueryEvents())
        (folder / "events.json").write_text(json.dumps([event.text + event.cause for event in events]))
        await client.call("sessions.logout", Logout(id=session.id))
        # Logged in again from what the keyring holds, after the engine has forgotten what it was told.
        say("logout")
        for identity in (ours, theirs):
            await client.call("identities.remove", ById(id=identity.id))
        say("removed")


def main() -> int:
    portal, target, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    password, *lines = sys.stdin.read().splitlines()
    unlock_keyring(password)
    engine = subprocess.Popen([sys.executable, "-m", "san_console", "engine", "run"])
    try:
        asyncio.run(wait_for_engine())
        say("pids", engine=engine.pid, driver=os.getpid())
        asyncio.run(walk(portal, target, folder, lines))
        # Everything that is told to people, as files.
        for words in (["sessions"], ["luns"], ["engine", "status"]):
            done = subprocess.run(
                [sys.executable, "-m", "san_console", *words, "--json"],
                capture_output=True,
                text=True,
                check=True,
            )
            (folder / f"{'-'.join(words)}.json").write_text(done.stdout)
    finally:
        engine.terminate()
        code = engine.wait(20)
    say("ended", code=code)
    return 0


async def wait_for_engine() -> None:
    from san_console.api.problems import ApiProblem

    for _ in range(400):
        try:
            client = await EngineClient.connect()
        except ApiProblem:
            await asyncio.sleep(0.05)
        else:
            await client.close()
            return
    raise SystemExit("the engine did not start")


if __name__ == "__main__":
    sys.exit(main())
