"""What `scsi` raises."""


class ScsiError(Exception):
    """Something that SPC or SBC do not allow."""


class MalformedData(ScsiError):
    """Parameter data or a CDB breaks the format: too short, a length that lies, an impossible value."""


class UnusableGeometry(MalformedData):
    """A capacity or block size that no real logical unit has."""


class UnencodableValue(ScsiError, ValueError):
    """We were asked to build something that its field cannot hold."""
