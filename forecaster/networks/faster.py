"""Layers of Keras that run faster with TensorFlow on a CPU, and as Keras has them everywhere else."""

from __future__ import annotations

from typing import Any

from forecaster import backend

keras = backend.import_keras()
ops = keras.ops
Layer: Any = keras.layers.Layer
WITH_TENSORFLOW = keras.backend.backend() == "tensorflow"


@keras.saving.register_keras_serializable(package="forecaster")
class Dropout(keras.layers.Dropout):  # type: ignore[misc,name-defined]
    """Drops out with the random numbers of Philox, which TensorFlow takes by itself outside XLA.

    Inside, it takes by itself ones that take thirty times as long to make. A rate of 1 and a shape of
    the noise run as Keras has them.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        usual = 0 < self.rate < 1 and self.noise_shape is None
        if not (training and usual and WITH_TENSORFLOW):
            return super().call(inputs, training=training)
        import tensorflow as tf

        seed = ops.cast(ops.mod(self.seed_generator.next(), tf.int32.max - 1), "int32")
        return tf.nn.experimental.stateless_dropout(inputs, self.rate, seed, "philox")


class Fast(Layer):  # type: ignore[misc]
    """Mixed into a layer of Keras: the same weights, the same states, computed faster.

    What `recurrences` does not cover runs as Keras has it: masks, recurrent dropout in training, other
    activations than Keras' own defaults. On a GPU cuDNN is faster.
    """

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """Run over the steps of `(window, step, feature)`; see `keras.layers.RNN`."""
        if mask is not None or not self._is_usual(training):
            return super().inner_loop(sequences, initial_state, mask=mask, training=training)
        from forecaster.networks.recurrences import run

        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
        cell = self.cell
        weights = (cell.kernel, cell.recurrent_kernel, cell.bias)
        outputs, states = run(type(self).__name__, sequences, initial_state, *weights)
        return states[0], outputs, states

    def _is_usual(self, training: bool) -> bool:
        cell = self.cell
        return (
            WITH_TENSORFLOW
            and not backend.gpus()
            and cell.activation is keras.activations.tanh
            and getattr(cell, "recurrent_activation", None) in (None, keras.activations.sigmoid)
            and getattr(cell, "reset_after", True)
            and cell.use_bias
            and not (training and (cell.dropout or cell.recurrent_dropout))
            and self.compute_dtype == "float32"
        )


@keras.saving.register_keras_serializable(package="forecaster")
class SimpleRNN(Fast, keras.layers.SimpleRNN):  # type: ignore[misc,name-defined]
    """Elman's network."""


@keras.saving.register_keras_serializable(package="forecaster")
class LSTM(Fast, keras.layers.LSTM):  # type: ignore[misc,name-defined]
    """Long short-term memory."""


@keras.saving.register_keras_serializable(package="forecaster")
class GRU(Fast, keras.layers.GRU):  # type: ignore[misc,name-defined]
    """Gated recurrent unit."""
