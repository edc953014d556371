"""Forecasts from recurrent networks: fetch, train, judge, predict.

>>> from forecaster import Forecaster, samples
"""

from __future__ import annotations
