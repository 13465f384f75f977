"""What `isns` raises."""


class IsnsError(Exception):
    """Anything that goes wrong in this package."""


class LocalProtocolError(IsnsError):
    """This side was asked to send something that RFC 4171 does not allow or that does not fit its fields."""


class RemoteProtocolError(IsnsError):
    """The peer broke a rule.

    `status` is the code to answer with (RFC 4171 §5.4); `function` and `transaction` are those of the PDU at
    fault, None where they are unknown or must not be answered. After a `fatal` one the byte stream has no
    known PDU boundary any more, so the connection ends.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        function: int | None = None,
        transaction: int | None = None,
        fatal: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.function = function
        self.transaction = transaction
        self.fatal = fatal


class Refused(IsnsError):
    """A request that the server answers with `status`, and `attributes` naming what was at fault, if any."""

    def __init__(self, status: int, message: str, attributes: tuple[tuple[int, bytes], ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.attributes = attributes
