"""Text from peers, made fit for a label, a log line, a terminal or a CSV file.

A target chooses its alias, its INQUIRY strings and its error texts. None of them may start a new line,
reverse the reading direction, hide characters, or run in a spreadsheet. What would act instead of being
seen is written as `\\u{202e}`. Showing text never fails: lone surrogates are shown like the rest.
"""

import re
import unicodedata

ELLIPSIS = "…"

DEFAULT_LIMIT = 512
"""Longer than any iSCSI name (223 bytes) or text value (255 bytes), short enough for a tooltip."""

CSV_CELL_LIMIT = 32767
"""The most that spreadsheets keep in one cell."""

MAX_COMBINING_MARKS = 4
"""Marks in a row on one character; written languages stay at or below this, floods overdraw other lines."""

# Control, format (bidi, joiners, tags), surrogate, private use, unassigned, line and paragraph separator.
_ESCAPED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_COMBINING_CATEGORIES = frozenset({"Mn", "Me", "Mc"})
# Blank on screen, yet letters, marks or symbols by category: CGJ, Hangul fillers, Khmer inherent vowels,
# Mongolian selectors, the empty Braille cell.
_BLANK_CHARACTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")

# A spreadsheet reads a cell that starts with one of these as a formula; the full-width forms as well.
_FORMULA_STARTS = frozenset("=+-@|%\t\r\n＝＋－＠")
_PLAIN_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")

# Scripts that are written together, so that a mix of them is no sign of a look-alike (UTS #39, "highly
# restrictive").
_COMPATIBLE_SCRIPTS = (
    frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
)


def acts_or_hides(character: str) -> bool:
    """True for one character that `visible` would write as an escape."""
    return _is_escaped(character, unicodedata.category(character))


def _is_escaped(character: str, category: str) -> bool:
    if category in _ESCAPED_CATEGORIES or character in _BLANK_CHARACTERS:
        return True
    if category == "Zs":
        return character != " "
    # Variation selectors choose a glyph and show nothing themselves.
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def visible(text: str, limit: int = DEFAULT_LIMIT) -> str:
    """`text` on one line, with nothing in it that acts or hides; at most `limit` characters, cut with `…`.

    Characters that would act or be invisible become `\\u{hex}`; of a run of combining marks the first
    `MAX_COMBINING_MARKS` stay and the rest becomes `\\u{+N}`, N being how many.
    """
    if text.isascii() and text.isprintable():
        return text if len(text) <= limit else text[: max(limit - 1, 0)] + ELLIPSIS
    parts: list[str] = []
    length = 0
    marks = 0
    # One closing turn with an empty character writes the count of a flood that reaches the end.
    for character in (*text, ""):
        category = unicodedata.category(character) if character else ""
        piece = character
        if category in _COMBINING_CATEGORIES and not _is_escaped(character, category):
            marks += 1
            if marks > MAX_COMBINING_MARKS:
                continue
        else:
            if marks > MAX_COMBINING_MARKS:
                parts.append(f"\\u{{+{marks - MAX_COMBINING_MARKS}}}")
                length += len(parts[-1])
            marks = 0
            if character and _is_escaped(character, category):
                piece = f"\\u{{{ord(character):x}}}"
        parts.append(piece)
        length += len(piece)
        if length > limit:
            break
    if length <= limit:
        return "".join(parts)
    # Cut between pieces, so that no escape is shown in halves.
    while parts and length > limit - 1:
        length -= len(parts.pop())
    return "".join(parts) + ELLIPSIS


def elide_middle(text: str, width: int) -> str:
    """`text` in at most `width` characters, its middle replaced by `…`.

    Names of one maker differ in their tail (serial number, LUN), so the tail gets the larger half.
    """
    if len(text) <= width:
        return text
    if width <= 1:
        return ELLIPSIS[: max(width, 0)]
    head = (width - 1) // 2
    return text[:head] + ELLIPSIS + text[len(text) - (width - 1 - head) :]


def csv_cell(text: str) -> str:
    """`text` as a value for `csv.writer`: one line, and never read as a formula by a spreadsheet.

    A leading apostrophe makes the spreadsheet take the rest as text. Plain numbers, also negative ones,
    stay numbers.
    """
    shown = visible(text, CSV_CELL_LIMIT)
    if shown.lstrip(" ")[:1] in _FORMULA_STARTS and shown and not _PLAIN_NUMBER.fullmatch(shown):
        return "'" + shown[: CSV_CELL_LIMIT - 1]
    return shown


def _script(character: str) -> str:
    # The first word of a letter's Unicode name is its script; the standard library has no better source.
    name = unicodedata.name(character, "")
    return name.removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ").split(" ", 1)[0].split("-", 1)[0]


def has_mixed_scripts(text: str) -> bool:
    """True when scripts that are not written together meet, as in a Cyrillic look-alike."""
    if text.isascii():
        return False
    scripts = {_script(character) for character in text if unicodedata.category(character).startswith("L")}
    scripts -= {"MODIFIER", "MASCULINE", "FEMININE", "MICRO", ""}
    return len(scripts) > 1 and not any(scripts <= group for group in _COMPATIBLE_SCRIPTS)
