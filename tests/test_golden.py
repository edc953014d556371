"""Models saved by an earlier state of the program still load and forecast the same.

`golden/<cell>` are versions of format 1, `golden/<cell>.csv` what they forecast when they were
saved. A change that makes this fail breaks the models that users have: raise the format instead.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from series_made import frame_of

from forecaster import Forecaster
from forecaster.weights import networks_of

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_a_saved_model_forecasts_as_it_did(cell):
    expected = pd.read_csv(GOLDEN / f"{cell}.csv", parse_dates=["ds", "cutoff"])
    found = Forecaster.load(GOLDEN / cell).predict(6, frame=frame_of("a", "b"))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-5)


def test_a_setting_that_is_younger_than_a_version_says_what_the_version_did():
    assert Forecaster.load(GOLDEN / "gru").config.scaling.deseasonalise is False


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_its_network_is_built_again_from_settings_and_weights(cell):
    model = Forecaster.load(GOLDEN / cell).model
    (network,) = networks_of(model)
    random = np.random.default_rng(0)
    shapes = [(3, 16, model.network.context_shape[1]), (3, 4, model.network.future_features)]
    arrays = [random.normal(size=shape).astype("float32") for shape in shapes if shape[2]]
    keras_says = np.asarray(network(arrays if len(arrays) > 1 else arrays[0]))
    np.testing.assert_allclose(model.network(*arrays), keras_says, atol=1e-5)


def test_forecasting_reports_to_nobody(tmp_path):
    """ONNX Runtime would note in these folders what it is used for, to send it to its maker."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom forecaster import artifacts\n"
        "artifacts.load(Path(sys.argv[1]))"
    )
    folders = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    words = [sys.executable, "-c", code, str(GOLDEN / "gru")]
    subprocess.run(words, env=os.environ | folders, check=True)
    assert not list(tmp_path.iterdir())
