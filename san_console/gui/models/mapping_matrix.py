"""Pending changes to the mappings of a local target: initiators × LUNs → nothing, read-only, read-write.

No Qt here. A draft starts from what the engine says, takes edits that can be undone, and is put on top of
the engine's newer state when that changes underneath.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from san_console.api.serving_objects import LocalTarget, Mapping
from san_console.gui.models.subjects import ANYONE, deciding, groups_of, means_many
from san_console.gui.translation import translate

Access = Literal["none", "read-only", "read-write"]
ACCESSES: Final[tuple[Access, ...]] = ("none", "read-only", "read-write")
"""In the order in which a cell is cycled."""

MAX_LUN: Final = 16383
"""The largest number of flat addressing (SAM-5 §4.7.7.3)."""

Cell = tuple[str, str]
"""Initiator and LUN id."""


def access_of(mapping: Mapping | None) -> Access:
    if mapping is None:
        return "none"
    return "read-only" if mapping.read_only else "read-write"


@dataclass(frozen=True, slots=True)
class Edit:
    """One cell before and after."""

    cell: Cell
    before: Mapping | None
    after: Mapping | None


class MappingDraft:
    """The mappings of one target as they would be after Apply."""

    def __init__(self, target: LocalTarget) -> None:
        self.base = target
        self._done: list[Edit] = []
        self._undone: list[Edit] = []
        self._base_cells: dict[Cell, Mapping] = {}
        self._cells: dict[Cell, Mapping] = {}
        self._build()

    # what is there

    @property
    def initiators(self) -> list[str]:
        """The rows: the named ones first, anyone last."""
        names = dict.fromkeys([*self.base.initiators, *(rule.initiator for rule in self.base.mappings)])
        return sorted(names, key=lambda name: name == ANYONE)

    def mapping(self, initiator: str, lun_id: str) -> Mapping | None:
        return self._cells.get((initiator, lun_id))

    def pending(self, initiator: str, lun_id: str) -> bool:
        """Whether the cell differs from what the engine has."""
        return self._cells.get((initiator, lun_id)) != self._base_cells.get((initiator, lun_id))

    def changes(self) -> list[Edit]:
        """The cells that differ, in the order of the matrix."""
        base = self._base_cells
        found = []
        for initiator in self.initiators:
            for lun in self.base.luns:
                cell = (initiator, lun.id)
                if base.get(cell) != self._cells.get(cell):
                    found.append(Edit(cell, base.get(cell), self._cells.get(cell)))
        return found

    def target(self) -> LocalTarget:
        """The target as it is to be saved."""
        order = {name: number for number, name in enumerate(self.initiators)}
        rules = sorted(self._cells.values(), key=lambda rule: (order.get(rule.initiator, 0), rule.lun))
        return msgspec.structs.replace(self.base, mappings=rules)

    def seen_by(self, initiator: str, address: str = "") -> list[Mapping]:
        """What an initiator would see, by number. Each LUN and each number goes to the most specific rule.

        For a row that means several (a pattern, a network, a group) what all of them see at least.
        """
        rows = self.initiators
        order = deciding(rows, initiator, address, groups_of(self.base))
        if initiator in rows and initiator not in order:
            order = [initiator, *(row for row in rows if row == ANYONE)]
        seen: dict[str, Mapping] = {}
        numbers: set[int] = set()
        for row in order:
            for lun in self.base.luns:
                rule = self._cells.get((row, lun.id))
                if rule is not None and rule.lun_id not in seen and rule.lun not in numbers:
                    seen[rule.lun_id] = rule
                    numbers.add(rule.lun)
        return sorted(seen.values(), key=lambda rule: rule.lun)

    def holders(self, lun_id: str) -> tuple[list[str], list[str]]:
        """The rows that may write to a LUN, and those that only read it."""
        writers = self.writers(lun_id)
        mapped = [name for name in self.initiators if (name, lun_id) in self._cells]
        return writers, [name for name in mapped if name not in writers]

    def writers(self, lun_id: str) -> list[str]:
        """The rows that may write to a LUN, in the order of the matrix."""
        if self._is_read_only(lun_id):
            return []
        return [
            name
            for name in self.initiators
            if (rule := self._cells.get((name, lun_id))) is not None and not rule.read_only
        ]

    def shared(self, lun_id: str) -> bool:
        """Whether more than one initiator may write: they need a file system made for that."""
        writers = self.writers(lun_id)
        return len(writers) > 1 or any(means_many(name) for name in writers)

    # edits

    def set_access(self, initiator: str, lun_id: str, access: Access) -> bool:
        """Change a cell; its number is kept or chosen. False when nothing changes.

        Read-write of a LUN whose storage is read-only becomes read-only.
        """
        if access == "none":
            return self._put((initiator, lun_id), None)
        old = self._cells.get((initiator, lun_id))
        number = old.lun if old is not None else self._free_number(initiator, lun_id)
        read_only = access == "read-only" or self._is_read_only(lun_id)
        return self._put(
            (initiator, lun_id), Mapping(initiator=initiator, lun_id=lun_id, lun=number, read_only=read_only)
        )

    def cycle(self, initiator: str, lun_id: str) -> bool:
        """none → read-only → read-write → none; read-only LUNs leave out the third."""
        choices = ACCESSES[:2] if self._is_read_only(lun_id) else ACCESSES
        now = access_of(self._cells.get((initiator, lun_id)))
        place = choices.index(now) if now in choices else 0
        return self.set_access(initiator, lun_id, choices[(place + 1) % len(choices)])

    def set_number(self, initiator: str, lun_id: str, number: int) -> bool:
        """Raises ValueError with a sentence for a number that cannot be."""
        old = self._cells.get((initiator, lun_id))
        if old is None:
            raise ValueError(translate("mapping_matrix", "Give access first, then a number."))
        if not 0 <= number <= MAX_LUN:
            raise ValueError(
                translate("mapping_matrix", "LUN numbers go from 0 to {last:,}.").format(last=MAX_LUN)
            )
        taken = {rule.lun: rule for rule in self._cells.values() if rule.initiator == initiator}
        if number in taken and taken[number].lun_id != lun_id:
            raise ValueError(
                translate("mapping_matrix", "This initiator has another LUN {number} already.").format(
                    number=number
                )
            )
        return self._put((initiator, lun_id), msgspec.structs.replace(old, lun=number))

    def undo(self) -> bool:
        if not self._done:
            return False
        edit = self._done.pop()
        self._undone.append(edit)
        self._set(edit.cell, edit.before)
        return True

    def redo(self) -> bool:
        if not self._undone:
            return False
        edit = self._undone.pop()
        self._done.append(edit)
        self._set(edit.cell, edit.after)
        return True

    @property
    def can_undo(self) -> bool:
        return bool(self._done)

    def discard(self) -> None:
        self._done.clear()
        self._undone.clear()
        self._build()

    def rebase(self, target: LocalTarget) -> None:
        """The engine has another state now. Pending cells stay pending as far as their row and LUN exist."""
        wanted = {edit.cell: edit.after for edit in self.changes()}
        self.base = target
        self._done.clear()
        self._undone.clear()
        self._build()
        luns = {lun.id for lun in target.luns}
        names = set(self.initiators)
        for (initiator, lun_id), mapping in wanted.items():
            if initiator in names and lun_id in luns:
                self._put((initiator, lun_id), mapping)

    # inside

    def _build(self) -> None:
        self._base_cells = {(rule.initiator, rule.lun_id): rule for rule in self.base.mappings}
        self._cells = dict(self._base_cells)

    def _is_read_only(self, lun_id: str) -> bool:
        return any(lun.id == lun_id and lun.read_only for lun in self.base.luns)

    def _free_number(self, initiator: str, lun_id: str) -> int:
        """The number that the cell had, else the usual one of the LUN, else the lowest that is free."""
        taken = {rule.lun for rule in self._cells.values() if rule.initiator == initiator}
        had = self._base_cells.get((initiator, lun_id))
        usual = Counter(rule.lun for rule in self._cells.values() if rule.lun_id == lun_id)
        wishes = [had.lun] if had is not None else []
        wishes += [number for number, _count in usual.most_common()]
        wishes += list(range(len(taken) + 1))
        return next(number for number in wishes if number not in taken)

    def _put(self, cell: Cell, after: Mapping | None) -> bool:
        before = self._cells.get(cell)
        if before == after:
            return False
        self._done.append(Edit(cell, before, after))
        self._undone.clear()
        self._set(cell, after)
        return True

    def _set(self, cell: Cell, mapping: Mapping | None) -> None:
        if mapping is None:
            self._cells.pop(cell, None)
        else:
            self._cells[cell] = mapping
