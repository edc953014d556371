"""A version made smaller or faster: quantised, pruned or distilled, judged on the same folds again.

The judged and the published networks are compressed alike, each from its own: what is fine-tuned or
distilled to be judged has seen the train rows only, its teacher too.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from forecaster import (
    accuracy,
    artifacts,
    backtesting,
    contradictions,
    preparing,
    refitting,
    splits,
)
from forecaster.config import Config
from forecaster.continuing import Judged, Start
from forecaster.errors import InvalidInputError, QualityGateError
from forecaster.jobs import SAVE_TIMEOUT
from forecaster.locking import OnWait
from forecaster.manifest import NAMED, read_manifest
from forecaster.registry import Registry
from forecaster.reproducing import until
from forecaster.rivals import judged_model
from forecaster.runtime import BATCH
from forecaster.store import Store
from forecaster.versions import promote_command

if TYPE_CHECKING:
    from forecaster import training
    from forecaster.model import Model
    from forecaster.planning import OnEpoch
    from forecaster.series import Panel
    from forecaster.splits import Split
    from forecaster.statistical import OnWindow
    from forecaster.workspace import Workspace

ROUNDS = 30  # of measuring, the networks in turn
SLOWER = 1.05  # times as long, from which on it is said
KEPT = ("selection", "data", "fitted", NAMED)  # what the manifest says as the first version's did


@dataclass(frozen=True)
class Original:
    """What is compressed.

    Attributes:
        published: The model of the version.
        judged: The one that it was judged by.
        seen: How far that has looked.
        panel: The rows that they were trained on, as they are stored now.
        parts: How these are split.
    """

    published: Model
    judged: Model
    seen: Judged
    panel: Panel
    parts: Split

    @property
    def config(self) -> Config:
        """Settings of both."""
        return self.published.config


@dataclass(frozen=True)
class Small:
    """What came of compressing: both models, and what was done, in words."""

    published: Model
    judged: Model
    done: str


@dataclass(frozen=True)
class Measures:
    """Size, speed and accuracy.

    Attributes:
        graph: Bytes of what prediction loads.
        packed: The same, compressed by zlib: weights that are zero only help here.
        weights: Bytes of the file that a warm start continues from.
        parameters: Number of weights.
        zeros: Share of the weights of kernels that is zero.
        window_ms: Median milliseconds for one window.
        batch_ms: For a batch of 256.
        mae: On the test folds, by the judged network.
        mase: Likewise; NaN when no train rows change.
    """

    graph: int
    packed: int
    weights: int
    parameters: int
    zeros: float
    window_ms: float
    batch_ms: float
    mae: float
    mase: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the manifest, None for NaN."""
        return asdict(self) | {"mase": None if np.isnan(self.mase) else self.mase}


@dataclass(frozen=True)
class Compressed:
    """A compressed version, saved.

    Attributes:
        name: The model.
        version: The new version.
        origin: The version it was made from.
        done: What was done, in words.
        before: Of the first version.
        after: Of the new one.
        promoted: Whether it was put into service.
        verdict: How it does beside the baselines.
        notices: What the reader should know.
    """

    name: str
    version: str
    origin: str
    done: str
    before: Measures
    after: Measures
    promoted: bool
    verdict: str
    notices: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return asdict(self)


Compressor = Callable[[Original, "OnEpoch"], Small]


def quantise(original: Original, _: OnEpoch) -> Small:
    """Put the graphs into 8 bits; the weights of warm starts stay as they are."""
    from forecaster.quantising import quantised

    graphs = [quantised(model.graph) for model in (original.published, original.judged)]
    found = graphs[0]
    said = [
        f"{', '.join(f'{count} {name}' for name, count in some.items())} {what}"
        for some, what in (
            (found.computed, "computed in 8-bit integers"),
            (found.stored, "stored in 8 bits and computed as float32"),
            (found.left, "left as they were"),
        )
        if some
    ]
    batch = (
        " What comes into a network is rounded by its range in a batch: forecasts may differ a little "
        "by what is forecast with them."
    )
    return Small(
        replace(original.published, graph=graphs[0].graph),
        replace(original.judged, graph=graphs[1].graph),
        f"Quantised: {'; '.join(said)}.{batch if found.computed else ''}",
    )


def prune(original: Original, on_epoch: OnEpoch, *, share: float) -> Small:
    """Make a share of each kernel zero, in a few rounds with training in between."""
    from forecaster import pruning, training

    config = original.config.replace(shrink=False)  # what is pulled back to its start is not zero
    method = training.Method(keep_zeros=True)
    judged = replace(original.judged, config=config)
    published = replace(original.published, config=config)
    for zeros in pruning.shares(share):
        starts = [
            Start(pruning.pruned(model.weights, zeros), model.scaling)
            for model in (judged, published)
        ]
        judged, published = _trained(
            original, config, on_epoch, starts, (method, method), 1 / pruning.ROUNDS
        )
    of_all = pruning.zeros(published.weights)
    return Small(
        replace(published, config=original.config),
        replace(judged, config=original.config),
        f"Pruned: {of_all:.1%} of the weights of kernels are zero, in {pruning.ROUNDS} rounds with "
        "training in between. Zeros make a file smaller only once it is compressed, and no forecast "
        "faster.",
    )


def distil(original: Original, on_epoch: OnEpoch, *, units: str) -> Small:
    """Train one smaller network on the truth and on the forecasts of the original.

    Of settings that the original has for each layer, a student of other depth has the top layer's.

    Raises:
        InvalidInputError: The units are no layers, or do not go with the original's other settings.
    """
    from forecaster import training

    config = original.config.replace(layers=units, ensemble=1)
    layers = config.network.layers or ()
    of_top = {
        name: values[-1]
        for name, values in config.network.each.items()
        if len(values) not in (1, len(layers))
    }
    config = config.replace(**of_top)
    if heads := config.network.heads:  # as many of them as divide the student's units
        config = config.replace(heads=math.gcd(heads, *layers[-1:]))
    contradictions.check(config)
    methods, starts = zip(
        *(
            (training.Method(replace(teacher, fallback=None)), Start(b"", teacher.scaling))
            for teacher in (original.judged, original.published)
        ),
        strict=True,
    )
    judged, published = _trained(original, config, on_epoch, starts, methods)
    stack = f"{'-'.join(map(str, layers))} units"
    if config.network.heads:
        stack += f" and {config.network.heads} heads"
    return Small(
        published,
        judged,
        f"Distilled into one network of {stack}, trained on the truth and on what the "
        "original forecasts of the train rows.",
    )


def _trained(
    original: Original,
    config: Config,
    on_epoch: OnEpoch,
    starts: Sequence[Start],
    methods: Sequence[training.Method],
    share: float = 1.0,
) -> tuple[Model, Model]:
    """Train a network to be judged and one to be published: the same where no rows are added."""
    from forecaster import training

    judged = training.fit(
        original.panel,
        config,
        original.parts,
        on_epoch,
        starts[0],
        share=share,
        method=methods[0],
    )
    if not config.training.refit_all:
        return judged, judged
    published = training.refit(
        original.panel, judged, on_epoch, starts[1], share=share, method=methods[1]
    )
    return judged, published


def compress(
    workspace: Workspace,
    name: str,
    said: str,
    compressor: Compressor,
    option: str,
    *,
    promote: bool = False,
    max_rise: float,
    on_epoch: OnEpoch,
    on_window: OnWindow,
    on_wait: OnWait,
    on_refused: Callable[[Compressed], None] = lambda _: None,
) -> Compressed:
    """Compress a version, measure what it costs, and save what comes of it as a version.

    Args:
        workspace: Where models and series are.
        name: The model.
        said: A version of it, as `Registry.resolve` takes it.
        compressor: `quantise`, `prune` or `distil`.
        option: How it was asked for, for the manifest.
        promote: Whether to put the new version into service.
        max_rise: Share by which MASE may rise for that.
        on_epoch: Called after each epoch.
        on_window: Called after each window that Theta or ETS is fitted to.
        on_wait: Told whom there is to wait for.
        on_refused: Told of a version that is saved but, though asked for, not put into service.

    Raises:
        NotFoundError: There is no such version, or its series are not stored any more.
        QualityGateError: It was to be promoted, and its MASE has risen by more; it is saved.
    """
    registry = Registry(workspace.models, lock_timeout=SAVE_TIMEOUT, on_wait=on_wait)
    origin = registry.resolve(name, said)
    folder = registry.version_folder(name, origin)
    manifest = read_manifest(folder)
    original = _original(Store(workspace.data), folder, manifest)
    small = compressor(original, on_epoch)
    panel, parts = original.panel, original.parts
    val = splits.val_cutoffs(panel, parts, original.config.context_rows, original.judged.horizon)
    judged = small.judged.calibrated(panel, val)
    tested = backtesting.backtest(panel, judged.config, lambda *_: judged, on_window)
    published = judged
    if original.config.training.refit_all:
        published = refitting.with_intervals(small.published, judged, panel)
    before, after = _measured(original, replace(original, published=published, judged=judged))
    made = {"from": origin, "option": option, "done": small.done}
    about = {key: manifest[key] for key in KEPT if key in manifest} | {
        "judged": judged.record(),
        "judgement": tested.judgement.to_dict(),
        "compressed": made | {"before": before.to_dict(), "after": after.to_dict()},
    }
    if published.weights != original.published.weights:
        about["data"] = panel.about()
    kept = Judged.of(judged, panel, parts, original.seen)
    good = after.mase <= before.mase * (1 + max_rise)
    version = registry.save(name, published, about, kept, promote=False)
    promoted = promote and good
    if promoted:
        registry.promote(name, version, "compress")
    notices = []
    if panel.digest() != manifest["data"]["hash"]:
        notices.append(
            "The stored rows are not those that the version was trained on: both were judged on them."
        )
    if after.batch_ms > SLOWER * before.batch_ms:
        notices.append(
            f"It is no faster: {BATCH} windows take {after.batch_ms:.3g} ms, where they took "
            f"{before.batch_ms:.3g}."
        )
    if after.graph > before.graph:
        notices.append(
            "The new graph is larger than the one it was made from: that network is too small for 8 "
            "bits to pay, or its student was given too many units."
        )
    result = Compressed(
        name,
        version,
        origin,
        small.done,
        before,
        after,
        promoted,
        tested.judgement.verdict,
        tuple(notices),
    )
    if promote and not promoted:
        on_refused(result)
        why = (
            f"its MASE is {after.mase:.4g} where {origin} has {before.mase:.4g}, a rise of more than "
            f"{max_rise:.4g} times that"
        )
        if np.isnan(after.mase):
            why = "no train rows change, so that MASE has no denominator"
        raise QualityGateError(
            f"Version {version} is saved but not put into service: {why}.",
            f"If that is wanted: {promote_command(name, version)}.",
        )
    return result


def _original(store: Store, folder: Any, manifest: dict[str, Any]) -> Original:
    """Load a version, its judged model, and the rows that both were trained on."""
    published = artifacts.load(folder)
    judged, seen = judged_model(folder)
    config = published.config
    if "data" not in manifest:
        raise InvalidInputError(
            f"The manifest of '{folder}' does not say what it was trained on.",
            "Only versions that 'forecast train' made can be compressed.",
        )
    rows = store.read(list(published.scaling.ids))
    frame = until(rows, str(manifest["data"]["last"]), bool(config.data.future))
    panel = preparing.panel_of(frame, config)
    return Original(published, judged, seen, panel, splits.of_config(panel, config))


def _measured(*versions: Original) -> list[Measures]:
    """Measure versions beside each other."""
    from forecaster.pruning import zeros

    speeds = _milliseconds([version.published for version in versions])
    return [
        Measures(
            len(version.published.graph),
            len(zlib.compress(version.published.graph)),
            len(version.published.weights),
            version.published.trained.parameters,
            zeros(version.published.weights),
            *speed,
            *_errors(version),
        )
        for version, speed in zip(versions, speeds, strict=True)
    ]


def _milliseconds(models: Sequence[Model]) -> list[tuple[float, float]]:
    """Return the median times for one window and for a batch, the models measured in turn."""
    taken: list[list[list[float]]] = [[[], []] for _ in models]
    for _ in range(ROUNDS):
        for model, times in zip(models, taken, strict=True):
            for windows, some in zip((1, BATCH), times, strict=True):
                inputs = model.network.random_inputs(windows)
                begin = time.perf_counter()
                model.network(**inputs)
                some.append(1000 * (time.perf_counter() - begin))
    return [(float(np.median(one)), float(np.median(batch))) for one, batch in taken]


def _errors(version: Original) -> accuracy.Errors:
    """Return MAE and MASE of the judged model on its test folds."""
    panel, parts, config = version.panel, version.parts, version.judged.config
    spec, horizon = config.evaluation, version.judged.horizon
    cutoffs = splits.test_cutoffs(
        panel, parts, config.context_rows, horizon, int(spec.step_size or 1), int(spec.folds or 1)
    )
    scales = accuracy.scales_of(panel.head(parts.val_stop), config)
    return accuracy.errors(version.judged, panel, cutoffs, scales)
