"""One event in full: what happened, why, who decided it, what to check, and the way to its object."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from san_console.api.engine_objects import Event
from san_console.gui import words
from san_console.gui.context import Context
from san_console.gui.models.object_names import KIND_WORDS, PAGE_OF_KIND, object_name
from san_console.gui.theme.tokens import Tone
from san_console.gui.translation import QT_TRANSLATE_NOOP, translated
from san_console.gui.widgets.buttons import Button
from san_console.gui.widgets.cards import Card, horizontal
from san_console.gui.widgets.key_values import KeyValues, Pair
from san_console.gui.widgets.labels import PlainLabel
from san_console.gui.widgets.state import Pill
from san_console.names.display import visible

_TONES: Final[dict[str, Tone]] = {
    "info": "accent",
    "warning": "warning",
    "error": "bad",
}
_WORDS: Final[dict[str, str]] = {
    "info": QT_TRANSLATE_NOOP("Table", "info"),
    "warning": QT_TRANSLATE_NOOP("Table", "warning"),
    "error": QT_TRANSLATE_NOOP("Table", "error"),
}


class EventDetails(Card):
    """Empty until an event is shown."""

    def __init__(self, context: Context, on_jump: Callable[[str], object]) -> None:
        super().__init__(margin=16)
        self._context = context
        self._event: Event | None = None
        self.setAccessibleName(self.tr("The selected event"))
        head = horizontal(gap=10)
        self._pill = Pill()
        self._text = PlainLabel("", style="heading", wrap=True, selectable=True)
        self._jump = Button(
            self.tr("Show object"), lambda: on_jump(self._event.id if self._event else ""), icon="arrow-right"
        )
        head.addWidget(self._pill)
        head.addWidget(self._text, 1)
        head.addWidget(self._jump)
        self._facts = KeyValues()
        self.body.addLayout(head)
        self.body.addSpacing(4)
        self.body.addWidget(self._facts)
        self.body.addStretch(1)
        self.show_event(None)

    def show_event(self, event: Event | None) -> None:
        self._event = event
        self._facts.setVisible(event is not None)
        self._jump.setVisible(event is not None and event.object_kind in PAGE_OF_KIND)
        if event is None:
            self._pill.show_tag("", "muted")
            self._text.setText(self.tr("Select an event to read all of it."))
            return
        self._pill.show_tag(
            translated(_WORDS.get(event.severity, event.severity)), _TONES.get(event.severity, "muted")
        )
        self._text.setText(visible(event.text))
        name = object_name(self._context.host, event.object_kind, event.object_id)
        kind = translated(KIND_WORDS.get(event.object_kind, event.object_kind))
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
        pairs = [
            Pair(self.tr("When"), f"{when} · {words.ago(self._context.now() - event.at)}"),
            Pair(self.tr("Object"), f"{kind} · {name}" if event.object_kind != "engine" else name),
        ]
        for label, text in (
            (self.tr("Cause"), event.cause),
            (self.tr("Decided by"), event.side),
            (self.tr("Check"), event.check),
        ):
            if text:
                pairs.append(Pair(label, visible(text, 2000), wrap=True))
        self._facts.show_pairs(pairs)
        self._jump.setText(self.tr("Show {kind}").format(kind=kind))
        self._jump.setAccessibleName(self.tr("Show {kind}").format(kind=kind))
