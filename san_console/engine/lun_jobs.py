"""Long work on a LUN: copies to and from files, and measuring. Each is a job that can be cancelled."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from san_console.api.engine_objects import Job
from san_console.api.initiator_objects import Lun
from san_console.api.methods import BenchLun, FileToLun, LunToFile
from san_console.api.problems import ApiProblem
from san_console.engine.context import EngineContext
from san_console.engine.jobs import JobControl
from san_console.engine.luns import LunStore
from san_console.initiator.bench import run_bench
from san_console.initiator.transfer import FileEndpoint, UnitEndpoint, transfer
from san_console.names.display import visible

MAX_BENCH_SECONDS: Final = 3600.0
MAX_QUEUE_DEPTH: Final = 256
MAX_BENCH_BLOCK_BYTES: Final = 1024 * 1024


class LunJobs:
    """Starts the jobs of `luns.to_file`, `luns.from_file` and `luns.bench`."""

    def __init__(self, context: EngineContext, luns: LunStore) -> None:
        self._context = context
        self._luns = luns

    def to_file(self, params: LunToFile) -> Job:
        """Copy a range of a LUN to a file. Raises ApiProblem `bad-request`, `exists`, `storage`.

        The file is written under another name and gets its own at the end, so that a copy that failed
        is never taken for a whole one.
        """
        lun, unit = self._luns.find_ready(params.id)
        length = lun.size_bytes - params.offset_bytes if params.length_bytes is None else params.length_bytes
        _check_range(lun, params.offset_bytes, length)
        path = _absolute(params.path)
        if path.exists() and not params.overwrite:
            raise ApiProblem(
                "exists",
                f"The file {visible(str(path))} exists already.",
                side="operating system",
                check="choose another name, or allow it to be overwritten",
            )
        if path.exists() and not path.is_file():
            raise ApiProblem("bad-request", f"{visible(str(path))} is no file.", side="operating system")
        partial = path.with_name(f".{path.name}.part-{os.getpid()}")

        async def work(control: JobControl) -> dict[str, str]:
            try:
                with _create(partial) as file:
                    result = await transfer(
                        UnitEndpoint(unit),
                        FileEndpoint(file),
                        source_offset=params.offset_bytes,
                        length=length,
                        progress=control.progress,
                    )
                if params.overwrite:
                    partial.replace(path)
                else:
                    # Not replaced even when it appeared while the copy ran.
                    os.link(partial, path)
            finally:
                partial.unlink(missing_ok=True)
            return {"bytes": str(result.moved_bytes), "seconds": f"{result.seconds:.3f}", "path": str(path)}

        title = f"LUN {lun.lun} of {visible(lun.target)} to {visible(path.name)}"
        return self._context.jobs.start(
            "lun_to_file", title, work, object_id=lun.id, total=length, unit="bytes"
        )

    def from_file(self, params: FileToLun) -> Job:
        """Overwrite a range of a LUN with a file. Raises ApiProblem `bad-request` (wrong identity, too
        large, read-only), `storage`.
        """
        lun, unit = self._luns.find_ready(params.id)
        if params.confirm_identity != (lun.identity or lun.id):
            raise ApiProblem(
                "bad-request",
                "The LUN is not the one that was confirmed to be overwritten.",
                side="this side",
                check=f"its identity is {lun.identity or lun.id}",
                details={"identity": lun.identity or lun.id},
            )
        if lun.read_only:
            raise ApiProblem("forbidden", "The LUN is read-only.", side="target", check="its mapping")
        path = _absolute(params.path)
        with _open(path) as file:
            length = os.fstat(file.fileno()).st_size
        if length > lun.size_bytes - params.offset_bytes:
            raise ApiProblem(
                "bad-request",
                f"The file has {length} bytes, the LUN from that offset on has "
                f"{max(lun.size_bytes - params.offset_bytes, 0)}.",
                side="this side",
                check="the file, the offset and the LUN",
            )
        _check_range(lun, params.offset_bytes, length)

        async def work(control: JobControl) -> dict[str, str]:
            with _open(path) as file:
                # What stands behind the number is looked at once more: it is about to be overwritten.
                info = await unit.info()
                if info.identity != lun.identity:
                    raise ApiProblem(
                        "bad-request",
                        "Another unit stands behind this LUN than the one that was confirmed.",
                        side="target",
                        check="scan the LUNs again",
                    )
                try:
                    result = await transfer(
                        FileEndpoint(file),
                        UnitEndpoint(unit),
                        destination_offset=params.offset_bytes,
                        length=length,
                        progress=control.progress,
                    )
                finally:
                    # Also what a part of a write left is another content than before.
                    await self._luns.look_again(lun.id)
            return {"bytes": str(result.moved_bytes), "seconds": f"{result.seconds:.3f}"}

        title = f"{visible(path.name)} to LUN {lun.lun} of {visible(lun.target)}"
        job = self._context.jobs.start(
            "lun_from_file", title, work, object_id=lun.id, total=length, unit="bytes"
        )
        self._context.events.add(
            "lun_overwritten",
            f"LUN {lun.lun} of {lun.target} is being overwritten from {path.name}.",
            severity="warning",
            object_kind="lun",
            object_id=lun.id,
            cause=f"identity {lun.identity or 'none'}, {length} bytes from {params.offset_bytes} on",
        )
        return job

    def bench(self, params: BenchLun) -> Job:
        """Measure reading. Raises ApiProblem `bad-request`."""
        lun, unit = self._luns.find_ready(params.id)
        if not 0 < params.seconds <= MAX_BENCH_SECONDS:
            raise ApiProblem("bad-request", f"A measurement takes 0 to {MAX_BENCH_SECONDS:.0f} s.")
        if not 1 <= params.queue_depth <= MAX_QUEUE_DEPTH:
            raise ApiProblem("bad-request", f"The queue depth is from 1 to {MAX_QUEUE_DEPTH}.")
        size = params.block_bytes
        if not 0 < size <= MAX_BENCH_BLOCK_BYTES or size % lun.block_bytes or size > lun.size_bytes:
            raise ApiProblem(
                "bad-request",
                f"A block size of {size} bytes does not fit: a multiple of {lun.block_bytes} up to "
                f"{min(MAX_BENCH_BLOCK_BYTES, lun.size_bytes)} is needed.",
                side="this side",
            )

        async def work(control: JobControl) -> dict[str, str]:
            def progress(fraction: float, commands: int) -> None:
                control.progress(fraction * params.seconds, message=f"{commands} commands")

            result = await run_bench(
                unit,
                block_bytes=size,
                queue_depth=params.queue_depth,
                seconds=params.seconds,
                pattern=params.pattern,
                progress=progress,
            )
            figures = {
                "iops": f"{result.iops:.1f}",
                "bytes_per_s": f"{result.bytes_per_s:.0f}",
                "commands": str(result.commands),
                "errors": str(result.errors),
            }
            return figures | {f"latency_{name}_us": str(value) for name, value in result.latency_us.items()}

        title = f"Measuring LUN {lun.lun} of {visible(lun.target)}"
        return self._context.jobs.start(
            "lun_bench", title, work, object_id=lun.id, total=params.seconds, unit="s"
        )


def _check_range(lun: Lun, offset_bytes: int, length_bytes: int) -> None:
    if offset_bytes < 0 or length_bytes < 0 or offset_bytes + length_bytes > lun.size_bytes:
        raise ApiProblem(
            "bad-request",
            f"The LUN has {lun.size_bytes} bytes; the range lies outside of it.",
            side="this side",
        )


def _absolute(text: str) -> Path:
    path = Path(text)
    if "\0" in text or not path.is_absolute() or not path.name:
        raise ApiProblem(
            "bad-request",
            "A file is named by its whole path: the engine has another working folder than its clients.",
            side="this side",
        )
    return path


def _create(path: Path) -> BinaryIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        path.unlink(missing_ok=True)
        return open(os.open(path, flags, 0o600), "r+b")
    except OSError as error:
        raise _storage(path, error) from error


def _open(path: Path) -> BinaryIO:
    try:
        # Not blocking: a pipe without a writer must not hold up the engine.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _storage(path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ApiProblem("bad-request", f"{visible(str(path))} is no file.", side="operating system")
    return open(descriptor, "rb")


def _storage(path: Path, error: OSError) -> ApiProblem:
    return ApiProblem(
        "storage",
        f"{visible(str(path))}: {error.strerror}.",
        side="operating system",
        check="the path, its rights and the free space there",
    )
