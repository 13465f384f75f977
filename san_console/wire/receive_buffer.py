"""The receive buffer: one `recv_into` takes what is there, whole PDUs are read from it without a copy.

A view that `readable()` gave out stays valid until the next `writable()` or `reserve()`: `consume()` moves
an index and nothing else. A memoryview over a bytearray forbids resizing, and old views may still be held
by a PDU in the hands of a slow consumer, so the buffer never resizes. It moves the unread octets to the
front (or into a larger, new bytearray); only what lies unread is copied, at most a part of one PDU when the
caller drains the buffer after each receive.
"""

MIN_FREE_BYTES = 4096
"""`writable()` compacts below this: smaller receives would cost a system call for a few octets."""


class ReceiveBuffer:
    """A bytearray with a read and a write index.

    `capacity` is in bytes. `writable()` never gives an empty view: when the buffer is full it grows by as
    much again, hence the caller (the framer) bounds what a peer may make it hold, through `reserve`.
    """

    __slots__ = ("_end", "_start", "_view")

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a receive buffer needs room for at least one octet, not {capacity}")
        self._view = memoryview(bytearray(capacity))
        self._start = 0
        self._end = 0

    def __len__(self) -> int:
        """Octets received and not consumed."""
        return self._end - self._start

    @property
    def capacity(self) -> int:
        """Octets that fit in all, read or unread."""
        return len(self._view)

    def writable(self) -> memoryview:
        """Space for `recv_into`, at least one octet; views given out before are no longer valid."""
        capacity = len(self._view)
        if self._start == self._end:
            self._start = self._end = 0
        elif capacity - self._end < MIN_FREE_BYTES and self._start:
            self._compact()
        if self._end == capacity:
            self._grow(capacity * 2)
        return self._view[self._end :]

    def wrote(self, n: int) -> None:
        """`n` octets were written at the front of the last `writable()`."""
        if not 0 <= n <= len(self._view) - self._end:
            raise ValueError(f"{n} octets written where {len(self._view) - self._end} had room")
        self._end += n

    def readable(self) -> memoryview:
        """All unread octets, not copied."""
        return self._view[self._start : self._end]

    def consume(self, n: int) -> None:
        """Drop the first `n` unread octets; the views on them stay valid until the next `writable()`."""
        if not 0 <= n <= self._end - self._start:
            raise ValueError(f"{n} octets consumed where {self._end - self._start} are unread")
        self._start += n

    def reserve(self, n_bytes: int) -> None:
        """Make sure that `n_bytes` octets, counted from the first unread one, fit without growing again."""
        if n_bytes > len(self._view):
            self._grow(n_bytes)
        elif n_bytes > len(self._view) - self._start:
            self._compact()

    def _compact(self) -> None:
        unread = self._end - self._start
        # memoryview assignment is a memmove: overlapping parts are safe.
        self._view[:unread] = self._view[self._start : self._end]
        self._start, self._end = 0, unread

    def _grow(self, capacity: int) -> None:
        unread = self._end - self._start
        view = memoryview(bytearray(capacity))
        view[:unread] = self._view[self._start : self._end]
        self._view = view
        self._start, self._end = 0, unread
