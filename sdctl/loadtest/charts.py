"""Small multiples on one time axis, as plain SVG text; no script, no outside reference."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, HEIGHT, GAP = 900, 64, 16, 110, 34
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Series:
    """One curve: `kind` is line, step or dots; `style` is a class of the page's stylesheet."""

    name: str
    points: Points
    kind: str = "line"
    style: str = "a"


@dataclass(frozen=True)
class Panel:
    """One chart of a column that shares its time axis."""

    title: str
    unit: str
    series: Sequence[Series]
    limit: float | None = None  # a goal, drawn as a line
    whole: bool = False  # its values are numbers of things


@dataclass(frozen=True)
class Band:
    """A named span of time behind all panels (epoch s)."""

    name: str
    begin: float
    end: float
    style: int = 0  # the number of its colour: the same for a phase everywhere


def column(panels: Sequence[Panel], bands: Sequence[Band], *, begin: float, end: float) -> str:
    """Panels below each other on one time axis (seconds since `begin`), with phase bands behind them."""
    end = max(end, begin + 1.0)
    height = len(panels) * (HEIGHT + GAP) + 30
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="charts-t" class="chart">'
        '<title id="charts-t">Latency, requests, replicas and nodes over the run\'s time</title>'
    ]
    for number, panel in enumerate(panels):
        top = number * (HEIGHT + GAP) + 22
        parts.append(_panel(panel, bands, named=number == 0, top=top, begin=begin, end=end))
    parts.append(_time_axis(height - 26, begin, end))
    return "".join([*parts, "</svg>"])


def _x(time: float, begin: float, end: float) -> float:
    share = (time - begin) / (end - begin)
    return LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT)


def _panel(panel: Panel, bands: Sequence[Band], *, named: bool, top: float, begin: float, end: float) -> str:
    values = [y for series in panel.series for _, y in series.points]
    bottom = top + HEIGHT
    parts = [f'<text x="{LEFT}" y="{top - 7}" class="t">{escape(panel.title)} ({escape(panel.unit)})</text>']
    if not values:
        middle = (top + bottom) / 2
        return parts[0] + f'<text x="{LEFT + 20}" y="{middle}" class="none">nothing of this could be seen</text>'
    most, limit = scale(values, panel.limit, whole=panel.whole)
    for band in bands:
        left, right = _x(band.begin, begin, end), _x(band.end, begin, end)
        parts.append(
            f'<rect x="{left:.1f}" y="{top}" width="{max(0.5, right - left):.1f}" height="{HEIGHT}" '
            f'class="band b{band.style}"><title>{escape(band.name)}: {band.end - band.begin:.1f} s</title></rect>'
        )
        if named and right - left > 7 * len(band.name):
            parts.append(f'<text x="{left + 3:.1f}" y="{top + 12}" class="in">{escape(band.name)}</text>')
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * HEIGHT
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" class="n">{share * most:g}</text>')
    if limit is not None:
        y = bottom - limit / most * HEIGHT
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="goal"/>')
    if panel.limit is not None:
        where = "" if limit is not None else ", far above"
        parts.append(f'<text x="{WIDTH - RIGHT}" y="{top - 7}" class="n">goal {panel.limit:g}{where}</text>')
    for place, series in enumerate(series for series in panel.series if series.points):
        points = [(_x(t, begin, end), bottom - min(1.0, y / most) * HEIGHT) for t, y in series.points]
        parts.append(_curve(series, points, _x(end, begin, end)))
        label = LEFT + 250 + place * 150
        parts.append(f'<text x="{label}" y="{top - 7}" class="key {series.style}">■ {escape(series.name)}</text>')
    return "".join(parts)


def scale(values: Sequence[float], limit: float | None, *, whole: bool) -> tuple[float, float | None]:
    """The top of an axis, and the goal where it lies on it: one far above all values would only flatten them."""
    top = max([*values, 1e-9])
    shown = limit if limit is not None and limit <= 3 * top else None
    top = max(top, shown or 0.0)
    if whole and top <= 10:
        return max(2.0, 2.0 * -(-top // 2)), shown  # even, so that its middle is a whole number too
    return nice(top), shown


def _curve(series: Series, points: Sequence[tuple[float, float]], right: float) -> str:
    if not points:
        return ""
    if series.kind == "dots":
        return "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" class="dot {series.style}"/>' for x, y in points)
    if series.kind == "step":
        steps = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
        steps += [f"H{x:.1f}V{y:.1f}" for x, y in points[1:]]
        return f'<path d="{"".join(steps)}H{right:.1f}" class="line {series.style}"/>'
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{line}" class="line {series.style}"/>'


def _time_axis(y: float, begin: float, end: float) -> str:
    span = end - begin
    step = nice(span / 6)
    parts, tick = [], 0.0
    while tick <= span:
        x = _x(begin + tick, begin, end)
        parts.append(f'<text x="{x:.1f}" y="{y + 16}" class="x">{tick:g} s</text>')
        tick += step
    return "".join(parts)


def nice(value: float) -> float:
    """The next 1, 2, 2.5 or 5 times a power of ten."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next((power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= value), power * 10)


def lanes(rows: Sequence[tuple[str, Sequence[Band]]], title: str, *, begin: float, end: float) -> str:
    """One row a replica or a node, its phases and the time that it served as bars."""
    end = max(end, begin + 1.0)
    height = len(rows) * 26 + 62
    name = title.lower().replace(" ", "-")
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="{name}-t" class="chart">'
        f'<title id="{name}-t">{escape(title)}</title>'
    ]
    for number, (called, bands) in enumerate(rows):
        y = number * 26 + 6
        parts.append(f'<text x="{LEFT - 6}" y="{y + 13}" class="n">{escape(called)}</text>')
        for band in bands:
            left, right = _x(band.begin, begin, end), _x(band.end, begin, end)
            parts.append(
                f'<rect x="{left:.1f}" y="{y}" width="{max(1.0, right - left):.1f}" height="18" '
                f'class="bar b{band.style}">'
                f"<title>{escape(band.name)}: {band.end - band.begin:.1f} s</title></rect>"
            )
            if right - left > 7 * len(band.name):
                parts.append(f'<text x="{left + 4:.1f}" y="{y + 13}" class="in">{escape(band.name)}</text>')
    parts.append(_time_axis(height - 50, begin, end))
    names = {band.style: band.name for _, bands in rows for band in bands}
    for place, (style, phase) in enumerate(sorted(names.items())):
        left = LEFT + place * 102
        parts.append(f'<rect x="{left}" y="{height - 18}" width="10" height="10" class="bar b{style}"/>')
        parts.append(f'<text x="{left + 14}" y="{height - 9}">{escape(phase)}</text>')
    return "".join([*parts, "</svg>"])


def histogram(values: Sequence[float], marks: Sequence[tuple[str, float]] = (), *, bins: int = 40) -> str:
    """The distribution of latencies in seconds, with named values on it."""
    if not values:
        return ""
    most = nice(max(values))
    counted = [0] * bins
    for value in values:
        counted[min(bins - 1, int(value / most * bins))] += 1
    top, bar = max(counted), (WIDTH - LEFT - RIGHT) / bins
    parts = [
        f'<svg viewBox="0 -22 {WIDTH} 172" role="img" aria-labelledby="hist-t" class="chart">'
        '<title id="hist-t">Distribution of latency</title>'
        f'<text x="{LEFT - 6}" y="14" class="n">{top}</text><text x="{LEFT - 6}" y="124" class="n">0</text>'
    ]
    for number, count in enumerate(counted):
        height = count / top * 110
        parts.append(
            f'<rect x="{LEFT + number * bar:.1f}" y="{120 - height:.1f}" width="{bar - 1:.1f}" height="{height:.1f}" '
            f'class="bar b0"><title>{count} between {number * most / bins:.2f} and {(number + 1) * most / bins:.2f} s'
            "</title></rect>"
        )
    for place, (name, value) in enumerate(marks):
        x = LEFT + min(1.0, value / most) * (WIDTH - LEFT - RIGHT)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="120" class="mark"/>')
        text = f"{escape(name)} {value:.2f} s"
        parts.append(f'<text x="{x + 4:.1f}" y="{-10 + 14 * (place % 2)}">{text}</text>')
    parts += [
        f'<text x="{LEFT + share * (WIDTH - LEFT - RIGHT):.1f}" y="138" class="x">{share * most:g} s</text>'
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    return "".join([*parts, "</svg>"])
