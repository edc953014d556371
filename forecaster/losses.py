"""Losses by their name in the configuration."""

from __future__ import annotations

from typing import Any

from forecaster.backend import import_keras

keras = import_keras()

LOSSES: dict[str, Any] = {
    "mae": keras.losses.mean_absolute_error,
    "mse": keras.losses.mean_squared_error,
    "huber": keras.losses.huber,
}
