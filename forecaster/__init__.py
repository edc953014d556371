"""Forecasts from recurrent networks: fetch, train, judge, predict.

>>> from forecaster import Forecaster
>>> forecaster = Forecaster(cell="gru", horizon=12)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forecaster.api import Forecaster, backtest
    from forecaster.comparing import compare
    from forecaster.errors import ForecasterError

__all__ = ["Forecaster", "ForecasterError", "backtest", "compare"]
_HOME = {"ForecasterError": "errors", "compare": "comparing"}  # else api


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    """Import the public names when they are first used: the command line starts without them."""
    if name not in __all__:
        raise AttributeError(f"module 'forecaster' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"forecaster.{_HOME.get(name, 'api')}"), name)
