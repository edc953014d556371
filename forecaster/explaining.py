"""What a network looks at: how much worse it gets when a part of its input is another window's.

Permutation importance (Breiman 2001, Machine Learning 45, sec. 10; as model reliance: Fisher, Rudin
and Dominici 2019, JMLR 20(177)): on windows that the judged network was not trained on, one part of
the input is shuffled among the windows of a series, and the rise of the error is what the network
owes to it. Inputs that say the same share their importance: with one of them shuffled, the network
may read the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from forecaster import accuracy
from forecaster.arrays import Floats, Ints
from forecaster.config import Config
from forecaster.continuing import Judged, times_of
from forecaster.errors import InvalidInputError
from forecaster.model import Model
from forecaster.runtime import Network
from forecaster.scaling import Scaling
from forecaster.series import Panel
from forecaster.windows import spread

MOST_WINDOWS = 1000  # that are forecast for each part and repeat, spread evenly
MOST_BLOCKS = 12  # of lags, where nothing is asked for


class Inputs(NamedTuple):
    """What a network was shown of some windows.

    Attributes:
        context: `(window, lookback, feature)`.
        future: `(window, horizon, future feature)`, or None.
        series: Place of each window's series among those trained on `(window,)`.
        static: `(window, static feature)`, or None.
        length: Rows of each context that its series has `(window,)`.
    """

    context: Floats
    future: Floats | None
    series: Ints
    static: Floats | None
    length: Ints


class Part(NamedTuple):
    """A part of the input.

    Attributes:
        name: Of the column, or the lags.
        kind: `lags` of the target, `past`, `future`, `static`, `calendar`, `holidays` or `series`.
        steps: Of the context.
        columns: Of the context; of a static part, of its features.
        known: Of what is known ahead, the same columns.
    """

    name: str
    kind: str
    steps: slice = slice(None)
    columns: slice = slice(0)
    known: slice = slice(0)

    @property
    def of_series(self) -> bool:
        """Whether it is the same in all windows of a series."""
        return self.kind in {"static", "series"}

    def taken_from(self, inputs: Inputs, donors: Ints) -> Inputs:
        """Return inputs in which this part is that of other windows `(window,)`."""
        context, future, series, static, _ = inputs
        if self.kind == "series":
            return inputs._replace(series=series[donors])
        if self.kind == "static" and static is not None:
            static = static.copy()
            static[:, self.columns] = inputs.static[donors, self.columns]  # type: ignore[index]
            return inputs._replace(static=static)
        context = context.copy()
        context[:, self.steps, self.columns] = inputs.context[donors, self.steps, self.columns]
        if future is not None:
            future = future.copy()
            future[:, :, self.known] = inputs.future[donors, :, self.known]  # type: ignore[index]
        return inputs._replace(context=context, future=future)


@dataclass(frozen=True)
class Explanation:
    """The importance of each part.

    Attributes:
        parts: `part, kind, mae_rise, mase_rise, mase_spread, share`: what the errors rise by, the
            largest first; the standard deviation over repeats; the rise over the error itself.
        mae: Error with nothing shuffled, in the units of the data.
        mase: Likewise, in units of MASE.
        windows: How many were forecast.
        left_out: Parts that cannot be shuffled, because there is one series only.
    """

    parts: pd.DataFrame
    mae: float
    mase: float
    windows: int
    left_out: tuple[str, ...]


def explain(
    model: Model,
    judged: Judged,
    panel: Panel,
    *,
    block: int | None = None,
    repeats: int = 5,
    seed: int = 1,
) -> Explanation:
    """Shuffle each part of the input and see by how much the errors rise.

    Args:
        model: With the judged weights.
        judged: How far it has looked.
        panel: Series with the columns that it was trained with.
        block: Lags that are shuffled together; a segment or a season when None.
        repeats: Times that each part is shuffled.
        seed: Of the shuffling.

    Raises:
        InvalidInputError: No window is left that the network was not trained on.
    """
    model = replace(model, fallback=None)  # the network is explained, wherever it forecasts
    cutoffs, past = _held_out(model, judged, panel)
    inputs = _recorded(model, panel, cutoffs)
    scales = accuracy.scales_of(past, model.config)

    def errors(changed: Inputs) -> accuracy.Errors:
        replayed = model.with_network(_Replayed(model.network, model.network(*changed)))
        return accuracy.errors(replayed, panel, cutoffs, scales)

    base = np.array(errors(inputs))
    rows, left_out = [], []
    for part in parts_of(model.config, model.scaling, inputs, block):
        if part.of_series and len(np.unique(inputs.series)) == 1:
            left_out.append(part.name)
            continue
        random = np.random.default_rng(seed)
        rises = [
            np.array(errors(part.taken_from(inputs, _donors(inputs.series, part, random)))) - base
            for _ in range(repeats)
        ]
        mean, deviation = np.mean(rises, axis=0), np.std(rises, axis=0)
        share = mean[1] / base[1] if base[1] else np.nan
        rows.append((part.name, part.kind, *mean, deviation[1], share))
    names = ["part", "kind", "mae_rise", "mase_rise", "mase_spread", "share"]
    table = pd.DataFrame(rows, columns=names).sort_values(
        "mase_rise", ascending=False, kind="stable", ignore_index=True
    )
    return Explanation(table, float(base[0]), float(base[1]), len(cutoffs), tuple(left_out))


def parts_of(config: Config, scaling: Scaling, inputs: Inputs, block: int | None) -> Iterator[Part]:
    """Name the parts of a network's input, in the order in which they stand in it.

    Args:
        config: Resolved settings.
        scaling: Says how static columns became features.
        inputs: Of any windows.
        block: Lags that are shuffled together; by segment or season when None.

    Raises:
        InvalidInputError: The block is longer than the context.
    """
    lookback, features = inputs.context.shape[1:]
    for newest, oldest in _lags(config, lookback, block):
        name = f"lag {newest}" if newest == oldest else f"lags {newest}-{oldest}"
        yield Part(name, "lags", slice(lookback - oldest, lookback - newest + 1), slice(0, 1))
    past, future = config.data.covariates, config.data.future
    known = 0 if inputs.future is None else inputs.future.shape[2]
    first = features - known  # of the columns known ahead, in a context
    for place, name in enumerate(past, 1):
        yield Part(name, "past", columns=slice(place, place + 1))
    holidays = int(bool(config.data.holidays))
    groups = [(name, "future", 1) for name in future]
    groups += [("calendar", "calendar", known - len(future) - holidays)]
    groups += [("holidays", "holidays", holidays)]
    begin = 0
    for name, kind, width in groups:
        if width:
            columns = slice(first + begin, first + begin + width)
            yield Part(name, kind, columns=columns, known=slice(begin, begin + width))
        begin += width
    begin = 0
    for column in scaling.statics:
        width = 1 if column.words is None else len(column.words)
        yield Part(column.name, "static", columns=slice(begin, begin + width))
        begin += width
    if config.network.series_vectors:
        yield Part("series", "series")


def _lags(config: Config, lookback: int, block: int | None) -> Iterator[tuple[int, int]]:
    """Cut the lags of a context into blocks, from the latest on: first and last lag of each."""
    if block is not None and block > lookback:
        raise InvalidInputError(
            f"--block {block} is longer than the context of {lookback} steps.",
            "Choose a smaller one.",
        )
    if block is None:
        season, segment = int(config.data.season_length or 1), int(config.network.segment or 1)
        block = segment if segment > 1 else season
        if not 1 < block < lookback:
            block = 1
        block *= -(-lookback // (block * MOST_BLOCKS))
    for newest in range(1, lookback + 1, block):
        yield newest, min(newest + block - 1, lookback)


def _held_out(model: Model, judged: Judged, panel: Panel) -> tuple[Ints, Panel]:
    """Return windows whose target trained nothing, and the rows that trained.

    Of a series that the model has never seen, its first context stands for these.
    """
    times = np.asarray(times_of(panel, np.arange(len(panel.y))))
    place = np.arange(len(panel.y)) - np.repeat(panel.offsets[:-1], panel.lengths)
    known = np.repeat([uid in judged.fitted for uid in panel.ids], panel.lengths)
    fitted = np.repeat([judged.fitted.get(uid, 0) for uid in panel.ids], panel.lengths)
    trained = np.where(known, times <= fitted, place < model.config.context_rows)
    left = np.repeat(panel.lengths, panel.lengths) - 1 - place
    follows = np.append(~trained[1:], False)  # the target lies after what trained
    wanted = follows & (place >= model.config.context_rows - 1) & (left >= model.horizon)
    cutoffs = spread(np.flatnonzero(wanted), MOST_WINDOWS)
    if len(cutoffs) < 2:
        raise InvalidInputError(
            f"Explaining needs 2 windows that the network was not trained on, but has {len(cutoffs)}.",
            "Hold out more rows (--folds, --val-size of train), or fetch newer ones.",
        )
    return cutoffs, panel.head(np.add.reduceat(trained.astype(np.int64), panel.offsets[:-1]))


def _donors(series: Ints, part: Part, random: np.random.Generator) -> Ints:
    """Choose the window whose part each window gets, of its own series where there are several.

    What is the same in all windows of a series is taken from another one, never from its own: of two
    series, half of all orders would change nothing.
    """
    if part.of_series:
        ids, place, counts = np.unique(series, return_inverse=True, return_counts=True)
        shuffled, others = random.permutation(len(ids)), np.empty(len(ids), dtype=np.int64)
        others[shuffled] = np.roll(shuffled, random.integers(1, len(ids)))
        first = np.cumsum(counts) - counts
        order = np.argsort(series, kind="stable")
        return order[first[others[place]]]
    donors = np.arange(len(series))
    ids, counts = np.unique(series, return_counts=True)
    alone = np.isin(series, ids[counts == 1])
    for group in (alone, *(series == uid for uid in ids[counts > 1])):
        donors[group] = random.permutation(donors[group])
    return donors


class _Replayed(Network):
    """A network that keeps what it is shown, all windows at once, and whose outputs are known.

    Args:
        network: What it stands for.
        outputs: `(window, horizon, output)`, or one of them for all windows.
    """

    def __init__(self, network: Network, outputs: Floats) -> None:
        vars(self).update(vars(network))
        self.outputs = outputs

    def in_batches(self, windows: int, run: Callable[[slice], None]) -> None:
        run(slice(windows))

    def __call__(self, *inputs: Any) -> Floats:
        self.shown = Inputs(*inputs)
        return np.broadcast_to(self.outputs, (len(self.shown.context), *self.output_shape))


def _recorded(model: Model, panel: Panel, cutoffs: Ints) -> Inputs:
    """Return what the network is shown of windows."""
    recorded = _Replayed(model.network, np.zeros((1, 1, 1), dtype=np.float32))
    model.with_network(recorded).forecast(panel, cutoffs)
    return recorded.shown
