"""The contract between the engine and whoever talks to it: objects, methods, messages, problem codes.

`PROTOCOL.md` beside this file is the written form; both change together.
"""
