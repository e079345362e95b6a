"""Numbers, times and sums of money as people read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime


class Shown(str):
    """Text that is safe to show unchanged, spaces included."""

    __slots__ = ()


def whole(number: int) -> Shown:
    """Format ``1234567`` as ``1 234 567``, with spaces that do not break."""
    return Shown(f"{number:,}".replace(",", "\u202f"))


def percent(fraction: float, digits: int = 1) -> Shown:
    """Format ``0.9731`` as ``97.3 %``; never rounded up to 100 or down to 0."""
    scaled = fraction * 100
    step = 10.0**-digits
    if 0 < scaled < step:
        return Shown(f"< {step:.{digits}f}\u00a0%")
    if 100 - step < scaled < 100:
        return Shown(f"> {100 - step:.{digits}f}\u00a0%")
    return Shown(f"{scaled:.{digits}f}\u00a0%")


def percent_of_area(fraction: float) -> Shown:
    """Format a share of the image with two decimals, because small ones matter."""
    return percent(fraction, 2)


def duration(seconds: float) -> str:
    """Format ``4210`` as ``1 h 10 min``, ``42.4`` as ``42.4 s``."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def moment(at: datetime) -> str:
    """Format an aware time in UTC to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def money(dollars: float) -> str:
    """Format US dollars, with four decimals below ten cents so that small costs are not 0."""
    return f"{dollars:.4f} USD" if 0 < dollars < 0.1 else f"{dollars:.2f} USD"


def person(name: str) -> str:
    """``lfv inspect (Ana)``, as runs are recorded, as ``Ana (lfv inspect)``: the person first."""
    found = re.fullmatch(r"(lfv [a-z ]+) \((.+)\)", name)
    return f"{found[2]} ({found[1]})" if found else name


def score(value: float | None) -> str:
    """Format a measure from 0 to 1, or a dash if it is undefined."""
    return "–" if value is None else f"{value:.3f}"


def color(value: str | None) -> str | None:
    """Return `value` if it is ``#RRGGBB``, which is safe in a style attribute; else None."""
    return value if value is not None and re.fullmatch(r"#[0-9A-Fa-f]{6}", value) else None
