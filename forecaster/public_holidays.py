"""Public holidays of a country or a part of one, as a table of days.

The only module that knows the package `holidays`, which is imported when a model asks for it.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache

import numpy as np

from forecaster.errors import InvalidInputError


@lru_cache(maxsize=32)
def holiday_days(place: str, first_year: int, last_year: int) -> np.ndarray:
    """Return the public holidays of some years: (holiday,) int64 days since 1970, sorted.

    Args:
        place: Code of a country (ISO 3166), such as US, or with a part of it, such as DE-BY; any
            case.
        first_year: First year, whole.
        last_year: Last year, whole.

    Raises:
        InvalidInputError: There is no such country or part; near ones are named.

    >>> holiday_days("gb-sct", 2024, 2024)[:2].astype("M8[D]").astype(str).tolist()
    ['2024-01-01', '2024-01-02']
    """
    import holidays
    from holidays.registry import COUNTRIES

    country, _, part = place.partition("-")
    # of each country its name in one word, then its codes of two and three letters
    countries = {name.upper(): names[1] for names in COUNTRIES.values() for name in names}
    code = _known(country, countries, "country", place)
    if part:
        parts = {name.upper(): name for name in holidays.list_supported_countries()[code]}
        part = _known(part, parts, f"part of {code}", place)
    years = range(first_year, last_year + 1)
    found = holidays.country_holidays(code, subdiv=part or None, years=years)
    return np.array(sorted(found), dtype="M8[D]").astype(np.int64)


def _known(name: str, codes: dict[str, str], what: str, place: str) -> str:
    """Return the code that a name stands for in any case."""
    if name.upper() in codes:
        return codes[name.upper()]
    near = dict.fromkeys(codes[known] for known in get_close_matches(name.upper(), codes, 3, 0.5))
    raise InvalidInputError(
        f"There is no {what} {name!r} whose holidays are known (--holidays {place}).",
        f"Near: {', '.join(near)}." if near else "Use ISO 3166 codes, such as US, DE or DE-BY.",
    )
