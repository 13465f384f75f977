"""Rows as text for the clipboard and for files: TSV, CSV, JSON. What a spreadsheet would run is disarmed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal

from san_console.gui.models.columns import Column
from san_console.names.display import csv_cell, visible

ExportForm = Literal["tsv", "csv", "json"]


def _delimited(columns: Sequence[Column], items: Iterable[Any], dialect: type[csv.Dialect]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, dialect, lineterminator="\n")
    writer.writerow([csv_cell(column.title) for column in columns])
    for item in items:
        writer.writerow([csv_cell(column.value(item)) for column in columns])
    return text.getvalue()


def _as_tsv(columns: Sequence[Column], items: Iterable[Any]) -> str:
    return _delimited(columns, items, csv.excel_tab)


def _as_csv(columns: Sequence[Column], items: Iterable[Any]) -> str:
    return _delimited(columns, items, csv.excel)


def _as_json(columns: Sequence[Column], items: Iterable[Any]) -> str:
    rows = [{column.key: visible(column.value(item)) for column in columns} for item in items]
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


_FORMS: Final[dict[ExportForm, Callable[[Sequence[Column], Iterable[Any]], str]]] = {
    "tsv": _as_tsv,
    "csv": _as_csv,
    "json": _as_json,
}


def export(form: ExportForm, columns: Sequence[Column], items: Iterable[Any]) -> str:
    """`items` as text, one row each, with the texts that the table shows. Sparkline columns are left out."""
    return _FORMS[form]([column for column in columns if column.kind != "sparkline"], items)
