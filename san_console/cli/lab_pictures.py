"""Pictures of the window, taken by a process of its own: Qt and the walk's event loop do not meet."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from san_console.api.problems import ApiProblem
from san_console.console.engine_process import python_command, python_environment

PICTURES_TIMEOUT_S: Final = 120.0


async def take_pictures(folder: Path) -> list[str]:
    """Save a picture of each page of the window on this process's engine; the names of the files.

    Raises ApiProblem `internal` with what Qt said, or `timeout`.
    """
    process = await asyncio.create_subprocess_exec(
        *python_command("window", "--pictures", str(folder)),
        env=python_environment({"QT_QPA_PLATFORM": "offscreen"}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, complained = await asyncio.wait_for(process.communicate(), PICTURES_TIMEOUT_S)
    except TimeoutError:
        raise ApiProblem(
            "timeout", f"The pictures were not taken within {PICTURES_TIMEOUT_S:.0f} s.", side="the window"
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = complained.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise ApiProblem(
            "internal",
            f"The window could not be drawn: {' '.join(last) or f'exit {process.returncode}'}",
            side="the window",
            check="Are the system libraries that Qt needs installed? ./installers/run installs them.",
        )
    return said.decode("utf-8", "replace").splitlines()
