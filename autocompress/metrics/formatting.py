"""How values of metrics, times and titles are written, alike in the terminal and on the page."""

import math

from autocompress.metrics.metric import Estimate, Metric

UNKNOWN = "-"  # where there is no number
_PREFIXES = (("G", 1e9), ("M", 1e6), ("k", 1e3))
Value = Estimate | float | None


def format_value(metric: Metric, value: Value) -> str:
    """Return a value with its unit.

    Example:
        >>> from autocompress.metrics.metric import LATENCY, PARAMETERS
        >>> format_value(LATENCY, 1.234), format_value(PARAMETERS, 61_400)
        ('1.23 ms', '61.4 k')
    """
    number = _number(value)
    if number is None:
        return UNKNOWN
    if metric.format == "fraction":
        return percent(number)
    if metric.format == "bytes":
        return count(number, "B")
    written = count(number) if metric.format == "count" else three_digits(number)
    return f"{written} {metric.unit}".rstrip()


def format_change(metric: Metric, value: Value, baseline: Value) -> str:
    """Return a value beside the baseline's: ``0.46x``, or ``-1.25 points``.

    Args:
        metric: says whether it is compared as a ratio or as a difference.
        value: of a candidate.
        baseline: of the baseline.
    """
    number, reference = _number(value), _number(baseline)
    if number is None or reference is None:
        return UNKNOWN
    return _change(metric, metric.beside(number, reference))


def format_interval(metric: Metric, value: Value, baseline: Value = None) -> str:
    """Return a value with its 95 % interval, where one is known: ``1.23 ms (1.20 to 1.27)``.

    Args:
        metric: of the value.
        value: an estimate; a number has no interval.
        baseline: where given, all is written beside it, as ``format_change`` does.
    """
    reference = _number(baseline)

    def write(number: float) -> str:
        if baseline is None:
            return format_value(metric, number)
        return format_change(metric, number, reference)

    number = _number(value)
    if number is None:
        return UNKNOWN
    if not isinstance(value, Estimate) or value.low is None or value.high is None:
        return write(number)
    low, high = (_without_unit(write(end), metric) for end in (value.low, value.high))
    return f"{write(number)} ({low} to {high})"


def short_title(metric: Metric) -> str:
    """Return the title of a metric without its unit."""
    return metric.title


def axis_title(metric: Metric, *, relative: bool = False) -> str:
    """Return the title of an axis, with the unit: ``latency (ms)``.

    Args:
        metric: that the axis shows.
        relative: whether it shows ratios to the baseline's value, or differences from it, those
            of fractions in points.
    """
    if relative and metric.comparison == "ratio":
        return f"{metric.title} (of the baseline)"
    unit = metric.unit
    if metric.format == "fraction":
        unit = "points" if relative else ""
    title = f"{metric.title}, against the baseline" if relative else metric.title
    return f"{title} ({unit})" if unit else title


def axis_format(metric: Metric, *, relative: bool = False) -> str:
    """Return the format of numbers on an axis, in d3's notation.

    Args:
        metric: that the axis shows.
        relative: as for ``axis_title``.
    """
    if relative:
        return "~g" if metric.comparison == "ratio" else "+~g"
    return {"fraction": ".1%", "count": "~s", "bytes": "~s", "number": "~g"}[metric.format]


def tick(metric: Metric, value: float, *, relative: bool = False) -> str:
    """Return a number at the tick of an axis, as ``axis_format`` would write it."""
    if relative:
        return f"{value:g}" if metric.comparison == "ratio" else f"{value:+g}"
    if metric.format == "fraction":
        return f"{value:.1%}"
    return count(value) if metric.format in ("count", "bytes") else f"{value:g}"


def count(number: float | None, unit: str = "") -> str:
    """Return a count with three digits and a prefix: ``61.4 M``, ``980``; bytes with ``"B"``."""
    if number is None:
        return UNKNOWN
    for prefix, size in _PREFIXES:
        if abs(number) >= 0.9995 * size:
            return f"{three_digits(number / size)} {prefix}{unit}"
    return f"{number:.0f} {unit}".rstrip()


def percent(fraction: float | None, digits: int = 2) -> str:
    """Return a fraction as a percentage: ``98.24 %``."""
    return UNKNOWN if fraction is None else f"{100 * fraction:.{digits}f} %"


def ratio(value: float | None) -> str:
    """Return a ratio to the baseline: ``0.46x``."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    return f"{value:.2f}x" if value >= 0.1 else f"{value:.3f}x"


def duration(seconds: float | None) -> str:
    """Return a time span: ``48 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def in_one_line(text: str | None) -> str:
    """Return the first line of a text, with dots where more follows."""
    first, *more = (text or "").splitlines() or [""]
    return f"{first} ..." if more else first


def three_digits(number: float) -> str:
    """Return a number with three digits: ``1.23``, ``0.0123``."""
    digits = 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0
    return f"{number:.{digits}f}" if abs(number) >= 0.1 or number == 0 else f"{number:.3g}"


def _number(value: Value) -> float | None:
    return value.value if isinstance(value, Estimate) else value


def _change(metric: Metric, beside: float) -> str:
    if metric.comparison == "ratio":
        return ratio(beside)
    if metric.format == "fraction":
        return f"{100 * beside:+.2f} points"
    sign = "-" if beside < 0 else "+"
    return f"{sign}{format_value(metric, abs(beside))}"


def _without_unit(text: str, metric: Metric) -> str:
    for unit in (f" {metric.unit}" if metric.unit else "", "x", " points", " %"):
        text = text.removesuffix(unit)
    return text
