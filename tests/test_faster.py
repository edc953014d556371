"""Layers and steps that are faster than those of Keras give what those of Keras give."""

from __future__ import annotations

import resource
import sys
import timeit

import numpy as np
import pytest
from series_made import QUICK, panel_of

from forecaster import backend, compiling, presets, scaling, splits, training
from forecaster.config import Config
from forecaster.memory.remembering import remember
from forecaster.memory.tasks import TASKS
from forecaster.networks import faster
from forecaster.networks.windowed import Windowed

keras = backend.import_keras()
tf = pytest.importorskip("tensorflow")

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="these are for TensorFlow"
)


def gradients(layer, inputs, states, xla):
    """Return what a layer gives, and the gradients of a loss that weighs each of it by itself."""

    @tf.function(jit_compile=xla)
    def all_of():
        with tf.GradientTape() as tape:
            tape.watch([inputs, *states])
            given = layer(inputs, initial_state=states)
            loss = 0.0
            for part in given:
                weights = tf.reshape(tf.range(tf.size(part), dtype="float32"), part.shape)
                loss += tf.reduce_sum(tf.sin(part) * weights)
        return [*given, *tape.gradient(loss, [inputs, *states, *layer.trainable_variables])]

    return [np.asarray(part) for part in all_of()]


@pytest.mark.parametrize(("steps", "sequences"), [(1, False), (6, True), (6, False)])
@pytest.mark.parametrize("cell", ["SimpleRNN", "LSTM", "GRU"])
def test_outputs_and_gradients_are_those_of_keras(cell, steps, sequences):
    options = {"return_sequences": sequences, "return_state": True, "go_backwards": sequences}
    ours, theirs = (getattr(source, cell)(5, **options) for source in (faster, keras.layers))
    random = np.random.default_rng(steps)
    inputs = tf.constant(random.normal(size=(4, steps, 3)).astype("float32"))
    count = 2 if cell == "LSTM" else 1
    states = [tf.constant(random.normal(size=(4, 5)).astype("float32")) for _ in range(count)]
    for layer in (ours, theirs):
        layer.build(inputs.shape)
    weights = [random.normal(0, 0.5, weight.shape) for weight in ours.get_weights()]  # not chaotic
    ours.set_weights(weights)
    theirs.set_weights(weights)
    expected = gradients(theirs, inputs, states, xla=False)
    for xla in (False, True) if sequences else (False,):
        for got, wanted in zip(gradients(ours, inputs, states, xla), expected, strict=True):
            # a small entry may be the sum of parts as large as the largest
            rounding = max(2e-5, np.finfo(np.float32).eps * np.abs(wanted).max())
            np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=rounding)


@pytest.mark.parametrize(
    "options", [{"recurrent_dropout": 0.5}, {"activation": "relu"}, {"use_bias": False}]
)
def test_what_is_not_covered_runs_as_keras_has_it(options, monkeypatch):
    monkeypatch.setattr("forecaster.networks.recurrences.run", None)
    for cell in (faster.SimpleRNN, faster.LSTM, faster.GRU):
        assert cell(5, **options)(np.ones((2, 3, 1)), training=True).shape == (2, 5)
    masked = faster.GRU(5)(np.ones((2, 3, 1)), mask=np.array([[True, True, False]] * 2))
    assert masked.shape == (2, 5)


@pytest.mark.parametrize("xla", [False, True], ids=["graph", "xla"])
def test_dropout_drops_its_share_anew_each_time(xla):
    layer = faster.Dropout(0.25, seed=3)
    inputs = tf.ones((200, 50))
    call = tf.function(layer, jit_compile=xla)
    one, other = (np.asarray(call(inputs, training=True)) for _ in range(2))
    assert np.mean(one == 0) == pytest.approx(0.25, abs=0.02)
    assert one.max() == pytest.approx(1 / 0.75)
    assert np.mean((one == 0) == (other == 0)) == pytest.approx(0.75**2 + 0.25**2, abs=0.02)
    assert (np.asarray(layer(inputs)) == 1).all()


def test_dropout_takes_what_that_of_keras_does():
    inputs = tf.ones((4, 50))
    assert not np.asarray(faster.Dropout(1.0)(inputs, training=True)).any()
    dropped = np.asarray(faster.Dropout(0.5, noise_shape=(1, 50))(inputs, training=True))
    np.testing.assert_array_equal(dropped, dropped[:1].repeat(4, axis=0))


def test_dropout_costs_little_under_xla():
    """Keras' own takes twenty times as long there as outside."""
    inputs = tf.ones((512, 128))

    def seconds(layer, xla):
        call = tf.function(lambda: tf.reduce_sum(layer(inputs, training=True)), jit_compile=xla)
        return min(timeit.repeat(lambda: call().numpy(), number=1, repeat=20))

    assert seconds(faster.Dropout(0.2), xla=True) < 5 * seconds(
        keras.layers.Dropout(0.2), xla=False
    )


def resolved(panel, **settings):
    return presets.resolve(Config.of(**QUICK | {"batch_size": 16} | settings), panel)


def trained(config, panel, xla, steps=3):
    """Return a network and its weights after some steps on the same batches."""
    compiling.forget()
    rows = training._rows(panel, config, scaling.fit(panel, config.scaling))
    keras.utils.set_random_seed(5)
    windowed = compiling.compiled(rows, config, windows=32, xla=xla)
    for variable in windowed.network.trainable_variables:
        variable.assign(keras.random.normal(variable.shape, stddev=0.1, seed=7))
    losses = [windowed.train_on_batch(np.arange(20, 36) + step) for step in range(steps)]
    losses.append(windowed.test_on_batch(np.arange(20, 36)))
    return windowed, losses, windowed.get_weights()


@pytest.mark.parametrize("options", [{}, {"series_vectors": True}])
def test_two_halves_train_as_the_whole_batch(compiled_anew, options):
    panel = panel_of("a", "b", rows=50)
    config = resolved(panel, layers=(4, 4), l2=1e-3, dropout=0.0, **options)
    whole, *expected = trained(config, panel, xla=False)
    halved, *got = trained(config, panel, xla=True)
    assert type(whole) is Windowed
    assert type(halved) is not Windowed
    np.testing.assert_allclose(got[0], expected[0], rtol=1e-4)
    for one, other in zip(got[1], expected[1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_each_half_draws_its_own_dropout_and_each_batch_anew(compiled_anew):
    panel = panel_of("a", rows=100)
    config = resolved(panel, dropout=0.5)
    windowed, *_ = trained(config, panel, xla=True, steps=1)
    states = windowed.non_trainable_variables
    (state,) = (state for state in states if np.asarray(state)[1])  # the cell draws nothing
    first = state.numpy().copy()
    windowed.optimizer.learning_rate = 0.0
    same = np.full(16, 30)
    one, other = (windowed.train_on_batch(same) for _ in range(2))
    assert one != other
    np.testing.assert_array_equal(np.asarray(state), np.add(first, (0, 2)))
    half = same[:8]
    loss, _, after = windowed._gradients_of(half, [each.numpy() for each in states])
    other, *_ = windowed._gradients_of(half, [np.add(each, (1, 0)) for each in states])
    assert float(loss) != float(other)
    assert [np.add(state, (0, 1)).tolist()] == [
        each.numpy().tolist() for each in after if each.numpy()[1]
    ]


def test_a_batch_of_odd_size_is_not_halved_even_after_one_that_was(compiled_anew):
    panel = panel_of("a", rows=100)
    for size, is_whole in ((16, False), (15, True)):
        config = resolved(panel, batch_size=size)
        rows = training._rows(panel, config, scaling.fit(panel, config.scaling))
        windowed = compiling.compiled(rows, config, windows=1_000, xla=True)  # steps are as many
        assert (type(windowed) is Windowed) is is_whole
    assert np.isfinite(windowed.train_on_batch(np.arange(20, 35)))


def test_a_batch_is_not_halved_on_the_cpu_beside_a_gpu(compiled_anew, monkeypatch):
    """There Keras' own layers may ask for cuDNN, which XLA cannot compile."""
    monkeypatch.setattr(backend, "gpus", lambda: ["GPU:0"])
    panel = panel_of("a", rows=100)
    config = resolved(panel)
    rows = training._rows(panel, config, scaling.fit(panel, config.scaling))
    assert type(compiling.compiled(rows, config, windows=32, xla=True)) is Windowed


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_beside_a_gpu_only_what_does_not_ask_for_cudnn_is_compiled(cell, monkeypatch):
    monkeypatch.setattr(backend, "gpus", lambda: ["GPU:0"])
    config = resolved(panel_of("a", rows=100), cell=cell)
    assert compiling.xla_pays(config, windows=10**6) is (cell == "rnn")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    assert compiling.xla_pays(config, windows=1)
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    assert not compiling.xla_pays(config, windows=10**6)


def test_networks_train_in_half_precision(compiled_anew):
    panel = panel_of("a", rows=100)
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        config = resolved(panel, quantiles=(0.1, 0.9))
        rows = training._rows(panel, config, scaling.fit(panel, config.scaling))
        windowed = compiling.compiled(rows, config, windows=32, xla=False)
        assert windowed(np.arange(20, 36)).dtype == "bfloat16"
        assert np.isfinite(windowed.train_on_batch(np.arange(20, 36)))
    finally:
        keras.config.set_dtype_policy(usual)


def refusing_arrays(operator):
    """Return an operator of tensors that takes no array of NumPy."""

    def alone(tensor, other):
        assert not isinstance(other, np.ndarray)
        return operator(tensor, other)

    return alone


@pytest.mark.parametrize(
    "settings", [{"direction": True}, {"preset": "seq2seq", "teacher_forcing": 0.5}]
)
def test_no_array_stands_beside_a_tensor(settings, compiled_anew, monkeypatch):
    """On a GPU a tensor of torch refuses to be added to one; here those of TensorFlow do."""
    panel = panel_of("a", rows=100)
    config = resolved(panel, **settings)
    rows = training._rows(panel, config, scaling.fit(panel, config.scaling))
    windowed = compiling.compiled(rows, config, windows=32, xla=False)
    for name in ("__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__"):
        monkeypatch.setattr(tf.Tensor, name, refusing_arrays(getattr(tf.Tensor, name)))
    cutoffs = np.arange(20, 36)
    forecast = windowed(tf.constant(cutoffs), training=True)
    assert np.isfinite(windowed.compute_loss(tf.constant(cutoffs), y_pred=forecast))
    assert np.isfinite(windowed.losses_of(cutoffs, forecast.numpy())).all()  # of shrinking


def faults(size):
    """Touch as many MB again and again; count the pages that the system had to map."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(size * 250_000, dtype=np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep memory by themselves")
def test_freed_memory_is_kept_only_inside():
    with backend.memory_kept():
        faults(80)
        kept = faults(80)
    assert kept < 100 < faults(80)
    faults(8)
    assert faults(8) < 100  # what NumPy makes by the way is not mapped anew each time


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep memory by themselves")
@pytest.mark.parametrize("task", [False, True], ids=["fit", "memory task"])
def test_freed_memory_is_kept_while_a_network_trains(task, monkeypatch, compiled_anew):
    class Measured(Exception):
        """Ends the training before it begins."""

    def measure(*_):
        faults(80)
        raise Measured(faults(80))

    monkeypatch.setattr(training, "run_plan", measure)
    panel = panel_of("a", rows=100)
    config = resolved(panel)
    with pytest.raises(Measured) as measured:
        if task:
            remember(TASKS["adding"], ("rnn",), (5,), 1, Config.of(layers=(4,)))
        else:
            training.fit(panel, config, splits.of_config(panel, config))
    assert measured.value.args[0] < 100


def test_a_step_is_faster_than_that_of_plain_keras(compiled_anew):
    """Twice as fast where it was measured (benchmarks/RESULTS.md); half of that fails."""
    panel = panel_of("a", rows=300)
    layers = {"preset": "classic", "cell": "lstm", "layers": (50, 50), "lookback": 60}
    config = resolved(panel, horizon=1, quantiles=(), dropout=0.0, segment=1, **layers)
    rows = training._rows(panel, config, scaling.fit(panel, config.scaling))
    ours = compiling.compiled(rows, config, windows=32, xla=True)
    plain = keras.Sequential(
        [keras.layers.LSTM(50, return_sequences=True), keras.layers.LSTM(50), keras.layers.Dense(1)]
    )
    plain.compile("adam", "mse")
    contexts, targets = np.ones((32, 60, 1), "float32"), np.ones((32, 1), "float32")

    def seconds(step):
        return min(timeit.repeat(step, number=1, repeat=20))

    with backend.memory_kept():
        our_step = seconds(lambda: ours.train_on_batch(np.arange(100, 132)))
    assert our_step < seconds(lambda: plain.train_on_batch(contexts, targets))
