"""Settings that contradict each other, refused before anything is read or built.

Settings that are still open (None) contradict nothing: what is asked for is checked before any row is
read, and once more when everything is set.
"""

from __future__ import annotations

from collections.abc import Iterable

from forecaster.calendars import uses_calendar
from forecaster.config import Config, EvaluationSpec, NetworkSpec, TrainSpec
from forecaster.errors import InvalidInputError
from forecaster.words import as_flag


def check(config: Config) -> None:
    """Refuse a configuration that cannot be built.

    Raises:
        InvalidInputError: Says which two settings contradict each other.
    """
    network = config.network
    _check_segment(network)
    _check_stack(network)
    _check_clipping(config.training)
    _check_lookback(network)
    _check_masks(network)
    _check_joint(network, config.data.static)
    _check_teacher_forcing(network, config.training)
    _check_deseasonalised(config)
    if config.training.loss == "smape" and config.scaling.transform == "diff":
        raise InvalidInputError(
            "The loss smape needs levels, but --transform diff forecasts their differences.",
            "Choose another --loss or another --transform.",
        )


def check_test(spec: EvaluationSpec, horizon: int | None) -> None:
    """Refuse two different tests, and one without a fold.

    Args:
        spec: As asked for: once everything is set, folds and rows say the same.
        horizon: Future steps forecast; None when that is open.

    Raises:
        InvalidInputError: Says which settings, and what to do.
    """
    if spec.test_size and spec.folds:
        raise InvalidInputError(
            f"Both --folds {spec.folds} and --test-size {spec.test_size} say how much is tested.",
            "Give one of them.",
        )
    if spec.test_size and horizon and spec.test_size < horizon:
        raise InvalidInputError(
            f"--test-size needs at least the horizon, {horizon} rows, but is {spec.test_size}.",
            "Raise --test-size, lower --horizon, or give --folds.",
        )


def check_gates(gate_bias: str | None, cells: Iterable[str]) -> None:
    """Refuse to open gates where no cell has any.

    Apart from `check`: where one setting holds for several cells, it is for those that have gates.

    Raises:
        InvalidInputError: Says which cells there are.
    """
    if gate_bias == "chrono" and set(cells) == {"rnn"}:
        raise InvalidInputError(
            "gate_bias chrono opens the gates of LSTM and GRU, but every cell is rnn, which has none.",
            "Give --cell lstm or gru to a layer, or leave --gate-bias out.",
        )


def _check_deseasonalised(config: Config) -> None:
    """Refuse to take away a season that there is not, or that something else needs.

    Raises:
        InvalidInputError: Says why it cannot be taken away.
    """
    if not config.scaling.deseasonalise:
        return
    data, reason = config.data, ""
    if data.season_length == 1:
        reason = "needs a season, but season_length is 1"
    elif uses_calendar(data.frequency, data.calendar):
        reason = f"needs steps that come round, but holidays shift the sessions of {data.calendar}"
    elif config.training.loss == "smape":
        reason = "takes the season out of levels, which --loss smape needs"
    elif config.network.direction:
        reason = "hides the season from the network, which the chances of --direction depend on"
    if reason:
        raise InvalidInputError(
            f"--deseasonalise {reason}.", "Leave it out, or change the other setting."
        )


def _check_segment(network: NetworkSpec) -> None:
    """Refuse a context, or a horizon decoded in segments, that is not of whole ones."""
    for name, steps in (("lookback", network.lookback), ("horizon", network.horizon)):
        needed = name == "lookback" or network.decoder not in (None, "direct")
        if needed and int(steps or 0) % int(network.segment or 1):
            raise InvalidInputError(
                f"segment {network.segment} does not divide {name} {steps}.",
                f"Choose a --segment that divides --{name}, or leave --segment out.",
            )


def _check_lookback(network: NetworkSpec) -> None:
    """Refuse a context shorter than what is read of it."""
    if network.lookback is None:
        return
    lag, lookback = network.skip_lag, network.lookback
    if (network.min_context or 0) > lookback:
        raise InvalidInputError(
            f"min_context {network.min_context} is more than lookback {lookback}.",
            "Lower --min-context or raise --lookback.",
        )
    if lag is None:
        return
    if network.normalise == "spread" and lag >= lookback:
        raise InvalidInputError(
            f"--normalise spread compares a season with the one before, but lookback {lookback} is "
            f"not longer than skip_lag {lag}.",
            "Raise --lookback, lower --skip-lag, or give another --normalise.",
        )
    season = network.normalise == "season" or network.skip in {"season", "linear"}
    if season and lag > lookback:
        raise InvalidInputError(
            f"skip_lag {lag} is longer than lookback {lookback}: the last season is not seen.",
            "Raise --lookback, lower --skip-lag, or give --skip none --normalise last.",
        )


def _check_stack(network: NetworkSpec) -> None:
    """Refuse a stack that cannot be built.

    Args:
        network: With `layers`.

    Raises:
        InvalidInputError: Says which settings contradict each other, and what to change.
    """
    units = network.layers or ()
    for name, values in network.each.items():
        if len(values) not in (1, len(units)):
            raise InvalidInputError(
                f"{name} {as_flag(values, '-' if name == 'cell' else ',')} is for {len(values)} layers, but layers "
                f"{as_flag(units)} has {len(units)}.",
                f"Give --{name} one value for all or one for each layer, or change --layers.",
            )
    steps = int(network.lookback or 0) // int(network.segment or 1)
    for number, layer in enumerate(network.stack, 1):
        if steps % layer.dilation:
            raise InvalidInputError(
                f"dilation {layer.dilation} of layer {number} does not divide the {steps} recurrent "
                f"steps ({_steps_text(network)}).",
                "Choose --dilations that divide them, another --lookback, or leave --lookback out.",
            )
    _check_attention(network, steps)


def _check_attention(network: NetworkSpec, steps: int) -> None:
    if network.attention == "none":
        if network.heads:
            raise InvalidInputError(
                f"heads {network.heads} is for attention, but attention is none.",
                "Give --attention states or self, or leave --heads out.",
            )
        return
    if network.lookback and steps < 2:
        raise InvalidInputError(
            f"attention {network.attention} needs at least 2 recurrent steps to attend to, but "
            f"{_steps_text(network)} is {steps}.",
            "Raise --lookback, lower --segment, or give --attention none.",
        )
    units = network.stack[-1].units
    if units % int(network.heads or 1):
        raise InvalidInputError(
            f"heads {network.heads} does not divide the {units} units of the last layer.",
            "Choose --heads that divides them, or other --layers.",
        )


def _steps_text(network: NetworkSpec) -> str:
    """Say what the recurrent steps come from."""
    return f"lookback {network.lookback}" + (
        f" / segment {network.segment}" if network.segment else ""
    )


def _check_joint(network: NetworkSpec, static: tuple[str, ...]) -> None:
    """Refuse what does not go with series that are forecast together.

    Raises:
        InvalidInputError: Says what, and why.
    """
    if network.joint and (network.series_vectors or static):
        constant = "--series-vectors" if network.series_vectors else "--static"
        raise InvalidInputError(
            f"{constant} tells series apart, which --joint does by itself: each has its own place "
            "in the context and in the forecast.",
            f"Leave out {constant} or --joint.",
        )


def _check_masks(network: NetworkSpec) -> None:
    """Refuse what would read steps that are masked, before the start of a series.

    Raises:
        InvalidInputError: Says which setting does, and what to change.
    """
    if network.padding != "mask":
        return
    known = int(network.min_context or network.lookback or 0)
    whole = {"normalise": ("spread", "revin"), "skip": ("linear",), "attention": ("states", "self")}
    for option, values in whole.items():
        if (value := getattr(network, option)) in values:
            raise _reads_masked(f"{option} {value} reads the whole context", option)
    if network.residual:
        raise _reads_masked("residual reads the last step of a window", "residual")
    if any(layer.dilation > 1 for layer in network.stack):
        raise _reads_masked("dilations run on steps apart", "dilations")
    if network.joint:
        raise _reads_masked("joint gives all series the same rows", "joint")
    lag = int(network.skip_lag or 1)
    for option, rows in (("normalise", lag), ("skip", lag), ("segment", int(network.segment or 1))):
        if rows > known > 0 and (option == "segment" or getattr(network, option) == "season"):
            raise InvalidInputError(
                f"{option} {getattr(network, option)} reads the last {rows} rows, but with padding "
                f"mask a context may hold as few as min_context {known}.",
                f"Raise --min-context to {rows}, or give another --{option} or --padding repeat.",
            )


def _reads_masked(what: str, option: str) -> InvalidInputError:
    return InvalidInputError(
        f"{what}, but with padding mask the steps before the start of a series are not there, and "
        "the known ones come first.",
        f"Give another --{option} or leave it out, or give --padding repeat.",
    )


def _check_teacher_forcing(network: NetworkSpec, training: TrainSpec) -> None:
    """Refuse to show the truth to a decoder that is not fed its own output either.

    Raises:
        InvalidInputError: Says which decoder there is.
    """
    if training.teacher_forcing is not None and network.decoder != "recurrent":
        raise InvalidInputError(
            f"--teacher-forcing needs a decoder that is fed its own output, but --decoder is "
            f"{network.decoder or f'left to --preset {network.preset}, which has none'}.",
            "Give --decoder recurrent or --preset seq2seq, or leave --teacher-forcing out.",
        )


def _check_clipping(training: TrainSpec) -> None:
    """Refuse to clip the gradient twice, which Keras cannot.

    Raises:
        InvalidInputError: Both limits are given.
    """
    if training.clip_norm and training.clip_value:
        raise InvalidInputError(
            f"clip_norm {training.clip_norm:g} and clip_value {training.clip_value:g} both limit the "
            "gradient.",
            "Give one of them.",
        )
