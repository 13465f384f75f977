"""RFC 7143 without I/O: bytes in, decisions and bytes out."""
