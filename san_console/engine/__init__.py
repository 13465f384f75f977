"""The engine: one process per host and user that composes initiator, target and name server.

Its parts talk to those libraries by plain data and their callbacks; no RPC handler ever touches a PDU.
"""
