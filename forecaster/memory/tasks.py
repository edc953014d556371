"""Generated sequences that show what a recurrent network remembers, and for how long.

The textbooks give three reasons for gates (Zhang et al., Dive into Deep Learning, chapter on modern
recurrent networks): an early item that decides what comes much later, items that are to be skipped,
and a break after which the state is to be reset. Here each is a task whose every answer is known
exactly, and whose length is chosen; the fourth is the adding problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecaster.arrays import Flags, Floats
from forecaster.errors import InvalidInputError

SHORTEST = 5  # steps: room for three marked items, and for a break with steps on either side
LONGEST = 10_000
COUNTED = 3  # marked items of `skip`: an odd number has a majority
TOLERANCE = 0.2  # of a number whose range is 2
SOLVED = 0.95  # share of right answers; without all of its memory no forecast of a task has so many
DEFAULTS: dict[str, Any] = {  # of settings that are open: the same for every cell
    "layers": (32,),
    "dropout": 0.0,
    "epochs": 30,
    "batch_size": 128,
    "learning_rate": 1e-2,
    "gate_bias": "chrono",
    "schedule": "cosine",
    "time_budget": 300.0,
}
OWN = (  # settings that a task reads; the rest of a network is as the task needs it
    *DEFAULTS,
    *("recurrent_dropout", "bidirectional", "residual", "dilations", "attention", "heads"),
    *("l1", "l2", "clip_norm", "clip_value", "seed", "deterministic", "device"),
)


@dataclass(frozen=True)
class Task:
    """One kind of sequence: what a network sees, step by step, and the one number it has to tell.

    Attributes:
        name: As it is asked for.
        about: What has to be remembered, in a sentence.
        channels: What each step has; the first is the one that the answer continues.
        generate: From a number of sequences, their length and a source of randomness to inputs
            `(sequence, step, channel)` and answers `(sequence,)`.
        tolerance: An answer told less than so far from the true one is right.
        chance: Share of right answers of the best constant.
        variance: Of the answers, which is the mean squared error of the best constant.
    """

    name: str
    about: str
    channels: tuple[str, ...]
    generate: Callable[[int, int, np.random.Generator], tuple[Floats, Floats]]
    tolerance: float = 1.0
    chance: float = 0.5
    variance: float = 1.0

    def right(self, answers: Floats, told: Floats) -> Flags:
        """Tell which answers are right; of -1 and 1 those on the true side of 0.

        Args:
            answers: `(sequence,)`.
            told: What a network made of the sequences `(sequence,)`.
        """
        return np.abs(told - answers) < self.tolerance


def checksum(sequences: int, length: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """The first item comes again at the end: everything between must leave it as it is.

    Items are numbers, uniform between -1 and 1, and the answer is the first one. Of one bit instead
    it would be the latch of Bengio, Simard & Frasconi (1994), "Learning long-term dependencies with
    gradient descent is difficult", section II, which saturated units of a simple cell can hold too.
    The best constant is 0, whose mean squared error is 1/3.
    """
    items = random.uniform(-1.0, 1.0, (sequences, length))
    return items[:, :, None], items[:, 0]


def skip(sequences: int, length: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Three marked items vote: all others, which look the same, must be skipped.

    Items are -1 or 1 by the toss of a coin; three, anywhere, are marked by 1 in the second channel.
    The answer is what at least two of them are. Whoever forgets one of them is right in three
    cases of four.
    """
    items = _coins(random, (sequences, length))
    places = np.argsort(random.random((sequences, length)), axis=1)[:, :COUNTED]
    answers = np.sign(np.take_along_axis(items, places, axis=1).sum(axis=1))
    return np.stack([items, _marked(places, length)], axis=2), answers


def regime(sequences: int, length: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Did the market rise since the break? Everything before it must be forgotten.

    Items are moves of -1 or 1 by the toss of a coin. The second channel marks by 1 the first move
    of a new regime, somewhere between a quarter and three quarters of the length, so that an odd
    number of moves are left; the answer is the sign of their sum. Whoever cannot reset the state
    adds up all moves, and is right in about three cases of four; so is whoever knows but the last
    half of those that count (arcsine law: 1 - arccos(sqrt(share)) / pi).
    """
    moves = _coins(random, (sequences, length))
    least, most = length // 4, 3 * length // 4
    since = random.integers(least // 2, (most + 1) // 2, size=sequences) * 2 + 1  # moves that count
    breaks = length - since
    counts = np.arange(length) >= breaks[:, None]
    answers = np.sign(np.sum(moves, axis=1, where=counts))
    return np.stack([moves, _marked(breaks[:, None], length)], axis=2), answers


def adding(sequences: int, length: int, random: np.random.Generator) -> tuple[Floats, Floats]:
    """The sum of two marked numbers is asked for.

    Numbers are uniform between 0 and 1; one in the first half and one in the second are marked by 1
    in the second channel (Hochreiter & Schmidhuber 1997, "Long short-term memory", section 5.4, as
    in Le, Jaitly & Hinton 2015, arXiv 1504.00941, section 4.1). The best constant is 1, whose mean
    squared error is 1/6; it is within t of the sum in 2 t - t^2 of all cases.
    """
    numbers = random.random((sequences, length))
    half = length // 2
    early = random.integers(0, half, size=sequences)
    late = random.integers(half, length, size=sequences)
    places = np.stack([early, late], axis=1)
    answers = np.take_along_axis(numbers, places, axis=1).sum(axis=1)
    return np.stack([numbers, _marked(places, length)], axis=2), answers


def _coins(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Toss fair coins: -1 or 1."""
    return random.choice([-1.0, 1.0], size=shape)


def _marked(places: Floats, length: int) -> Floats:
    """Return 1 at the given places of each sequence, else 0 `(sequence, step)`."""
    marks = np.zeros((len(places), length))
    np.put_along_axis(marks, places, 1.0, axis=1)
    return marks


TASKS = {
    task.name: task
    for task in (
        Task(
            "checksum",
            "the first item comes again at the end",
            ("item",),
            checksum,
            tolerance=TOLERANCE,
            chance=TOLERANCE,
            variance=1 / 3,
        ),
        Task("skip", "three marked items vote, all others are skipped", ("item", "mark"), skip),
        Task("regime", "the direction since a marked break", ("move", "break"), regime),
        Task(
            "adding",
            "the sum of two marked numbers",
            ("number", "mark"),
            adding,
            tolerance=TOLERANCE,
            chance=2 * TOLERANCE - TOLERANCE**2,
            variance=1 / 6,
        ),
    )
}


def lengths_of(text: str) -> tuple[int, ...]:
    """Read lengths as a person writes them: numbers, and ranges in the steps 1, 2, 5, 10, 20 ...

    Raises:
        InvalidInputError: No number or range where one is needed, or one that is out of bounds.

    >>> lengths_of("10..100"), lengths_of("300, 20..60")
    ((10, 20, 50, 100), (20, 50, 60, 300))
    """
    found: set[int] = set()
    for part in text.split(","):
        ends = re.fullmatch(r"\s*(\d+)\s*(?:\.\.\s*(\d+)\s*)?", part)
        first, last = (int(end) for end in (ends[1], ends[2] or ends[1])) if ends else (0, 0)
        if not SHORTEST <= first <= last <= LONGEST:
            raise InvalidInputError(
                f"A --length is a number of steps from {SHORTEST} to {LONGEST:,}, or a range such "
                f"as 10..500; got {part.strip()!r}.",
                "Write several as 10,50,200.",
            )
        between = {digit * 10**power for digit in (1, 2, 5) for power in range(5)}
        found |= {first, last} | {step for step in between if first < step < last}
    return tuple(sorted(found))


def require_own(flags: Mapping[str, Any]) -> None:
    """Refuse settings that say nothing of a memory task.

    Args:
        flags: Those that were given; one that is None was not.

    Raises:
        InvalidInputError: Names the first that is not read.
    """
    others = [name for name, value in flags.items() if value is not None and name not in OWN]
    if others:
        raise InvalidInputError(
            f"{_option(others[0])} says nothing of a --task, whose sequences are generated and whose "
            "network has a recurrent step for each of theirs.",
            f"Leave it out; what counts is {', '.join(map(_option, OWN))}.",
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
