"""Turns the bytes that a fuzzer makes up into the pieces that a harness wants."""

from __future__ import annotations


class Source:
    """Reads from the front; at the end everything is zero or empty, so that every input means something."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def __bool__(self) -> bool:
        return bool(self._data)

    def take(self, length: int) -> bytes:
        """At most `length` bytes."""
        taken = bytes(self._data[:length])
        self._data = self._data[length:]
        return taken

    def number(self, width_bytes: int) -> int:
        """A number of so many bytes."""
        return int.from_bytes(self.take(width_bytes), "big")

    def below(self, limit: int) -> int:
        """0 to `limit` - 1."""
        return self.number(2) % limit

    def block(self, max_bytes: int = 4096) -> bytes:
        """Bytes with a length of their own before them."""
        return self.take(min(self.number(2), max_bytes))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))
