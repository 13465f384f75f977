"""Bytes on the way in and out: CRC32C, serial numbers, the receive buffer, hexdumps. No I/O."""
