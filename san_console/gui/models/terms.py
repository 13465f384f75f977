"""The filter line: plain words and `key:value` terms, all of which must fit. `-word` must not fit."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass, field

from san_console.gui.translation import translate


@dataclass(frozen=True, slots=True)
class Terms:
    """A parsed filter line, all lower-case. `error` says why a line is not acceptable."""

    words: tuple[str, ...] = ()
    not_words: tuple[str, ...] = ()
    fields: tuple[tuple[str, str], ...] = field(default=())
    error: str = ""

    @property
    def empty(self) -> bool:
        return not (self.words or self.not_words or self.fields)


def parse_terms(line: str, keys: Collection[str]) -> Terms:
    """Parse a filter line. A colon in a word that begins no known key is part of the word: names have colons.

    A short `word:` before the colon that looks like a key, but is none, is an error that names the keys.
    """
    try:
        parts = shlex.split(line.lower(), posix=True)
    except ValueError:
        # An open quote while typing: take the words as they stand.
        parts = line.lower().replace('"', " ").replace("'", " ").split()
    words: list[str] = []
    not_words: list[str] = []
    fields: list[tuple[str, str]] = []
    for part in parts:
        key, colon, value = part.partition(":")
        if colon and key in keys:
            if value:
                fields.append((key, value))
        elif colon and key.isalpha() and not (value[:1] in ("", ":") or value.isdigit()):
            # Neither a term half typed, nor an IPv6 address, nor a host with its port.
            known = ", ".join(sorted(keys))
            return Terms(
                error=translate("terms", "There is no “{key}:” here. Known: {known}").format(
                    key=key, known=known
                )
            )
        elif part.startswith("-") and len(part) > 1:
            not_words.append(part[1:])
        elif part:
            words.append(part)
    return Terms(tuple(words), tuple(not_words), tuple(fields))
