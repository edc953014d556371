"""A study without a network: what it "trains" is worse the further dropout is from 0.3.

As a program it runs `forecast tune` in a process of its own, which needs no Keras then.
"""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from forecaster.windows import rows_after

BEST = 0.3


class Made:
    """In place of a trained model."""

    def __init__(self, config: Any) -> None:
        self.error = abs(config.network.dropout[0] - BEST) + 0.01
        self.horizon = int(config.network.horizon)
        self.fallback = self.chances = None

    def forecast(self, panel: Any, cutoffs: Any) -> SimpleNamespace:
        """Miss the truth by as much at every step."""
        series = np.searchsorted(panel.offsets, cutoffs, side="right") - 1
        return SimpleNamespace(
            values=panel.y[rows_after(cutoffs, self.horizon)] + self.error,
            series=series,
            up=None,
            bounds=lambda level: (panel.y[cutoffs], panel.y[cutoffs]),
        )


def fit(panel: Any, config: Any, parts: Any, on_epoch: Any = lambda _: None, **_: Any) -> Made:
    """Take the place of `training.fit`."""
    on_epoch(SimpleNamespace(network=1, epoch=1, epochs=1, loss=0.0, val_loss=0.0))
    return Made(config)


def slow_fit(panel: Any, config: Any, parts: Any, **options: Any) -> Made:
    """Take a while over it, long enough to be killed in the midst."""
    time.sleep(0.3)
    return fit(panel, config, parts, **options)


if __name__ == "__main__":
    sys.modules["forecaster.training"] = SimpleNamespace(fit=slow_fit)  # type: ignore[assignment]
    from forecaster.cli import app

    sys.exit(app.run(sys.argv[1:]))
