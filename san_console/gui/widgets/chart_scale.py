"""The arithmetic of a chart, without Qt: round scales, spans, and min/max per pixel column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from san_console.gui.translation import translate

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


def round_top(largest: float, parts: int = 3) -> float:
    """The end of a scale of `parts` equal, round parts that holds `largest`."""
    if largest <= 0 or not math.isfinite(largest):
        return float(parts)
    part = largest / parts
    power = 10.0 ** math.floor(math.log10(part))
    step = next(step for step in _STEPS if step * power >= part * 0.999999)
    return step * power * parts


def tick_text(value: float, top: float) -> str:
    """`value` with as many digits as a scale up to `top` needs."""
    if top >= 1000:
        return f"{value:,.0f}"
    if top >= 15 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if top >= 1.5 else f"{value:.2f}"


def span_ticks(span_s: int) -> list[tuple[float, str]]:
    """Five marks of a time axis: (seconds before now, text)."""
    ticks = []
    for quarter in range(5):
        before = span_s * (4 - quarter) / 4
        if quarter == 4:
            ticks.append((0.0, translate("chart_scale", "now")))
        elif span_s <= 120:
            ticks.append(
                (
                    before,
                    translate("chart_scale", "-{before:.0f} s").format(before=before)
                    if quarter == 0
                    else f"-{before:.0f}",
                )
            )
        else:
            minutes = before / 60
            text = f"{minutes:.0f}" if minutes == int(minutes) else f"{minutes:.1f}"
            ticks.append(
                (
                    before,
                    translate("chart_scale", "-{text} min").format(text=text) if quarter == 0 else f"-{text}",
                )
            )
    return ticks


def reduce_columns(points: Sequence[tuple[float, float]], columns: int) -> list[tuple[float, float]]:
    """Of more points than pixel columns: the first, lowest, highest and last of each column, in order of
    time.

    `points` are (x, y) with x from 0 to `columns`, ascending. What the eye could see stays.
    """
    if len(points) <= columns * 2:
        return list(points)
    reduced: list[tuple[float, float]] = []
    start = 0
    while start < len(points):
        column = int(points[start][0])
        end = start
        while end < len(points) and int(points[end][0]) == column:
            end += 1
        group = points[start:end]
        kept = {0, len(group) - 1}
        kept.add(min(range(len(group)), key=lambda at: group[at][1]))
        kept.add(max(range(len(group)), key=lambda at: group[at][1]))
        reduced.extend(group[at] for at in sorted(kept))
        start = end
    return reduced
