"""Trained networks compute what the textbooks write down, in Keras and in ONNX."""

import numpy as np
import pytest
import textbook
from series_made import QUICK, panel_of

from forecaster import presets, splits, training
from forecaster.config import Config
from forecaster.predicting import predict
from forecaster.weights import networks_of

STACK = {"preset": "classic", "segment": None, "layers": (7, 5), "epochs": 2, "learning_rate": 0.05}


@pytest.fixture(scope="module", params=["rnn-lstm", "lstm-gru"])
def trained(request):
    """A trained model, its Keras network and contexts."""
    panel = panel_of("a")
    config = presets.resolve(Config.of(**QUICK | STACK | {"cell": request.param}), panel)
    model = training.fit(panel, config, splits.of_config(panel, config))
    (network,) = networks_of(model)
    context = np.random.default_rng(0).normal(size=(6, 16, 1)).astype("float32")
    return model, network, context


def test_the_equations_give_what_trained_layers_do(trained):
    model, network, sequence = trained
    for number, layer in enumerate(model.config.network.stack, 1):
        keras_layer = network.get_layer(f"recurrent_{number}")
        outputs = keras_layer(sequence)
        outputs = np.asarray(outputs[0] if number == 2 else outputs)
        weights = [np.float64(weight) for weight in keras_layer.get_weights()]
        states = textbook.CELLS[layer.cell](np.float64(sequence), *weights)
        expected = states if number == 1 else states[:, -1]
        assert np.abs(weights[-1]).max() > 0  # biases begin at zero: it has been trained
        np.testing.assert_allclose(outputs, expected, atol=1e-5)
        sequence = outputs


def test_keras_onnx_and_the_equations_agree_on_the_forecast(trained):
    model, network, context = trained
    sequence = np.float64(context)
    for number, layer in enumerate(model.config.network.stack, 1):
        weights = network.get_layer(f"recurrent_{number}").get_weights()
        sequence = textbook.CELLS[layer.cell](sequence, *weights)
    kernel, bias = network.get_layer("head").get_weights()
    expected = (sequence[:, -1] @ kernel + bias)[:, :, None]
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(np.asarray(network(context)), expected, atol=1e-5)
    np.testing.assert_allclose(model.network(context), expected, atol=1e-5)


def test_the_forecast_is_called_as_its_cells(trained):
    model, *_ = trained
    cell = model.config.network.cell
    assert {cell, f"{cell}-lo-80"} <= set(predict(model, panel_of("a")).frame)
