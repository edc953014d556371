"""Training with TensorFlow on a CPU: the halves of each batch go through at once.

XLA runs a recurrent network step after step, and a step is too small to keep two cores busy. Two
programs that each take half of the windows do.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from forecaster.backend import import_keras
from forecaster.networks.windowed import Windowed

keras = import_keras()


class Halved(Windowed):
    """A `Windowed` whose steps are compiled with XLA here; Keras is to compile nothing around them.

    The gradient of a batch is the mean of its halves', so that only what is drawn at random, as
    dropout is, differs from a batch that goes through as one. Batches are of an even size.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._gradients_of = tf.function(self._gradients, jit_compile=True)
        self._apply_mean = tf.function(self._apply, jit_compile=True)
        self._loss_of = tf.function(self._loss, jit_compile=True)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Train on a batch of cutoffs."""
        cutoffs, *_ = keras.utils.unpack_x_y_sample_weight(data)
        generators = self.non_trainable_variables
        losses, gradients, drawn = zip(
            *(
                self._gradients_of(half, [_other(state.value, number) for state in generators])
                for number, half in enumerate(tf.split(cutoffs, 2))
            ),
            strict=True,
        )
        self._apply_mean(gradients)
        for state, after in zip(generators, drawn[0], strict=True):
            state.assign(after)
        return self._told(cutoffs, (losses[0] + losses[1]) / 2)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Return the loss of a batch of cutoffs."""
        cutoffs, *_ = keras.utils.unpack_x_y_sample_weight(data)
        return self._told(cutoffs, self._loss_of(cutoffs, training=False))

    def _gradients(self, cutoffs: Any, drawn: list[Any]) -> tuple[Any, list[Any], list[Any]]:
        """Return the loss, its gradients, and the states of the generators of random numbers after.

        These states are given and returned, for a variable that both halves write would have one
        wait for the other.
        """
        states, weights = self.non_trainable_variables, self.trainable_variables
        values = [tf.convert_to_tensor(weight.value) for weight in weights]
        given = [*zip(weights, values, strict=True), *zip(states, drawn, strict=True)]
        with keras.StatelessScope(state_mapping=given) as scope, tf.GradientTape() as tape:
            tape.watch(values)
            loss = self._loss(cutoffs, training=True)
        after = [scope.get_current_value(state) for state in states]
        # those of a table of vectors come as the rows that were looked up
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, values)]
        return loss, gradients, after

    def _loss(self, cutoffs: Any, training: bool) -> Any:
        return self.compute_loss(
            x=cutoffs, y_pred=self(cutoffs, training=training), training=training
        )

    def _apply(self, gradients: tuple[list[Any], list[Any]]) -> None:
        mean = [(one + other) / 2 for one, other in zip(*gradients, strict=True)]
        self.optimizer.apply_gradients(zip(mean, self.trainable_variables, strict=True))

    def _told(self, cutoffs: Any, loss: Any) -> dict[str, Any]:
        self._loss_tracker.update_state(loss, sample_weight=tf.shape(cutoffs)[0])
        return self.get_metrics_result()


def _other(state: Any, number: int) -> Any:
    """Return the state of another generator, unless the number is 0."""
    return state + tf.constant([number, 0], state.dtype)
