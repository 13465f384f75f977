"""What `nameserver` raises."""

from san_console.isns import status
from san_console.names.display import visible

SIDE_SERVER = "iSNS server"
SIDE_NETWORK = "network"
SIDE_HERE = "this host"


class IsnsFailure(Exception):
    """Something that iSNS could not do: `cause` (a sentence), `side` (who decided), `check` (where to look).

    `status` is the status code that the server answered with, None when there was no such answer.
    """

    def __init__(self, cause: str, side: str, check: str, *, status: int | None = None) -> None:
        super().__init__(f"{cause} ({side}) {check}".rstrip())
        self.cause = cause
        self.side = side
        self.check = check
        self.status = status


def refused(what: str, code: int) -> IsnsFailure:
    """The failure for an answer with status `code` to the request `what`."""
    explanation = status.explain(code)
    return IsnsFailure(
        f"{what} was refused: {explanation.cause} ({explanation.name}, status {code})",
        SIDE_SERVER,
        explanation.check,
        status=code,
    )


def unreachable(portal: str, error: OSError | TimeoutError | None) -> IsnsFailure:
    """The failure for a server that cannot be connected to."""
    if isinstance(error, ConnectionRefusedError):
        reason = "the connection is refused"
    elif error is None or isinstance(error, TimeoutError):
        reason = "no answer in time"
    else:
        reason = visible(error.strerror or str(error), 160)
    return IsnsFailure(
        f"The iSNS server {portal} cannot be reached: {reason}.",
        SIDE_NETWORK,
        "Check the address, the port (iSNS uses 3205), that the server runs, and the firewall.",
    )
