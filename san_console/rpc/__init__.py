"""The RPC: a core without I/O (`peer`, `calls`), with asyncio around it (`client`, `server`)."""
