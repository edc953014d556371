"""Sequences of a memory task as rows: what is trained on, validated and tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecaster.arrays import Floats, Ints
from forecaster.losses import Sizes
from forecaster.memory.tasks import SHORTEST, Task
from forecaster.networks.windowed import Rows

TRAIN, VALIDATION, TEST = 8192, 1024, 2048  # sequences
MIXED = 4  # lengths that are trained on, up to the one that is tested


@dataclass(frozen=True)
class Sequences:
    """Sequences of one length, one after the other, each with its answer in a last row.

    Attributes:
        features: `(sequence, length + 1, channel)`.
        train: Row of the last step of each `(sequence,)`, likewise `val` and `test`.
    """

    features: Floats
    train: Ints
    val: Ints
    test: Ints

    @property
    def rows(self) -> Rows:
        """All of them, as networks are trained on them."""
        sequences, steps, channels = self.features.shape
        ones = np.ones(sequences)
        return Rows(
            features=self.features.reshape(sequences * steps, channels),
            known=None,
            static=None,
            series=np.repeat(np.arange(sequences), steps),
            starts=np.arange(sequences) * steps,
            sizes=Sizes(scale=ones, center=0 * ones, log=0 * ones, unit=ones),
        )

    @property
    def tested(self) -> tuple[Floats, Floats]:
        """Test sequences `(sequence, step, channel)` and their answers `(sequence,)`."""
        tested = self.features[self.test // self.features.shape[1]]
        return tested[:, :-1], tested[:, -1, 0]


def sequences_of(task: Task, length: int, seed: int) -> Sequences:
    """Make the sequences of a length: the same for every cell, other ones to train on than to test.

    Those to train on are of several lengths up to the one asked for, with zeros in front, as texts
    and series are of several lengths. Of the long ones alone gates that begin half open learn nothing
    either, where only the first item counts: they lose half of it with every step.

    Args:
        task: What they ask for.
        length: Steps before the answer, of all that are validated and tested on.
        seed: Of all of them.
    """
    random = np.random.default_rng([seed, length])
    shorter = np.unique(np.rint(np.geomspace(SHORTEST, length, MIXED)).astype(int))
    counts = [len(part) for part in np.array_split(np.arange(TRAIN), len(shorter))]
    total = TRAIN + VALIDATION + TEST
    features = np.zeros((total, length + 1, len(task.channels)), dtype=np.float32)
    begin = 0
    for count, steps in [*zip(counts, shorter, strict=True), (VALIDATION + TEST, length)]:
        part = slice(begin, begin + count)
        inputs, features[part, -1, 0] = task.generate(count, int(steps), random)
        features[part, length - steps : -1] = inputs
        begin += count
    cutoffs = np.arange(total, dtype=np.int32) * (length + 1) + length - 1
    train, val, test = np.split(cutoffs, [TRAIN, TRAIN + VALIDATION])
    return Sequences(features, train, val, test)
