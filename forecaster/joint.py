"""Series that enter every context together and are forecast together.

The network of such a panel takes the windows of all series at a time as one, and gives one forecast
for each. Everything else sees a window of one series, as always: what is here turns cutoffs of some
series into those of all, and back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecaster.arrays import Ints
from forecaster.errors import InvalidInputError
from forecaster.series import Panel


def require_same_steps(panel: Panel) -> None:
    """Refuse series that do not all have rows of the same times.

    Raises:
        InvalidInputError: Names the first two that differ, and what to do.
    """
    begin, stop = panel.offsets[:-1], panel.offsets[1:]
    first = panel.ds[: stop[0]]
    for number in range(1, len(panel.ids)):
        if not panel.ds[begin[number] : stop[number]].equals(first):
            one, other = (
                f"{panel.ids[place]!r} has {panel.lengths[place]} rows from "
                f"{panel.ds[begin[place]]} to {panel.ds[stop[place] - 1]}"
                for place in (0, number)
            )
            raise InvalidInputError(
                f"--joint needs rows of the same times in every series, but {one}, and {other}.",
                "Bring them to the same first and last row, leave series out, or train without "
                "--joint.",
            )


def require_series(trained: Sequence[str], panel: Panel) -> None:
    """Refuse any other series than those that a network was trained on, all at the same times.

    Raises:
        InvalidInputError: Names the first series that is missing, is new or has other rows.
    """
    together = f"The network forecasts its {len(trained)} series together (--joint)"
    if missing := [uid for uid in trained if uid not in panel.ids]:
        why = panel.skipped.get(missing[0], "it is not among the series given")
        raise InvalidInputError(
            f"{together} and needs the rows of each: {missing[0]!r} is missing ({why}).",
            f"Give all of them: {', '.join(trained[:5])}{' ...' if len(trained) > 5 else ''}.",
        )
    if new := [uid for uid in panel.ids if uid not in trained]:
        raise InvalidInputError(
            f"{together}: it cannot take in {new[0]!r}, which it was not trained on.",
            "Leave that series out, or train again with it.",
        )
    require_same_steps(panel)


def of_first(cutoffs: Ints, panel: Panel) -> Ints:
    """Keep the cutoffs of the first series: each stands for all series at its time."""
    return cutoffs[cutoffs < panel.offsets[1]]


def of_all(cutoffs: Ints, offsets: Ints) -> tuple[Ints, Ints]:
    """List the windows of all series at the times of some windows.

    Args:
        cutoffs: `(window,)`.
        offsets: Rows `offsets[i]:offsets[i + 1]` belong to series i; all have as many.

    Returns:
        Cutoffs, time by time and in the order of the series `(time * series,)`; and the place among
        them of each window asked for `(window,)`.

    >>> every, place = of_all(np.array([13, 4, 3]), offsets=np.array([0, 10, 20]))
    >>> every.tolist(), place.tolist()
    ([3, 13, 4, 14], [1, 2, 0])
    """
    series = np.searchsorted(offsets, cutoffs, side="right") - 1
    steps, time = np.unique(cutoffs - offsets[series], return_inverse=True)
    every = (steps[:, None] + offsets[:-1]).ravel()
    return every, time * (len(offsets) - 1) + series
