"""The tables of operation codes hang together."""

from san_console.scsi import opcodes as op


def test_every_constant_has_a_name() -> None:
    constants = {
        name: value
        for name, value in vars(op).items()
        if name.isupper() and isinstance(value, int) and not name.startswith("SA_")
    }
    assert set(constants.values()) == set(op.OPCODE_NAMES)
    assert len(set(op.OPCODE_NAMES.values())) == len(op.OPCODE_NAMES)


def test_service_actions_belong_to_named_commands() -> None:
    assert {opcode for opcode, _ in op.SERVICE_ACTION_NAMES} <= set(op.OPCODE_NAMES)
    assert all(0 <= action <= 0x1F for _, action in op.SERVICE_ACTION_NAMES)


def test_lengths_by_group() -> None:
    assert op.CDB_BYTES_BY_GROUP[op.INQUIRY >> 5] == 6
    assert op.CDB_BYTES_BY_GROUP[op.READ_10 >> 5] == 10
    assert op.CDB_BYTES_BY_GROUP[op.READ_12 >> 5] == 12
    assert op.CDB_BYTES_BY_GROUP[op.READ_16 >> 5] == 16
