"""The framer of a target connection: lets the command loop read headers in place, without a frame object
per PDU.
"""

from __future__ import annotations

from san_console.iscsi.framing import Framer


class TargetFramer(Framer):
    """A Framer whose unread bytes can be looked at, and skipped, PDU by PDU.

    Only for connections without digests: whoever skips has checked lengths against `available` and
    `max_data_segment_bytes` itself.
    """

    __slots__ = ()

    def window(self) -> tuple[memoryview, int, int]:
        """The received bytes, where the next PDU starts in them, and where they end."""
        return self._unread, self._position, self._available

    def skip_to(self, position: int) -> None:
        """Everything before `position` was handled; `position` is the start of a PDU."""
        if position != self._position:
            self._position = position
            self._need = 0
