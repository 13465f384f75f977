"""iSNS (RFC 4171) without I/O: messages, attributes, the object database and the rules of a server."""
