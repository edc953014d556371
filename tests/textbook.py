"""The three cells as the textbooks write them, in NumPy, one step after another.

Inputs are `(window, step, feature)`, states `(window, unit)`. Weights come in the layout of Keras:
`kernel` (feature, gate * unit), `recurrent` (unit, gate * unit) and `bias`, with the gates side by side
in the order named in each function. `docs/networks.md` has the same equations in mathematical notation.
"""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def simple_rnn(inputs, kernel, recurrent, bias):
    """Return the states of a simple recurrent network (Elman 1990, fig. 2), tanh for its sigmoid.

    Goodfellow et al. 2016, Deep Learning, eq. 10.8 and 10.9, write it down.
    """
    h = np.zeros((len(inputs), recurrent.shape[0]))
    states = []
    for x in np.swapaxes(inputs, 0, 1):
        h = np.tanh(x @ kernel + h @ recurrent + bias)
        states.append(h)
    return np.stack(states, axis=1)


def lstm(inputs, kernel, recurrent, bias):
    """Return the outputs of a long short-term memory; gates: input, forget, candidate, output.

    Hochreiter & Schmidhuber 1997, sec. 4, with the forget gate of Gers et al. 2000, sec. 3, as Graves
    2013 (arXiv 1308.0850) writes it in eq. 7 to 11, without the peepholes.
    """
    h = c = np.zeros((len(inputs), recurrent.shape[0]))
    outputs = []
    for x in np.swapaxes(inputs, 0, 1):
        i, f, z, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs, axis=1)


def gru(inputs, kernel, recurrent, bias):
    """Return the states of a gated recurrent unit; gates: update, reset, candidate.

    Cho et al. 2014 (arXiv 1406.1078v3), eq. 5 to 8, except that the reset gate acts after the
    recurrent matrix, as in the paper's first version (`reset_after=True`, the default of Keras, which
    cuDNN computes), so that there are two biases.
    """
    h = np.zeros((len(inputs), recurrent.shape[0]))
    states = []
    for x in np.swapaxes(inputs, 0, 1):
        of_input = np.split(x @ kernel + bias[0], 3, axis=1)
        of_state = np.split(h @ recurrent + bias[1], 3, axis=1)
        z, r = (sigmoid(one + other) for one, other in zip(of_input[:2], of_state[:2], strict=True))
        candidate = np.tanh(of_input[2] + r * of_state[2])
        h = z * h + (1 - z) * candidate
        states.append(h)
    return np.stack(states, axis=1)


CELLS = {"rnn": simple_rnn, "lstm": lstm, "gru": gru}
