"""The one style sheet: Fusion drawn with the tokens. Widgets are told apart by the properties `kind` and
`textStyle`.
"""

from __future__ import annotations

from string import Template
from typing import Final

from PySide6.QtGui import QFont

from san_console.gui.resources import resources_dir
from san_console.gui.theme.tokens import (
    CARD_RADIUS_PX,
    CONTROL_HEIGHT_PX,
    CONTROL_RADIUS_PX,
    HEADER_HEIGHT_PX,
    Tokens,
)

_TEXT: Final = """
QLabel { background: transparent; }
QLabel[textStyle="title"] { font-size: ${title_px}px; font-weight: 600; }
QLabel[textStyle="heading"] { font-size: ${heading_px}px; font-weight: 600; }
QLabel[textStyle="strong"] { font-weight: 600; }
QLabel[textStyle="muted"] { color: $muted; }
QLabel[textStyle="small"] { color: $muted; font-size: ${small_px}px; }
QLabel[textStyle="section"] { color: $muted; font-size: ${tiny_px}px; font-weight: 600; }
QLabel[tone="good"] { color: $good; }
QLabel[tone="warning"] { color: $warning; }
QLabel[tone="bad"] { color: $bad; }
QLabel[tone="accent"] { color: $accent; }
QLabel[tone="muted"] { color: $muted; }
QLabel[pill="true"] { font-size: ${small_px}px; font-weight: 600; border-radius: 4px; padding: 2px 7px; }
QLabel[pill="true"][tone="text"], QLabel[pill="true"][tone="muted"] { background: $neutral_soft; color:
  $muted; }
QLabel[pill="true"][tone="accent"] { background: $accent_soft; }
QLabel[pill="true"][tone="good"] { background: $good_soft; }
QLabel[pill="true"][tone="warning"] { background: $warning_soft; }
QLabel[pill="true"][tone="bad"] { background: $bad_soft; }
QLabel[keycap="true"] { color: $muted; font-size: ${tiny_px}px; border: 1px solid $border; border-radius: 4px;
  padding: 1px 5px; background: $surface; }
"""

_FRAMES: Final = """
QToolTip { background: $toast; color: $on_toast; border: 1px solid $toast; padding: 4px 6px; }
QWidget#shell, QWidget#content, QStackedWidget#pages { background: $background; }
QFrame#topBar, QFrame#navigation, QFrame#statusBar { background: $surface; border: 0 solid $border; }
QFrame#topBar { border-bottom-width: 1px; }
QFrame#navigation { border-right-width: 1px; }
QFrame#statusBar { border-top-width: 1px; }
QFrame#statusBar QLabel, QFrame#statusBar QPushButton { font-size: ${small_px}px; }
QFrame[kind="card"] { background: $surface; border: 1px solid $border; border-radius: ${card_radius}px; }
QFrame[kind="inset"] { background: $surface; border: 1px solid $border; border-radius: ${radius}px; }
QFrame[kind="code"] { background: $field; border: 1px solid $border; border-radius: ${radius}px; }
QFrame[kind="popup"] { background: $surface; border: 1px solid $border_strong; border-radius:
  ${card_radius}px; }
QFrame[kind="problem"] { background: $bad_soft; border: 1px solid $bad; border-radius: ${card_radius}px; }
QFrame[kind="notice"] { background: $warning_soft; border: 1px solid $warning; border-radius:
  ${card_radius}px; }
QFrame[kind="note"] { background: $accent_soft; border: 1px solid $accent; border-radius: ${card_radius}px; }
QFrame[kind="toast"] { background: $toast; border: 1px solid $border_strong; border-radius:
  ${card_radius}px; }
QFrame[kind="toast"] QLabel { color: $on_toast; }
QFrame[kind="line"] { background: $border; border: none; }
QSplitter::handle { background: transparent; }
QScrollArea, QScrollArea > QWidget > QWidget#scrolled { background: transparent; border: none; }
QDialog { background: $surface; }
"""

_BUTTONS: Final = """
QPushButton { background: $surface; color: $text; border: 1px solid $border; border-radius: ${radius}px;
  padding: 0 12px; min-height: ${inner_height}px; font-weight: 500; }
QPushButton:hover { background: $hover; border-color: $border_strong; }
QPushButton:pressed { background: $neutral_soft; }
QPushButton:focus { border-color: $accent; }
QPushButton:disabled { color: $muted; background: $background; border-color: $border; }
QPushButton[kind="primary"] { background: $accent; color: $on_accent; border-color: $accent; }
QPushButton[kind="primary"]:hover { background: $accent_hover; border-color: $accent_hover; }
QPushButton[kind="primary"]:focus { border: 2px solid $text; padding: 0 11px; min-height: ${focus_height}px; }
QPushButton[kind="primary"]:disabled { background: $neutral_soft; color: $muted; border-color:
  $neutral_soft; }
QPushButton[kind="danger"] { color: $bad; }
QPushButton[kind="danger"]:hover { background: $bad_soft; border-color: $bad; }
QPushButton[kind="danger"]:disabled { color: $muted; }
QPushButton[kind="destroy"] { background: $bad; color: $surface; border-color: $bad; }
QPushButton[kind="destroy"]:disabled { background: $neutral_soft; color: $muted; border-color:
  $neutral_soft; }
QPushButton[kind="quiet"], QPushButton[kind="link"] { background: transparent; border: 1px solid transparent;
  padding: 0 6px; }
QPushButton[kind="quiet"]:hover { background: $hover; }
QPushButton[kind="quiet"]:focus, QPushButton[kind="link"]:focus { border-color: $accent; }
QPushButton[kind="link"] { color: $muted; font-weight: 400; padding: 0 2px; min-height: 20px; }
QPushButton[kind="link"]:hover { color: $accent; text-decoration: underline; }
QPushButton[kind="chip"] { background: transparent; color: $muted; border-radius: 11px; min-height: 20px;
  padding: 0 9px; font-size: ${small_px}px; font-weight: 400; }
QPushButton[kind="chip"]:hover { background: $hover; }
QPushButton[kind="chip"]:checked { background: $accent_soft; color: $accent; border-color: $accent_soft;
  font-weight: 600; }
QPushButton[kind="chip"]:focus { border-color: $accent; }
QPushButton::menu-indicator { image: url("$themes/chevron-down.svg"); width: 12px; height: 12px;
  subcontrol-position: right center; subcontrol-origin: padding; right: 6px; }
QPushButton[hasMenu="true"] { padding-right: 24px; }
QToolButton { background: transparent; border: 1px solid transparent; border-radius: ${radius}px; padding:
  5px; }
QToolButton:hover { background: $hover; }
QToolButton:focus { border-color: $accent; }
QToolButton:checked { background: $accent_soft; }
QToolButton::menu-indicator { image: none; }
"""

_FIELDS: Final = """
QLineEdit, QComboBox, QSpinBox, QDoubleSpinBox, QPlainTextEdit, QTextEdit { background: $surface; color:
  $text;
  border: 1px solid $border; border-radius: ${radius}px; padding: 0 8px; min-height: ${inner_height}px;
  selection-background-color: $accent; selection-color: $on_accent; }
QPlainTextEdit, QTextEdit { padding: 6px; }
QLineEdit:hover, QComboBox:hover, QSpinBox:hover, QDoubleSpinBox:hover { border-color: $border_strong; }
QLineEdit:focus, QComboBox:focus, QSpinBox:focus, QDoubleSpinBox:focus, QPlainTextEdit:focus, QTextEdit:focus
  { border-color: $accent; }
QLineEdit:disabled, QComboBox:disabled, QSpinBox:disabled { background: $background; color: $muted; }
QLineEdit:read-only { background: $field; }
QLineEdit[invalid="true"], QLineEdit[invalid="true"]:focus { border-color: $bad; }
QLineEdit#quickConnect { background: $field; padding-left: 4px; }
QLineEdit#quickConnect:focus { background: $surface; }
QComboBox { padding-right: 24px; }
QComboBox::drop-down { border: none; width: 24px; subcontrol-origin: padding; subcontrol-position: right
  center; }
QComboBox::down-arrow { image: url("$themes/chevron-down.svg"); width: 14px; height: 14px; }
QComboBox QAbstractItemView { background: $surface; color: $text; border: 1px solid $border_strong;
  outline: none;
  selection-background-color: $accent_soft; selection-color: $text; padding: 4px; }
QSpinBox::up-button, QDoubleSpinBox::up-button { subcontrol-origin: border; subcontrol-position: top right;
  width: 20px; border: none; }
QSpinBox::down-button, QDoubleSpinBox::down-button { subcontrol-origin: border; subcontrol-position: bottom
  right;
  width: 20px; border: none; }
QSpinBox::up-arrow, QDoubleSpinBox::up-arrow { image: url("$themes/chevron-up.svg"); width: 10px; height:
  10px; }
QSpinBox::down-arrow, QDoubleSpinBox::down-arrow { image: url("$themes/chevron-down.svg"); width: 10px;
  height: 10px; }
QCheckBox, QRadioButton { spacing: 8px; background: transparent; border: 1px solid transparent;
  border-radius: 4px;
  padding: 2px; }
QCheckBox:focus, QRadioButton:focus { border-color: $accent; }
QCheckBox::indicator, QRadioButton::indicator { width: 14px; height: 14px; border: 1px solid $border_strong;
  background: $surface; border-radius: 4px; }
QRadioButton::indicator { border-radius: 8px; }
QCheckBox::indicator:checked { background: $accent; border-color: $accent; image: url("$themes/check.svg"); }
QRadioButton::indicator:checked { background: $accent; border-color: $accent; image: url("$themes/dot.svg"); }
QCheckBox::indicator:disabled, QRadioButton::indicator:disabled { background: $neutral_soft; }
"""

_VIEWS: Final = """
QAbstractScrollArea::corner { background: transparent; border: none; }
QAbstractItemView { background: transparent; border: none; outline: none; color: $text;
  selection-background-color: $accent_soft; selection-color: $text; }
QTableView, QTreeView, QListView { alternate-background-color: transparent; }
QTableView#frozen { background: $surface; border: none; border-right: 1px solid $border_strong; }
QHeaderView { background: transparent; border: none; }
QHeaderView::section { background: $raised; color: $muted; border: none; border-bottom: 1px solid $border;
  padding: 0 10px; font-size: ${small_px}px; font-weight: 600; height: ${header_height}px; }
QHeaderView::section:hover { color: $text; background: $hover; }
QHeaderView::up-arrow { image: url("$themes/chevron-up.svg"); width: 10px; height: 10px;
  subcontrol-position: center right; }
QHeaderView::down-arrow { image: url("$themes/chevron-down.svg"); width: 10px; height: 10px;
  subcontrol-position: center right; }
QTableCornerButton::section { background: $raised; border: none; }
QTabWidget::pane { border: none; }
QTabBar { background: transparent; border: none; qproperty-drawBase: 0; }
QTabBar::tab { background: transparent; color: $muted; border: none; border-bottom: 2px solid transparent;
  padding: 0 10px; margin: 0 2px; min-height: 32px; }
QTabBar::tab:hover { color: $text; }
QTabBar::tab:selected { color: $accent; border-bottom-color: $accent; font-weight: 500; }
QTabBar::tab:focus { color: $accent; background: $hover; }
QScrollBar:vertical { background: transparent; width: 10px; margin: 0; }
QScrollBar:horizontal { background: transparent; height: 10px; margin: 0; }
QScrollBar::handle { background: $scroll; border-radius: 3px; margin: 2px; }
QScrollBar::handle:vertical { min-height: 28px; }
QScrollBar::handle:horizontal { min-width: 28px; }
QScrollBar::handle:hover { background: $muted; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
QMenu { background: $surface; color: $text; border: 1px solid $border_strong; padding: 4px; }
QMenu::item { padding: 6px 24px 6px 10px; border-radius: 4px; }
QMenu::item:selected { background: $accent_soft; }
QMenu::item:disabled { color: $muted; }
QMenu::separator { height: 1px; background: $border; margin: 4px 6px; }
QMenu::icon { padding-left: 8px; }
QProgressBar { background: $neutral_soft; border: none; border-radius: 3px; min-height: 6px; max-height: 6px;
  color: transparent; }
QProgressBar::chunk { background: $accent; border-radius: 3px; }
QPushButton#navigationItem { background: transparent; border: 1px solid transparent; text-align: left; }
"""

_SHEET: Final = Template(_TEXT + _FRAMES + _BUTTONS + _FIELDS + _VIEWS)


def make_style_sheet(tokens: Tokens, size_px: int, fixed: QFont) -> str:
    """`size_px`: the size of the interface's font; headings and small print follow it."""
    themes = (resources_dir() / "themes" / ("dark" if tokens.dark else "light")).as_posix()
    mono = f'\n*[mono="true"] {{ font-family: "{fixed.family()}"; font-size: {fixed.pixelSize()}px; }}\n'
    sheet = _SHEET.substitute(
        tokens.as_dict(),
        title_px=size_px + 5,
        heading_px=size_px + 1,
        small_px=size_px - 1,
        tiny_px=size_px - 2,
        inner_height=CONTROL_HEIGHT_PX - 2,
        focus_height=CONTROL_HEIGHT_PX - 4,
        header_height=HEADER_HEIGHT_PX,
        radius=CONTROL_RADIUS_PX,
        card_radius=CARD_RADIUS_PX,
        themes=themes,
    )
    return sheet + mono
