"""YAML read as plain data that remembers its lines, for documents that a person edits and nobody trusts.

Only mappings, lists and scalars: an alias could make megabytes of a few bytes, a tag could ask for an object.
Scalars are what they look like: `true`, `false` and `null` alone, decimal numbers, and text for the rest
(YAML 1.1 would take `no` for false, `1:30` for 90 and `010` for 8).
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec
import yaml

MAX_DEPTH: Final = 16
"""Documents of ours are 5 deep."""

MAX_NODES: Final = 200_000
"""1,000 targets with 4 LUNs each have about 100,000; each takes some microseconds."""

MAX_NUMBER_CHARACTERS: Final = 20
"""No number here has more; Python would take long over one with thousands of digits."""

_PLAIN = re.compile(
    r"[A-Za-z/][A-Za-z0-9_./+@-]*(:[A-Za-z0-9_./+@-]+)*"
    r"|[0-9]+(\.[0-9]+){3}(:[0-9]+)?"
    r"|[0-9]+ [KMGTPE]iB",
    re.ASCII,
)
"""Text that is written without quotes: words, names, paths, IPv4 portals and sizes."""

_YAML_1_1: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""Other readers take these words for something else."""

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]+", re.ASCII)
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None, "~": None, "": None}
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

T = TypeVar("T")


class DocumentError(Exception):
    """A document cannot be taken. `line` counts from 1; 0 where it is about the whole."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__(f"Line {line}: {text}" if line else text)
        self.text = text
        self.line = line


class Tree:
    """`value` is plain data; lines are found by paths such as `$.targets[0].name`."""

    def __init__(self, value: Any, lines: dict[str, int]) -> None:
        self.value = value
        self._lines = lines

    def line(self, path: str) -> int:
        """The line of what stands at `path`, or of what is around it."""
        while path not in self._lines:
            shorter = re.sub(r"(\.[^.\[]*|\[[^\]]*\])\Z", "", path)
            if shorter == path:
                return 0
            path = shorter
        return self._lines[path]

    def converted(self, kind: type[T]) -> T:
        """`value` as an object. Raises DocumentError with the line of what does not fit."""
        try:
            return msgspec.convert(self.value, kind)
        except msgspec.ValidationError as error:
            text, _, path = str(error).partition(" - at `")
            path = path.rstrip("`") or "$"
            unknown = re.search(r"unknown field `(.*)`", text)
            if unknown is not None:
                raise DocumentError(
                    f"There is no key “{unknown[1]}” here.", self.line(f"{path}.{unknown[1]}")
                ) from None
            hint = " (text that looks like a number needs quotes)" if "Expected `str`" in text else ""
            name = path.rpartition(".")[2]
            what = f"{name}: " if name != "$" else ""
            raise DocumentError(f"{what}{text}{hint}.", self.line(path)) from None


def read_tree(text: str) -> Tree:
    """Raises DocumentError."""
    try:
        return _Builder().build(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 0
        raise DocumentError(f"This is no YAML: {error.problem or error}.", line) from None
    except yaml.YAMLError as error:
        raise DocumentError(f"This is no YAML: {error}.") from None
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise DocumentError("This holds what is no text (half of a character).", line) from None


class _Builder:
    """Takes the parser's events; nothing here recurses, so that depth costs no stack."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}
        self._open: list[tuple[Any, str]] = []
        """The lists and mappings around what is read, each with its path."""
        self._keys: list[str | None] = []
        """Of each mapping around: the key whose value comes next."""
        self._root: Any = None
        self._nodes = 0
        self._documents = 0

    def build(self, text: str) -> Tree:
        for event in yaml.parse(text, Loader=_LOADER):
            mark = event.start_mark
            line = mark.line + 1 if mark is not None else 0
            match event:
                case yaml.DocumentStartEvent():
                    self._documents += 1
                    if self._documents > 1:
                        raise DocumentError("Here begins a second document; there may be one.", line)
                case yaml.AliasEvent():
                    raise DocumentError("Aliases (*name) are not taken; write it out.", line)
                case yaml.NodeEvent():
                    self._node(event, line)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._open.pop()
                    self._keys.pop()
        return Tree(self._root, self._lines)

    def _node(self, event: Any, line: int) -> None:
        if event.anchor is not None:
            raise DocumentError("Anchors (&name) are not taken; write it out.", line)
        if event.tag not in (None, "!"):
            raise DocumentError("Tags (!name) are not taken.", line)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise DocumentError(f"The document has more than {MAX_NODES:,} values.", line)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
            return
        if len(self._open) >= MAX_DEPTH:
            raise DocumentError(f"This is nested more than {MAX_DEPTH} deep.", line)
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        path = self._place(value, line)
        self._open.append((value, path))
        self._keys.append(None)

    def _scalar(self, event: Any, line: int) -> None:
        around = self._open[-1][0] if self._open else None
        if isinstance(around, dict) and self._keys[-1] is None:
            key = str(event.value)
            if key in around:
                raise DocumentError(f"The key “{key}” stands here twice.", line)
            self._keys[-1] = key
            self._lines[f"{self._open[-1][1]}.{key}"] = line
            return
        self._place(_typed(event, line), line)

    def _place(self, value: Any, line: int) -> str:
        """Put a value where it belongs; its path."""
        if not self._open:
            self._root = value
            path = "$"
        else:
            around, before = self._open[-1]
            if isinstance(around, list):
                path = f"{before}[{len(around)}]"
                around.append(value)
            else:
                key = self._keys[-1]
                if key is None:
                    raise DocumentError("A key has to be text.", line)
                path = f"{before}.{key}"
                around[key] = value
                self._keys[-1] = None
        self._lines.setdefault(path, line)
        return path


def _typed(event: Any, line: int) -> Any:
    text = str(event.value)
    if event.style:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if not (_INT.fullmatch(text) or _FLOAT.fullmatch(text)):
        return text
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise DocumentError("No number here has so many digits.", line)
    if "." in text:
        return float(text)
    number = int(text)
    if abs(number) >= 1 << 63:  # more than JSON and the state take
        raise DocumentError("No number here is so large.", line)
    return number


def write_tree(value: Any) -> str:
    """Plain data (mappings, lists, scalars) as YAML. The same data is always the
    same text, so that two documents can be compared.
    """
    lines: list[str] = []
    _write(value, "", lines)
    return "\n".join(lines) + "\n"


def _write(value: Any, indent: str, lines: list[str], first: str = "") -> None:
    """`first` stands before the first line in place of the indent: that of a list's item."""
    if isinstance(value, dict):
        for key, one in value.items():
            head = f"{first or indent}{_word(key)}:"
            first = ""
            if one and isinstance(one, (dict, list)):
                lines.append(head)
                _write(one, f"{indent}  ", lines)
            else:
                lines.append(f"{head} {_word(one)}")
        return
    for one in value:
        head, first = f"{first or indent}- ", ""
        if one and isinstance(one, (dict, list)):
            _write(one, f"{indent}  ", lines, first=head)
        else:
            lines.append(f"{head}{_word(one)}")


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return str(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _YAML_1_1:
        return value
    escaped = "".join(
        f"\\{char}"
        if char in '\\"'
        else char
        if char.isprintable()
        else f"\\u{ord(char):04x}"
        if ord(char) < 0x10000
        else f"\\U{ord(char):08x}"
        for char in value
    )
    return f'"{escaped}"'
