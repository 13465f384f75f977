"""The language of the window: Qt's translators, and the two ways to name a text outside of a `QObject`.

A text is put together after its translation: `self.tr("{count} targets").format(count=n)`. Translations are
`resources/translations/san_console_<locale>.qm`, made from what `pyside6-lupdate` finds in this package.
"""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QCoreApplication, QLibraryInfo, QLocale, QTranslator

from san_console.gui.resources import resources_dir

TABLE: Final = "Table"
"""The context of all texts that are marked when a module is imported, and translated where they are shown."""

translate = QCoreApplication.translate
"""For functions and plain classes: `translate("module", "text")`. Extracted by this name."""


def QT_TRANSLATE_NOOP(context: str, text: str) -> str:
    """Mark `text` in a table that is made at import, before there is a translator. Extracted by this name.

    Qt's own is typed as giving any object.
    """
    return text


def translated(text: str) -> str:
    """A marked text in the language of the window; an empty one, or one that nobody marked, as it is."""
    return translate(TABLE, text) if text else ""


def install_translations(application: QCoreApplication, locale: QLocale | None = None) -> list[QTranslator]:
    """Install what there is for `locale` (None: the system's): the console's texts and Qt's own.

    Called before the first widget is built. English costs nothing but two looks for files. Returns the
    translators that are in use.
    """
    used = locale if locale is not None else QLocale.system()
    ours = str(resources_dir() / "translations")
    theirs = QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)
    installed = []
    # The one that was installed last is asked first.
    for name, folder in (("qtbase", theirs), ("san_console", ours)):
        translator = QTranslator(application)
        if translator.load(used, name, "_", folder) and application.installTranslator(translator):
            installed.append(translator)
        else:
            translator.deleteLater()
    return installed
