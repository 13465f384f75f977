"""Settings of the window, and what belongs to this computer as a whole: its name, its keyring, its engine."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QButtonGroup, QCheckBox, QRadioButton, QScrollArea, QWidget

from san_console import __version__
from san_console.api.engine_objects import Keyring
from san_console.api.methods import UseMemory
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.shell.status_bar import keyring_words, state_words
from san_console.gui.theme.theme import MODES, Theme, ThemeMode
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.views.page import Page
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Card, horizontal, vertical
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.state import StateWord

_THEME_TITLES: Final[dict[ThemeMode, str]] = {
    "system": QT_TRANSLATE_NOOP("Table", "As the desktop"),
    "light": QT_TRANSLATE_NOOP("Table", "Light"),
    "dark": QT_TRANSLATE_NOOP("Table", "Dark"),
}
CARD_WIDTH_PX: Final = 760

KEYS: Final = (
    ("Ctrl+K", QT_TRANSLATE_NOOP("Table", "Quick Connect")),
    ("Ctrl+1 … Ctrl+8", QT_TRANSLATE_NOOP("Table", "Pages")),
    ("Ctrl+F", QT_TRANSLATE_NOOP("Table", "Filter of the page")),
    ("F5", QT_TRANSLATE_NOOP("Table", "Look again")),
    ("F6", QT_TRANSLATE_NOOP("Table", "Next part of the window")),
    ("Del", QT_TRANSLATE_NOOP("Table", "Log out or remove what is selected")),
    ("Ctrl+C", QT_TRANSLATE_NOOP("Table", "Copy the selected rows")),
    ("Ctrl+,", QT_TRANSLATE_NOOP("Table", "Settings")),
)


class SettingsPage(Page):
    key = "settings"
    title = QT_TRANSLATE_NOOP("Table", "Settings")
    collections = ("engine",)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        inner = QWidget()
        inner.setObjectName("scrolled")
        box = vertical(inner)
        for card in (
            self._appearance(),
            self._computer(),
            self._keyring_card(),
            self._engine_card(),
            self._keys(),
        ):
            card.setMaximumWidth(CARD_WIDTH_PX)
            box.addWidget(card)
        box.addStretch(1)
        area.setWidget(inner)
        self.body.addWidget(area)

    def _appearance(self) -> Card:
        card = _card(self.tr("Appearance"))
        row = horizontal(gap=16)
        self._themes = QButtonGroup(self)
        for number, mode in enumerate(MODES):
            button = QRadioButton(translated(_THEME_TITLES[mode]))
            button.setChecked(Theme.of().mode == mode)
            self._themes.addButton(button, number)
            row.addWidget(button)
        row.addStretch(1)
        self._themes.idClicked.connect(self._choose_theme)
        card.body.addLayout(row)
        silently = QCheckBox(self.tr("Close the window without asking; the engine goes on"))
        silently.setChecked(bool(self.context.preferences.get("quit.silently", False)))
        silently.toggled.connect(lambda on: self.context.preferences.set("quit.silently", on))
        card.body.addWidget(silently)
        return card

    def _choose_theme(self, number: int) -> None:
        mode = MODES[number]
        self.context.preferences.set("theme", mode)
        Theme.of().apply(mode)

    def _computer(self) -> Card:
        card = _card(self.tr("This computer"))
        row = horizontal(gap=12)
        row.addWidget(PlainLabel(self.tr("Initiator name"), style="muted"))
        self._name = ElidedLabel("", mono=True)
        row.addWidget(self._name, 1)
        row.addWidget(Button(self.tr("Change…"), self._change_name))
        card.body.addLayout(row)
        card.body.addWidget(
            PlainLabel(
                self.tr("Targets decide by this name what this computer may see."), style="small", wrap=True
            )
        )
        return card

    def _change_name(self) -> None:
        from san_console.gui.dialogs.initiator_name import InitiatorNameDialog

        InitiatorNameDialog(self.context, self).open()

    def _keyring_card(self) -> Card:
        card = _card(self.tr("Secrets"))
        row = horizontal(gap=12)
        row.addWidget(PlainLabel(self.tr("Keyring"), style="muted"))
        self._keyring = StateWord()
        row.addWidget(self._keyring, 1)
        self._memory = Button(self.tr("Keep in memory for this run"), self._use_memory)
        row.addWidget(self._memory)
        row.addWidget(Button(self.tr("Look again"), self._check_keyring))
        card.body.addLayout(row)
        self._fix = PlainLabel("", style="small", wrap=True)
        card.body.addWidget(self._fix)
        self._problem = InlineProblem()
        card.body.addWidget(self._problem)
        return card

    def _use_memory(self) -> None:
        engine = self.host.engine
        in_memory = engine is not None and engine.keyring.state == "memory"
        self.host.call(
            "keyring.use_memory",
            UseMemory(use=not in_memory),
            self._keyring_done,
            self._problem.show_problem,
            owner=self,
        )

    def _check_keyring(self) -> None:
        self.host.call("keyring.check", None, self._keyring_done, self._problem.show_problem, owner=self)

    def _keyring_done(self, keyring: Keyring) -> None:
        self._problem.hide()
        self.context.window.say(
            self.tr("Keyring: {keyring_words}").format(keyring_words=keyring_words(keyring)[0]), "good"
        )

    def _engine_card(self) -> Card:
        card = _card(self.tr("Engine"))
        self._engine = KeyValues()
        card.body.addWidget(self._engine)
        return card

    def _keys(self) -> Card:
        card = _card(self.tr("Keys"))
        keys = KeyValues(columns=2)
        keys.show_pairs(Pair(key, translated(text)) for key, text in KEYS)
        card.body.addWidget(keys)
        return card

    def refresh(self) -> None:
        engine = self.host.engine
        self.summary.setText(f"SAN Console {__version__}")
        if engine is None:
            return
        self._name.setText(engine.initiator_name)
        word, tone = keyring_words(engine.keyring)
        self._keyring.show_state(word, "good" if engine.keyring.state == "unlocked" else tone)
        self._fix.setText(engine.keyring.fix)
        self._fix.setVisible(bool(engine.keyring.fix))
        in_memory = engine.keyring.state == "memory"
        self._memory.setText(
            self.tr("Use the keyring again") if in_memory else self.tr("Keep in memory for this run")
        )
        state, state_tone = state_words(self.host.state)
        crc = (
            self.tr("hardware")
            if engine.digests_accelerated
            else self.tr("pure Python: slow, install crc32c")
        )
        self._engine.show_pairs(
            (
                Pair(self.tr("State"), state, state_tone),
                Pair(
                    self.tr("Version"),
                    self.tr("{version}, API {api_version}, process {pid}").format(
                        version=engine.version, api_version=engine.api_version, pid=engine.pid
                    ),
                ),
                Pair(self.tr("Running for"), words.duration(self.context.now() - engine.started_at)),
                Pair(self.tr("Host"), engine.host_name),
                Pair(self.tr("State is kept in"), engine.data_dir, mono=True),
                Pair(self.tr("CRC32C digests"), crc, None if engine.digests_accelerated else "warning"),
            )
        )


def _card(title: str) -> Card:
    card = Card(margin=16)
    card.body.addWidget(PlainLabel(title, style="heading"))
    return card
