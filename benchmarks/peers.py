"""Other libraries on a benchmark, run in an environment of their own."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from problems import Forecasts, Problem


class PeerError(Exception):
    """A peer gave no forecast; its own words stand on stderr."""


class Environment(NamedTuple):
    """Where peers run, and how long.

    Attributes:
        python: Interpreter of the peers' environment.
        steps: Of the optimiser, for each network.
        limit: Seconds after which a peer is stopped.
        lookback: Rows that the networks see; those of the problem when None.
    """

    python: Path
    steps: int
    limit: float
    lookback: int | None = None


def forecast(problem: Problem, model: str, where: Environment, seed: int) -> Forecasts:
    """Let a peer forecast the rows held out of a problem.

    Args:
        problem: The peer gets all its rows, and trains on those before the ones held out.
        model: One of `peer_models.MODELS`.
        where: The environment of the peers.
        seed: Of the networks.

    Raises:
        PeerError: It failed or took too long.
    """
    rows = [y.to_numpy(float) for y in problem.series.values()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(
            folder / "series.npz", y=np.concatenate(rows), offsets=np.cumsum([0, *map(len, rows)])
        )
        asked = {key: getattr(problem, key) for key in ("horizon", "test_size", "season")}
        asked |= {"lookback": where.lookback or problem.lookback}
        (folder / "problem.json").write_text(
            json.dumps({**asked, "seed": seed, "steps": where.steps})
        )
        script = Path(__file__).with_name("peer_models.py")
        try:
            subprocess.run([where.python, script, model, folder], check=True, timeout=where.limit)
        except subprocess.TimeoutExpired:
            raise PeerError(f"not finished after {where.limit:g} s") from None
        except subprocess.CalledProcessError as error:
            raise PeerError(f"failed with exit code {error.returncode}") from None
        about = json.loads((folder / "about.json").read_text())
        with np.load(folder / "forecast.npz") as said:
            levels = [name.removeprefix("lo-") for name in said if name.startswith("lo-")]
            bounds = {float(level): (said[f"lo-{level}"], said[f"hi-{level}"]) for level in levels}
            return Forecasts(said["values"], bounds, about)
