"""How far back a loss reaches: its gradient with respect to each step that a network sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from forecaster.arrays import Floats
from forecaster.backend import import_keras

keras = import_keras()
ops = keras.ops


def gradient_by_step(network: Any, contexts: Floats, targets: Floats) -> Floats:
    """Return the size of the gradient of the squared error at each step, averaged over windows.

    It is the norm over the features of d loss / d input. In a recurrent network it shrinks or grows
    with every step that it goes back through (Pascanu, Mikolov & Bengio 2013, "On the difficulty of
    training recurrent neural networks", section 2).

    Args:
        network: From contexts alone to forecasts; see `builder.build`.
        contexts: `(window, lookback, feature)`.
        targets: `(window, horizon)`.

    Returns:
        `(lookback,)`.
    """
    truth = ops.convert_to_tensor(targets.astype(np.float32))

    def loss(inputs: Any) -> Any:
        """Add up the losses: those of other windows do not depend on a window's inputs."""
        return ops.sum(ops.square(network(inputs)[:, :, 0] - truth))

    gradient = GRADIENTS[keras.backend.backend()](loss, contexts.astype(np.float32))
    return np.asarray(np.linalg.norm(gradient.astype(np.float64), axis=2).mean(axis=0))


def _tensorflow(loss: Callable[[Any], Any], inputs: Floats) -> Floats:
    import tensorflow as tf

    tensor = tf.convert_to_tensor(inputs)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = loss(tensor)
    return np.asarray(tape.gradient(value, tensor))


def _jax(loss: Callable[[Any], Any], inputs: Floats) -> Floats:
    import jax

    return np.asarray(jax.grad(loss)(inputs))


def _torch(loss: Callable[[Any], Any], inputs: Floats) -> Floats:
    tensor = ops.convert_to_tensor(inputs).requires_grad_()
    loss(tensor).backward()
    return np.asarray(ops.convert_to_numpy(tensor.grad))


GRADIENTS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
