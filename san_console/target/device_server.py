"""The device server: the table of SCSI commands that a logical unit understands (SPC-4, SBC-3).

A command that is not in the table ends in ILLEGAL REQUEST, INVALID COMMAND OPERATION CODE. REPORT
SUPPORTED OPERATION CODES tells the same table.
"""

from __future__ import annotations

from collections.abc import Mapping

from san_console.scsi import opcodes as op
from san_console.target import (
    atomic_commands,
    copy_commands,
    inquiry_commands,
    log_commands,
    mode_commands,
    port_group_commands,
    primary_commands,
    provisioning_commands,
    read_write_commands,
    reservation_commands,
    sanitize_commands,
    support_commands,
    verify_commands,
)
from san_console.target.command import Command as Command
from san_console.target.command import by_action, cdb_bytes, guarded

_PARTS: tuple[Mapping[int, Command], ...] = (
    primary_commands.COMMANDS,
    inquiry_commands.COMMANDS,
    mode_commands.COMMANDS,
    log_commands.COMMANDS,
    read_write_commands.COMMANDS,
    verify_commands.COMMANDS,
    provisioning_commands.COMMANDS,
    atomic_commands.COMMANDS,
    copy_commands.COMMANDS,
    sanitize_commands.COMMANDS,
    reservation_commands.COMMANDS,
    port_group_commands.COMMANDS,
)


def _merged() -> dict[int, Command]:
    table: dict[int, Command] = {}
    for part in (*_PARTS, {op.MAINTENANCE_IN: by_action(support_commands.actions(COMMANDS))}):
        for opcode, command in part.items():
            other = table.get(opcode)
            if other is None:
                table[opcode] = command
                continue
            # Two parts may each have service actions of one operation code.
            assert other.actions
            assert command.actions
            assert not other.actions.keys() & command.actions.keys()
            table[opcode] = by_action({**other.actions, **command.actions})
    return {opcode: guarded(table[opcode]) for opcode in sorted(table)}


COMMANDS: dict[int, Command] = {}
COMMANDS.update(_merged())
for _opcode, _entry in COMMANDS.items():
    for _command in _entry.actions.values() or (_entry,):
        assert len(_command.usage) + 1 == cdb_bytes(_opcode), f"{_opcode:02x}"
