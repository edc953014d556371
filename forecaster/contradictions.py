"""Settings of the recurrent stack that contradict each other, refused before anything is built."""

from __future__ import annotations

from forecaster.config import NetworkSpec, TrainSpec
from forecaster.errors import InvalidInputError


def check_stack(network: NetworkSpec) -> None:
    """Refuse a stack that cannot be built.

    Args:
        network: Every field set.

    Raises:
        InvalidInputError: Says which settings contradict each other, and what to change.
    """
    units = network.layers or ()
    for name, values in network.each.items():
        if len(values) not in (1, len(units)):
            raise InvalidInputError(
                f"{name} {_said(values, name)} is for {len(values)} layers, but layers "
                f"{_said(units)} has {len(units)}.",
                f"Give --{name} one value for all or one for each layer, or change --layers.",
            )
    steps = int(network.lookback or 0) // int(network.segment or 1)
    for number, layer in enumerate(network.stack, 1):
        if steps % layer.dilation:
            raise InvalidInputError(
                f"dilation {layer.dilation} of layer {number} does not divide the {steps} recurrent "
                f"steps (lookback {network.lookback} / segment {network.segment}).",
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
    if steps < 2:
        raise InvalidInputError(
            f"attention {network.attention} needs at least 2 recurrent steps to attend to, but "
            f"lookback {network.lookback} / segment {network.segment} is {steps}.",
            "Raise --lookback, lower --segment, or give --attention none.",
        )
    units = network.stack[-1].units
    if units % int(network.heads or 1):
        raise InvalidInputError(
            f"heads {network.heads} does not divide the {units} units of the last layer.",
            "Choose --heads that divides them, or other --layers.",
        )


def check_joint(network: NetworkSpec, static: tuple[str, ...]) -> None:
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


def check_masks(network: NetworkSpec) -> None:
    """Refuse what would read steps that are masked, before the start of a series.

    Args:
        network: Every field set.

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
        if rows > known and (option == "segment" or getattr(network, option) == "season"):
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


def check_teacher_forcing(network: NetworkSpec, training: TrainSpec) -> None:
    """Refuse to show the truth to a decoder that is not fed its own output either.

    Raises:
        InvalidInputError: Says which decoder there is.
    """
    if training.teacher_forcing is not None and network.decoder != "recurrent":
        raise InvalidInputError(
            f"--teacher-forcing needs a decoder that is fed its own output, but --decoder is "
            f"{network.decoder}.",
            "Give --decoder recurrent or --preset seq2seq, or leave --teacher-forcing out.",
        )


def check_clipping(training: TrainSpec) -> None:
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


def _said(values: tuple[object, ...], name: str = "") -> str:
    """Write a list as its flag takes it."""
    return ("-" if name == "cell" else ",").join(map(str, values))
