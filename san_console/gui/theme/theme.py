"""The theme in use. `Theme.of()` is the one of the application; painting code asks it for `tokens`."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QFont, QGuiApplication
from PySide6.QtWidgets import QApplication, QToolTip

from san_console.gui.icons import retint
from san_console.gui.theme.fonts import fixed_font, interface_font
from san_console.gui.theme.palette import make_palette
from san_console.gui.theme.style_sheet import make_style_sheet
from san_console.gui.theme.tokens import DARK, LIGHT, Tokens

ThemeMode = Literal["system", "light", "dark"]
MODES: Final[tuple[ThemeMode, ...]] = ("system", "light", "dark")

_SCHEMES: Final[dict[ThemeMode, Qt.ColorScheme]] = {
    "system": Qt.ColorScheme.Unknown,
    "light": Qt.ColorScheme.Light,
    "dark": Qt.ColorScheme.Dark,
}


class Theme(QObject):
    """Applies tokens to the application and tells when they changed."""

    changed = Signal()
    _instance: ClassVar[Theme | None] = None

    def __init__(self) -> None:
        super().__init__()
        self.tokens: Tokens = LIGHT
        self.mode: ThemeMode = "system"
        self.font: QFont = QFont()
        self.fixed: QFont = QFont()
        self._prepared = False

    @classmethod
    def of(cls) -> Theme:
        if cls._instance is None:
            cls._instance = Theme()
        return cls._instance

    def prepare(self, application: QApplication) -> None:
        """Once per application, before the first window."""
        if self._prepared:
            return
        self._prepared = True
        application.setStyle("Fusion")
        self.font = interface_font()
        self.fixed = fixed_font(self.font.pixelSize())
        application.setFont(self.font)
        QToolTip.setFont(self.font)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._follow_desktop)

    def apply(self, mode: ThemeMode) -> None:
        """Ask the desktop first; where it does not follow (offscreen, bare X11) the own palette does the
        work.
        """
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        self.prepare(application)
        self.mode = mode
        hints = QGuiApplication.styleHints()
        if mode == "system":
            hints.unsetColorScheme()
        else:
            hints.setColorScheme(_SCHEMES[mode])
        self._use(self._wanted())

    def _wanted(self) -> Tokens:
        if self.mode == "system":
            return DARK if QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark else LIGHT
        return DARK if self.mode == "dark" else LIGHT

    def _follow_desktop(self) -> None:
        wanted = self._wanted()
        if wanted is not self.tokens:
            self._use(wanted)

    def _use(self, tokens: Tokens) -> None:
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        self.tokens = tokens
        application.setPalette(make_palette(tokens))
        application.setStyleSheet(make_style_sheet(tokens, self.font.pixelSize(), self.fixed))
        retint(application.allWidgets(), tokens)
        self.changed.emit()


def tokens() -> Tokens:
    """The colours in use now."""
    return Theme.of().tokens
