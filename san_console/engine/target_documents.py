"""Local targets as documents, the difference that one makes, and the way back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from san_console.api.engine_objects import Identity
from san_console.api.methods import ApplyTargets, ExportTargets, PlanTargets, UndoTargets
from san_console.api.plan_objects import ChangePlan, Disconnected, ObjectChange, TargetDocument, UndoStep
from san_console.api.problems import ApiProblem
from san_console.api.serving_objects import LocalTarget
from san_console.api.target_differences import chap_words, differences, field_changes
from san_console.api.target_document import (
    ChapEntry,
    TargetsDocument,
    chap_entry,
    identity_references,
    keep_ids,
    read_document,
    referenced_identity,
    with_identities,
    write_document,
)
from san_console.api.yaml_tree import DocumentError
from san_console.engine.change_history import ChangeHistory, DiscoveryChap, KeptStep, as_set
from san_console.engine.consequences import consequences, removal
from san_console.engine.context import EngineContext
from san_console.engine.discovery_access import DiscoveryAccess
from san_console.engine.problems import problem_of
from san_console.engine.serving import Serving
from san_console.engine.serving_config import checked, describe_lun, refuse_shrinking, storage_of, try_config
from san_console.engine.target_transition import Wanted
from san_console.names.display import visible
from san_console.names.errors import NamesError
from san_console.names.iscsi_name import normalise


class _Change:
    """What is to become of several targets, and of the CHAP of discovery (None: that stays)."""

    def __init__(self, targets: Wanted, discovery: DiscoveryChap | None) -> None:
        self.targets = targets
        self.discovery = discovery
        self.notes: list[str] = []


class _Rest:
    """What a change is besides targets: the CHAP of discovery, and the steps that it takes back."""

    def __init__(
        self,
        discovery: DiscoveryAccess,
        before: DiscoveryChap | None,
        after: DiscoveryChap | None,
        history: ChangeHistory,
        steps: Sequence[KeptStep],
    ) -> None:
        self._discovery = discovery
        self._before = before
        self._after = after
        self._history = history
        self._steps = steps

    def put(self) -> None:
        if self._after is not None:
            self._discovery.put(self._after)
        for step in self._steps:
            self._history.drop(step)

    def put_back(self) -> None:
        if self._before is not None:
            self._discovery.put(self._before)
        for step in self._steps:
            self._history.restore(step)


class TargetDocuments:
    """Exports, plans, applies and takes back."""

    def __init__(self, context: EngineContext, serving: Serving, discovery: DiscoveryAccess) -> None:
        self._context = context
        self._serving = serving
        self._discovery = discovery
        self._run = secrets.token_hex(4)

    async def export(self, params: ExportTargets) -> TargetDocument:
        """Raises ApiProblem `unknown-object`."""
        references = identity_references(self._identities())
        # An identity that was lost is named by its id, so that nothing is left out.
        names = {one: references.get(one, f"id:{one}") for one in self._used_identities()}
        if params.targets:
            targets = [self._serving.find(_name(one)) for one in dict.fromkeys(params.targets)]
        else:
            targets = sorted((one for one in self._serving.all() if not one.lab), key=lambda one: one.id)
        discovery: ChapEntry | None = None
        if not params.targets:
            current = self._discovery.current
            ids = [names.get(one, one) for one in current.identity_ids]
            discovery = chap_entry(ids, names.get(current.mutual_identity_id, ""))
        # Copies: the work is done in a thread, and targets may change meanwhile.
        ready = [with_identities(target, lambda one: names.get(one, f"id:{one}")) for target in targets]
        return TargetDocument(text=await asyncio.to_thread(write_document, ready, discovery))

    async def plan(self, params: PlanTargets) -> ChangePlan:
        """What `apply` would do. Raises ApiProblem `bad-request` (with the line), `unknown-object`."""
        document = await _read(params.text)
        async with self._serving.changing:
            return self._plan(self._wanted(document, params.only))

    async def apply(self, params: ApplyTargets) -> ChangePlan:
        """Do it, all or nothing. Raises the same, `conflict`, and what changes of targets raise."""
        document = await _read(params.text)
        async with self._serving.changing:
            self._check_base(params.base)
            change = self._wanted(document, params.only)
            made = self._plan(change)
            await self._carry_out(change, made, _summary(made))
        return made

    def undo_steps(self) -> list[UndoStep]:
        """Newest first."""
        return self._serving.history.shown()

    async def plan_undo(self, params: UndoTargets) -> ChangePlan:
        """What taking the newest steps back would do. Raises ApiProblem `unknown-object`."""
        async with self._serving.changing:
            return self._plan(self._before(self._steps(params.steps)))

    async def undo(self, params: UndoTargets) -> ChangePlan:
        """Take the newest steps back, all or nothing."""
        async with self._serving.changing:
            self._check_base(params.base)
            steps = self._steps(params.steps)
            change = self._before(steps)
            made = self._plan(change)
            await self._carry_out(change, made, "", steps)
            for step in steps:  # those of a change that made no difference
                self._serving.history.drop(step)
            await self._context.state.settled()
            self._context.events.add("targets_undone", f"Taken back: {'; '.join(one.text for one in steps)}.")
        return made

    # inside

    def _wanted(self, document: TargetsDocument, only: list[str]) -> _Change:
        wanted: Wanted = {}
        chosen = {_name(one) for one in only}
        for target in document.targets:
            with _at(document.lines[target.id], target.id):
                name = normalise(target.id)
                if chosen and name not in chosen:
                    continue
                if name in wanted:
                    raise ApiProblem("bad-request", "This target stands in the document twice.")
                old = self._serving.get(name)
                if old is not None:
                    keep_ids(target, old, document.made_ids[target.id])
                new = checked(with_identities(target, self._identity))
                if old is not None and old.lab:
                    raise ApiProblem(
                        "bad-request", "This is a target of the lab.", check="stop the lab first"
                    )
                if old is not None:
                    _keep_sizes(old, new)
                    refuse_shrinking(old, new)
                try_config(new)
                wanted[name] = new
        missing = chosen - wanted.keys()
        if missing:
            raise ApiProblem(
                "unknown-object",
                f"The document has no target {visible(min(missing))}.",
                side="the document",
                check="the names that were chosen",
            )
        if document.remove_others and not chosen:
            gone = (one.id for one in self._serving.all() if not one.lab and one.id not in wanted)
            wanted |= dict.fromkeys(gone)
        discovery = None
        if document.discovery is not None and not chosen:
            with _at(0, "discovery_chap"):
                mutual = document.discovery.mutual
                discovery = DiscoveryChap(
                    identity_ids=[self._identity(one) for one in document.discovery.identities],
                    mutual_identity_id=self._identity(mutual) if mutual else "",
                )
        return _Change(wanted, discovery)

    def _before(self, steps: list[KeptStep]) -> _Change:
        change = _Change({}, None)
        for step in steps:
            change.targets |= {name: as_set(target) for name, target in step.before.items()}
            change.discovery = step.discovery or change.discovery
        for name, new in change.targets.items():
            old = self._serving.get(name)
            if new is not None:
                change.notes += _what_stays(old, new)
        return change

    def _plan(self, change: _Change) -> ChangePlan:
        users = {one.id: one.user for one in self._identities()}
        made = ChangePlan(base=self._base(), notes=change.notes)
        for name, new in change.targets.items():
            old = self._serving.get(name)
            changes = differences(old, new, users)
            if not changes:
                continue
            sessions = self._serving.sessions.of(name)
            if new is not None:
                lines = consequences(old, new, sessions, users)
            elif old is not None:
                lines = removal(old, sessions)
            made.changes += changes
            made.consequences += lines
            by_id = {session.id: session for session in sessions}
            ended = {
                one: line.text for line in reversed(lines) if line.ends_sessions for one in line.session_ids
            }
            made.disconnects += [
                Disconnected(session_id=one, initiator=by_id[one].initiator, target=name, why=why)
                for one, why in ended.items()
                if by_id[one].session_type == "normal"
            ]
        made.changes += self._discovery_changes(change, users)
        return made

    def _discovery_changes(self, change: _Change, users: dict[str, str]) -> list[ObjectChange]:
        if change.discovery is None:
            return []
        old, new = self._discovery.current, change.discovery
        fields = field_changes(
            chap_words(old.identity_ids, old.mutual_identity_id, users),
            chap_words(new.identity_ids, new.mutual_identity_id, users),
        )
        if not fields:
            return []
        return [
            ObjectChange(
                target="", kind="discovery_chap", name="CHAP of discovery", action="changed", fields=fields
            )
        ]

    async def _carry_out(
        self, change: _Change, made: ChangePlan, text: str, steps: Sequence[KeptStep] = ()
    ) -> None:
        """Only what differs is touched. `steps` are taken back by it."""
        differing = {one.target for one in made.changes}
        wanted = {name: new for name, new in change.targets.items() if name in differing}
        discovery = change.discovery if "" in differing else None
        if not made.changes:
            return
        before = self._discovery.current if discovery is not None else None
        chap = await self._discovery.config(discovery) if discovery is not None else None
        rest = _Rest(self._discovery, before, discovery, self._serving.history, steps)
        await self._serving.transition(wanted, text, before, rest)
        if discovery is not None:
            await self._discovery.tell(chap)
        if text:
            self._context.events.add("targets_applied", f"{text}.")

    def _steps(self, count: int) -> list[KeptStep]:
        found = self._serving.history.newest(max(count, 0))
        if not found or len(found) < count:
            there = len(self.undo_steps())
            raise ApiProblem(
                "unknown-object",
                f"There are {there} changes that can be taken back."
                if there
                else "There is no change that can be taken back.",
                side="engine",
                check="the list of the steps, the newest first",
            )
        return found

    def _base(self) -> str:
        return f"{self._run}-{self._serving.history.revision}"

    def _check_base(self, base: str) -> None:
        if base and base != self._base():
            raise ApiProblem(
                "conflict",
                "The targets have changed since this was looked at.",
                side="engine",
                check="look at the difference again",
            )

    def _identities(self) -> list[Identity]:
        return list(self._context.registry.values("identities", Identity))

    def _used_identities(self) -> set[str]:
        current = self._discovery.current
        used = {*current.identity_ids, current.mutual_identity_id} - {""}
        return used.union(*(target.identities_in_use() for target in self._serving.all()))

    def _identity(self, reference: str) -> str:
        try:
            return referenced_identity(reference, self._identities())
        except KeyError:
            raise ApiProblem(
                "unknown-object",
                f"There is no CHAP identity “{visible(reference, 80)}” here, or more than one of this name.",
                side="the document",
                check="make it on the page Secrets, or write id: and the id of one of several",
            ) from None


@contextmanager
def _at(line: int, what: str) -> Iterator[None]:
    """Puts the place in the document in front of what is wrong there."""
    try:
        yield
    except (ApiProblem, NamesError) as error:
        problem = problem_of(error)
        where = f"Line {line}, {visible(what)}" if line else visible(what)
        raise ApiProblem(
            problem.code,
            f"{where}: {problem.message}",
            side="the document",
            check=problem.check or "this place of the document",
            details={"line": str(line)},
        ) from error


async def _read(text: str) -> TargetsDocument:
    try:
        return await asyncio.to_thread(read_document, text)
    except DocumentError as error:
        raise ApiProblem(
            "bad-request",
            visible(str(error), 2000),
            side="the document",
            check="an exported document, for comparison",
            details={"line": str(error.line)},
        ) from None


def _name(text: str) -> str:
    try:
        return normalise(text)
    except NamesError as error:
        raise ApiProblem("bad-request", str(error), side="this side") from None


def _keep_sizes(old: LocalTarget, new: LocalTarget) -> None:
    """A document that leaves the size of a LUN out means the one that it has."""
    sizes = {lun.id: (storage_of(lun), lun.size_bytes) for lun in old.luns}
    for lun in new.luns:
        storage, size_bytes = sizes.get(lun.id, ((), 0))
        if not lun.size_bytes and storage == storage_of(lun):
            lun.size_bytes = size_bytes


def _what_stays(old: LocalTarget | None, new: LocalTarget) -> list[str]:
    """What cannot be brought back; LUNs that have grown stay so."""
    notes = []
    now = {lun.id: lun for lun in old.luns} if old is not None else {}
    for lun in new.luns:
        there = now.get(lun.id)
        same = there is not None and storage_of(there) == storage_of(lun)
        if there is not None and same and there.size_bytes > lun.size_bytes:
            lun.size_bytes = there.size_bytes
            notes.append(f"LUN {describe_lun(new, lun.id)} of {visible(new.id)} has grown, and stays so.")
        if lun.kind == "memory" and not same:
            name = describe_lun(new, lun.id)
            notes.append(f"LUN {name} of {visible(new.id)} comes back empty: it was in memory.")
    return notes


def _summary(made: ChangePlan) -> str:
    names = list(dict.fromkeys(visible(change.target) or "discovery" for change in made.changes))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"A document was applied to {', '.join(names[:3])}{more}"
