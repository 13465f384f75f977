"""Bytes as offset, hexadecimal and characters."""

from __future__ import annotations

from typing import Final

from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QPlainTextEdit, QWidget

from san_console.gui.theme.theme import Theme

BYTES_PER_LINE: Final = 16


def hex_lines(data: bytes | memoryview, offset_bytes: int = 0) -> list[str]:
    """`00000200  45 46 …  EFI PART`: 16 bytes to a line, dots for what is no printable ASCII."""
    width = max(8, len(f"{offset_bytes + len(data):x}"))
    lines = []
    for start in range(0, len(data), BYTES_PER_LINE):
        row = bytes(data[start : start + BYTES_PER_LINE])
        pairs = row.hex(" ").ljust(BYTES_PER_LINE * 3 - 1)
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{offset_bytes + start:0{width}x}  {pairs}  {text}")
    return lines


class HexView(QPlainTextEdit):
    """Read-only; its text can be selected and copied."""

    def __init__(self, name: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setReadOnly(True)
        self.setProperty("mono", True)
        self.setAccessibleName(name or self.tr("Bytes"))
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setTabChangesFocus(True)

    def show_bytes(self, data: bytes | memoryview, offset_bytes: int = 0) -> None:
        self.setPlainText("\n".join(hex_lines(data, offset_bytes)))

    def fitting_width(self) -> int:
        """Pixels that a whole line needs."""
        return QFontMetrics(Theme.of().fixed).horizontalAdvance("0" * 78) + 40
