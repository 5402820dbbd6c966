"""Numbers as tables, figures and pages show them."""

import pandas as pd

NOT_AVAILABLE = "n/a"
_UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float | None, pattern: str) -> str:
    """``value`` as ``pattern`` (a format specification) writes it; ``n/a`` for None and NaN."""
    return NOT_AVAILABLE if pd.isna(value) else format(value, pattern)


def si(value: float) -> str:
    """``value`` (0 or more) to three significant digits, with k, M or G: 613297 is ``613k``, 999900 is ``1M``."""
    # 999.5 of a unit would round up to 1000 of it.
    limit, unit = next(((limit, unit) for limit, unit in _UNITS if value >= limit * 0.9995), (1.0, ""))
    return f"{value / limit:.3g}{unit}"
