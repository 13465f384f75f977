"""Texts in files, read and written off the window's thread: a folder on a dead server stops nobody."""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Callable
from typing import Final

import shiboken6
from PySide6.QtCore import QObject, Signal, Slot

from san_console.api.methods import MAX_DOCUMENT_BYTES
from san_console.api.problems import Problem
from san_console.gui.translation import translate
from san_console.names.display import visible

_ASK_FOR_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


def read_text(path: str, most_bytes: int = MAX_DOCUMENT_BYTES) -> str:
    """A regular file of UTF-8 text. Raises OSError, or ValueError with a sentence. Blocks."""
    # A pipe or a device would keep the thread for ever; opening it so does not wait for its other end.
    handle = os.open(path, os.O_RDONLY | _ASK_FOR_NO_WAIT)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError(translate("files", "It is no ordinary file."))
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise ValueError(
            translate("files", "It is larger than {most:,} bytes: no document of targets is.").format(
                most=most_bytes
            )
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(translate("files", "It is no text.")) from None


def write_text(path: str, text: str) -> None:
    """The whole text or nothing: a full disk leaves the former file. Raises OSError. Blocks."""
    temporary = f"{path}.{secrets.token_hex(4)}.part"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


class _Answers(QObject):
    """Lives in the window's thread: what other threads emit arrives there."""

    finished = Signal(bool, object)

    def __init__(self, take: Callable[[bool, object], None]) -> None:
        super().__init__()
        self._take = take
        self.finished.connect(self._finish)

    @Slot(bool, object)
    def _finish(self, well: bool, value: object) -> None:
        self._take(well, value)


class _Work:
    def __init__(self, work: Callable[[], object], path: str, answers: _Answers) -> None:
        self._work, self._path, self._answers = work, path, answers

    def run(self) -> None:
        try:
            result = self._work()
        except (OSError, ValueError) as error:
            # ValueError is also what a path with a zero byte gives.
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            problem = Problem(
                code="storage",
                message=f"{visible(self._path, 200)}: {visible(reason, 300)}",
                side=translate("files", "this computer's file system"),
                check=translate("files", "the path, and who may read and write there"),
            )
            self._tell(False, problem)
        else:
            self._tell(True, result)

    def _tell(self, well: bool, value: object) -> None:
        # The window may have closed meanwhile.
        if shiboken6.isValid(self._answers):
            self._answers.finished.emit(well, value)


class Files:
    """Does one thing after another. `done` and `failed` are called on the window's thread, unless `owner` is
    gone.
    """

    def __init__(self) -> None:
        self._open: set[_Answers] = set()

    @property
    def busy(self) -> bool:
        return bool(self._open)

    def read(
        self,
        path: str,
        done: Callable[[str], object],
        failed: Callable[[Problem], object],
        *,
        owner: QObject,
    ) -> None:
        self._start(lambda: read_text(path), path, done, failed, owner)

    def write(
        self,
        path: str,
        text: str,
        done: Callable[[None], object],
        failed: Callable[[Problem], object],
        *,
        owner: QObject,
    ) -> None:
        self._start(lambda: write_text(path, text), path, done, failed, owner)

    def _start(
        self,
        work: Callable[[], object],
        path: str,
        done: Callable[..., object],
        failed: Callable[[Problem], object],
        owner: QObject,
    ) -> None:
        def take(well: bool, value: object) -> None:
            self._open.discard(answers)
            if shiboken6.isValid(owner):
                (done if well else failed)(value)  # type: ignore[arg-type]  # a Problem where it failed

        answers = _Answers(take)
        self._open.add(answers)
        # Not Qt's pool: leaving waits for that, and this may hang in a system call for ever.
        threading.Thread(target=_Work(work, path, answers).run, name="file", daemon=True).start()
