"""Colours that can be read, and a style sheet that is whole."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from san_console.gui.icons import pixmap
from san_console.gui.resources import resources_dir
from san_console.gui.theme.theme import Theme
from san_console.gui.theme.tokens import DARK, LIGHT, PAIRS, Tokens, contrast

pytestmark = pytest.mark.gui

CHARTS = ("chart_read", "chart_write", "chart_p50", "chart_p99")


@pytest.mark.parametrize("tokens", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0]}-on-{pair[1]}")
def test_text_can_be_read(tokens: Tokens, pair: tuple[str, str]) -> None:
    assert contrast(getattr(tokens, pair[0]), getattr(tokens, pair[1])) >= 4.5


@pytest.mark.parametrize("tokens", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", CHARTS)
def test_lines_of_charts_can_be_told_from_the_paper(tokens: Tokens, name: str) -> None:
    # WCAG 2.2 §1.4.11: 3:1 for graphics.
    assert contrast(getattr(tokens, name), tokens.surface) >= 3.0


def test_contrast_of_known_colours() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_every_theme_applies_without_a_warning(qtbot: QtBot, recwarn: pytest.WarningsRecorder) -> None:
    theme = Theme.of()
    for mode, dark in (("dark", True), ("light", False)):
        theme.apply(mode)  # type: ignore[arg-type]  # the literals of the row above
        assert theme.tokens.dark is dark
    assert not recwarn.list


def test_all_icons_are_drawn_in_the_colour_that_was_asked_for(qtbot: QtBot) -> None:
    for file in (resources_dir() / "icons").glob("*.svg"):
        image = pixmap(file.stem, "#ff0000").toImage()
        colours = {
            image.pixelColor(x, y).name()
            for x in range(16)
            for y in range(16)
            if image.pixelColor(x, y).alpha() > 200
        }
        assert colours, file.name
        assert all(name.startswith("#f") for name in colours), file.name
