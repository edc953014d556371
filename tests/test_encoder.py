"""What the encoder makes of the states is what the papers write down."""

import numpy as np
import textbook

from forecaster.backend import import_keras
from forecaster.config import NetworkSpec
from forecaster.networks.encoder import encode

keras = import_keras()

SEQUENCE = np.random.default_rng(0).normal(size=(4, 12, 2))


class Encoder:
    """An encoder with weights away from zero, and what it makes of a sequence."""

    def __init__(self, **settings):
        inputs = keras.Input(SEQUENCE.shape[1:])
        spec = NetworkSpec(**{"cell": "rnn", "layers": 6, "attention": "none"} | settings)
        _, final = encode(spec, inputs)
        self.network = keras.Model(inputs, final[0])
        random = np.random.default_rng(1)
        for weight in self.network.weights:
            weight.assign(weight.numpy() + random.normal(0, 0.3, weight.shape))
        self.output = np.asarray(self.network(SEQUENCE))

    def weights(self, name):
        return [np.float64(weight) for weight in self.network.get_layer(name).get_weights()]

    def dense(self, name, x):
        kernel, bias = self.weights(name)
        return x @ kernel + bias

    def attended(self, query, states):
        """Scaled dot products of each head: Vaswani et al. 2017, eq. 1 and sec. 3.2.2."""
        wq, bq, wk, bk, wv, bv, wo, bo = self.weights("attention")
        q = np.einsum("wu,uhs->whs", query, wq) + bq
        k = np.einsum("wtu,uhs->wths", states, wk) + bk
        v = np.einsum("wtu,uhs->wths", states, wv) + bv
        scores = np.exp(np.einsum("whs,wths->wht", q, k) / np.sqrt(q.shape[-1]))
        shares = scores / scores.sum(axis=2, keepdims=True)
        return np.einsum("wht,wths,hsu->wu", shares, v, wo) + bo

    def normed(self, name, x):
        gain, bias = self.weights(name)
        mean, variance = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-3) * gain + bias


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_dilated_state_follows_the_one_that_many_steps_before():
    """Chang et al. 2017, eq. 1: h_t = f(x_t, h_{t-d})."""
    encoder = Encoder(layers=(5, 6), dilations=(2, 3))
    states = SEQUENCE
    for number, dilation in ((1, 2), (2, 3)):
        kernel, recurrent, bias = encoder.weights(f"recurrent_{number}")
        made = [np.zeros((4, len(recurrent)))] * dilation  # those before the first step
        for x in np.swapaxes(states, 0, 1):
            made.append(np.tanh(x @ kernel + made[-dilation] @ recurrent + bias))
        states = np.stack(made[dilation:], axis=1)
    close(encoder.output, states[:, -1])


def test_both_ways_end_in_one_state():
    encoder = Encoder(bidirectional=True, layers=(5, 6))
    both = SEQUENCE
    for number in (1, 2):
        weights = encoder.weights(f"recurrent_{number}")
        forward = textbook.simple_rnn(both, *weights[:3])
        backward = textbook.simple_rnn(both[:, ::-1], *weights[3:])
        final = np.concatenate([forward[:, -1], backward[:, -1]], axis=1)
        both = np.concatenate([forward, backward[:, ::-1]], axis=2)
    close(encoder.output, encoder.dense("state_0", final))


def test_a_residual_layer_adds_what_goes_in():
    """He et al. 2016, eq. 1 where the sizes agree, eq. 2 where they do not."""
    encoder = Encoder(residual=True, layers=(6, 6))
    lower = textbook.simple_rnn(SEQUENCE, *encoder.weights("recurrent_1"))
    lower = lower + encoder.dense("recurrent_1_shortcut", SEQUENCE)
    upper = textbook.simple_rnn(lower, *encoder.weights("recurrent_2"))
    close(encoder.output, upper[:, -1] + lower[:, -1])


def test_attention_mixes_the_output_with_what_it_is_answered():
    """Luong et al. 2015, eq. 5: tanh(W [context; h])."""
    encoder = Encoder(attention="states", heads=2)
    states = textbook.simple_rnn(SEQUENCE, *encoder.weights("recurrent_1"))
    context = encoder.attended(states[:, -1], states)
    both = np.concatenate([context, states[:, -1]], axis=1)
    close(encoder.output, np.tanh(encoder.dense("attentional", both)))


def test_a_transformer_block_normalises_attends_and_feeds_forward():
    """Vaswani et al. 2017, sec. 3, normalised first as in Xiong et al. 2020; its last step.

    Every step attends here, so that reading the last one only is shown to change nothing.
    """
    encoder = Encoder(attention="self", heads=3)
    states = textbook.simple_rnn(SEQUENCE, *encoder.weights("recurrent_1"))
    normed = encoder.normed("attention_norm", states)
    attended = np.stack([encoder.attended(query, normed) for query in np.swapaxes(normed, 0, 1)], 1)
    block = states + attended
    wide = encoder.dense("feed_forward_in", encoder.normed("feed_forward_norm", block))
    assert wide.shape[2] == 4 * 6
    block = block + encoder.dense("feed_forward_out", np.maximum(wide, 0))
    close(encoder.output, block[:, -1])
