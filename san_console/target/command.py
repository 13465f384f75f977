"""One entry of the device server's table: what runs a command, and what is told about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from san_console.iscsi.target_task import TargetTask
from san_console.scsi.opcodes import CDB_BYTES_BY_GROUP
from san_console.scsi.sense import INVALID_FIELD_IN_CDB, INVALID_OPCODE, field_pointer
from san_console.target.check_condition import CheckCondition
from san_console.target.logical_unit import LogicalUnit, Result, UnitNexus

Run = Callable[[UnitNexus, TargetTask], Result]
Answer = Callable[[UnitNexus, bytes], bytes]
DataOutBytes = Callable[[UnitNexus, bytes], int]

NACA = 0x04
COMMAND_TIMEOUT_S = 60  # what open-iscsi and Windows give a disk before they abort


@dataclass(slots=True)
class Command:
    """One operation code, or one service action of it. `usage` are the CDB's bits that count, from octet 1
    on (SPC-4 §6.31.3).
    """

    run: Run
    usage: bytes
    data_out_bytes: DataOutBytes | None = None
    """How many bytes the CDB takes from the initiator; checks the CDB before they are asked for."""
    ignores_attention: bool = False
    """INQUIRY, REPORT LUNS and REQUEST SENSE work while a unit attention is pending (SAM-5 §5.14)."""
    actions: dict[int, Command] = field(default_factory=dict)
    """By service action, where the service action makes the command."""
    supported: Callable[[LogicalUnit], bool] | None = None
    """Whether this unit has the command; None: every unit has it."""
    strict: bool = False
    """True: bits that do not count have to be zero."""
    timeout_s: int = COMMAND_TIMEOUT_S

    def available(self, unit: LogicalUnit) -> bool:
        """True when `unit` has the command."""
        return self.supported is None or self.supported(unit)

    def check(self, cdb: bytes) -> None:
        """Refuse what no handler looks at. Raises CheckCondition."""
        if cdb[len(self.usage)] & NACA:  # the last octet, CONTROL; NormACA is clear (SAM-5 §5.2)
            raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(len(self.usage), 2))
        if self.strict:
            for octet, mask in enumerate(self.usage, 1):
                wrong = cdb[octet] & ~mask
                if wrong:
                    raise CheckCondition(
                        INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(octet, wrong.bit_length() - 1)
                    )


def answer(function: Answer) -> Run:
    """A handler that only reads the CDB."""
    return lambda nexus, task: function(nexus, task.cdb)


def usage(mask: str) -> bytes:
    """A usage map, from octet 1 of the CDB on."""
    return bytes.fromhex(mask)


def cdb_bytes(opcode: int) -> int:
    """The length of a CDB."""
    return CDB_BYTES_BY_GROUP[opcode >> 5]


def by_action(actions: dict[int, Command], *, strict: bool = False) -> Command:
    """An operation code whose commands are made by the service action in octet 1."""

    def chosen(unit: LogicalUnit, cdb: bytes) -> Command:
        command = actions.get(cdb[1] & 0x1F)
        if command is None or not command.available(unit):
            raise CheckCondition(INVALID_FIELD_IN_CDB, sense_key_specific=field_pointer(1, 4))
        return command

    def data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
        command = chosen(nexus.unit, cdb)
        command.check(cdb)
        return command.data_out_bytes(nexus, cdb) if command.data_out_bytes else 0

    def run(nexus: UnitNexus, task: TargetTask) -> Result:
        return chosen(nexus.unit, task.cdb).run(nexus, task)

    longest = max(len(command.usage) for command in actions.values())
    return Command(run, bytes(longest), data_out_bytes, actions=actions)


def guarded(command: Command) -> Command:
    """The command with its general checks in front of its own."""
    own = command.data_out_bytes

    def data_out_bytes(nexus: UnitNexus, cdb: bytes) -> int:
        if not command.available(nexus.unit):
            raise CheckCondition(INVALID_OPCODE)
        if not command.actions:  # the service action's own entry is checked by `own`
            command.check(cdb)
        return own(nexus, cdb) if own else 0

    return Command(
        command.run,
        command.usage,
        data_out_bytes,
        command.ignores_attention,
        command.actions,
        command.supported,
        command.strict,
        command.timeout_s,
    )
