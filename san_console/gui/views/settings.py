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
from san_console.gui.shell.status_bar import STATE_WORDS, keyring_words
from san_console.gui.theme.theme import MODES, Theme, ThemeMode
from san_console.gui.views.page import Page
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Card, horizontal, vertical
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import ElidedLabel, PlainLabel
from san_console.gui.widgets.problems import InlineProblem
from san_console.gui.widgets.state import StateWord

_THEME_TITLES: Final[dict[ThemeMode, str]] = {"system": "As the desktop", "light": "Light", "dark": "Dark"}
CARD_WIDTH_PX: Final = 760

KEYS: Final = (
    ("Ctrl+K", "Quick Connect"),
    ("Ctrl+1 … Ctrl+8", "Pages"),
    ("Ctrl+F", "Filter of the page"),
    ("F5", "Look again"),
    ("F6", "Next part of the window"),
    ("Del", "Log out or remove what is selected"),
    ("Ctrl+C", "Copy the selected rows"),
    ("Ctrl+,", "Settings"),
)


class SettingsPage(Page):
    key = "settings"
    title = "Settings"
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
        card = _card("Appearance")
        row = horizontal(gap=16)
        self._themes = QButtonGroup(self)
        for number, mode in enumerate(MODES):
            button = QRadioButton(_THEME_TITLES[mode])
            button.setChecked(Theme.of().mode == mode)
            self._themes.addButton(button, number)
            row.addWidget(button)
        row.addStretch(1)
        self._themes.idClicked.connect(self._choose_theme)
        card.body.addLayout(row)
        silently = QCheckBox("Close the window without asking; the engine goes on")
        silently.setChecked(bool(self.context.preferences.get("quit.silently", False)))
        silently.toggled.connect(lambda on: self.context.preferences.set("quit.silently", on))
        card.body.addWidget(silently)
        return card

    def _choose_theme(self, number: int) -> None:
        mode = MODES[number]
        self.context.preferences.set("theme", mode)
        Theme.of().apply(mode)

    def _computer(self) -> Card:
        card = _card("This computer")
        row = horizontal(gap=12)
        row.addWidget(PlainLabel("Initiator name", style="muted"))
        self._name = ElidedLabel("", mono=True)
        row.addWidget(self._name, 1)
        row.addWidget(Button("Change…", self._change_name))
        card.body.addLayout(row)
        card.body.addWidget(
            PlainLabel("Targets decide by this name what this computer may see.", style="small", wrap=True)
        )
        return card

    def _change_name(self) -> None:
        from san_console.gui.dialogs.initiator_name import InitiatorNameDialog

        InitiatorNameDialog(self.context, self).open()

    def _keyring_card(self) -> Card:
        card = _card("Secrets")
        row = horizontal(gap=12)
        row.addWidget(PlainLabel("Keyring", style="muted"))
        self._keyring = StateWord()
        row.addWidget(self._keyring, 1)
        self._memory = Button("Keep in memory for this run", self._use_memory)
        row.addWidget(self._memory)
        row.addWidget(Button("Look again", self._check_keyring))
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
        self.context.window.say(f"Keyring: {keyring_words(keyring)[0]}", "good")

    def _engine_card(self) -> Card:
        card = _card("Engine")
        self._engine = KeyValues()
        card.body.addWidget(self._engine)
        return card

    def _keys(self) -> Card:
        card = _card("Keys")
        keys = KeyValues(columns=2)
        keys.show_pairs(Pair(key, text) for key, text in KEYS)
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
        self._memory.setText("Use the keyring again" if in_memory else "Keep in memory for this run")
        state, state_tone = STATE_WORDS[self.host.state]
        crc = "hardware" if engine.digests_accelerated else "pure Python: slow, install crc32c"
        self._engine.show_pairs(
            (
                Pair("State", state, state_tone),
                Pair("Version", f"{engine.version}, API {engine.api_version}, process {engine.pid}"),
                Pair("Running for", words.duration(self.context.now() - engine.started_at)),
                Pair("Host", engine.host_name),
                Pair("State is kept in", engine.data_dir, mono=True),
                Pair("CRC32C digests", crc, None if engine.digests_accelerated else "warning"),
            )
        )


def _card(title: str) -> Card:
    card = Card(margin=16)
    card.body.addWidget(PlainLabel(title, style="heading"))
    return card
