"""The steps that can be taken back: what local targets were before each change, kept with the state."""

from __future__ import annotations

from typing import Final

import msgspec

from san_console.api.plan_objects import UndoStep
from san_console.api.serving_objects import LocalTarget
from san_console.engine.context import EngineContext

KIND: Final = "undo"
MAX_STEPS: Final = 50


class DiscoveryChap(msgspec.Struct, kw_only=True):
    """What discovery sessions have to prove."""

    identity_ids: list[str] = []
    mutual_identity_id: str = ""


class KeptStep(msgspec.Struct, kw_only=True):
    """`before`: the targets as they were, None where there was none. CHAP identities are ids, as always."""

    number: int
    at: float
    text: str
    before: dict[str, LocalTarget | None]
    discovery: DiscoveryChap | None = None
    """None: it was not changed."""


class ChangeHistory:
    """Newest last. Everything is put into the state at once, and settled with the change itself."""

    def __init__(self, context: EngineContext) -> None:
        self._context = context
        self._steps = sorted(context.state.load(KIND, KeptStep), key=lambda step: step.number)
        self.revision = 0
        """Grows with each change; two equal ones in one run of the engine saw the same configuration."""

    def add(
        self, text: str, before: dict[str, LocalTarget | None], discovery: DiscoveryChap | None = None
    ) -> KeptStep:
        """A change was made. The targets are copied."""
        step = KeptStep(
            number=self._steps[-1].number + 1 if self._steps else 1,
            at=self._context.clock(),
            text=text,
            before={name: as_set(target) for name, target in before.items()},
            discovery=discovery,
        )
        self._steps.append(step)
        self._context.state.put(KIND, _id(step), step)
        for old in self._steps[:-MAX_STEPS]:
            self._context.state.delete(KIND, _id(old))
        del self._steps[:-MAX_STEPS]
        self.revision += 1
        return step

    def drop(self, step: KeptStep) -> None:
        """It was taken back, or never came to be."""
        if step in self._steps:
            self._steps.remove(step)
            self._context.state.delete(KIND, _id(step))
        self.revision += 1

    def restore(self, step: KeptStep) -> None:
        """It was not taken back after all."""
        self._steps = sorted([*self._steps, step], key=lambda one: one.number)
        self._context.state.put(KIND, _id(step), step)

    def newest(self, count: int) -> list[KeptStep]:
        """Newest first."""
        return self._steps[::-1][:count]

    def shown(self) -> list[UndoStep]:
        return [
            UndoStep(number=number, at=step.at, text=step.text, targets=list(step.before))
            for number, step in enumerate(reversed(self._steps), 1)
        ]


def _id(step: KeptStep) -> str:
    return f"{step.number:012d}"


def as_set(target: LocalTarget | None) -> LocalTarget | None:
    """A copy of a target with what was set of it, and nothing of what the engine tells."""
    if target is None:
        return None
    copy = msgspec.json.decode(msgspec.json.encode(target), type=LocalTarget)
    copy.state = "stopped"
    copy.problem = None
    copy.registrations = []
    for lun in copy.luns:
        lun.state = "online"
        lun.problem = None
        lun.identity = lun.unit_serial = ""
        lun.used_bytes = None
        lun.threshold_reached = False
    return copy
