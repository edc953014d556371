"""One model version as a folder: written whole, checked on load, never pickled.

manifest.json        format, origin, data, versions, record of the fit, scores, file digests
config.toml          every setting, resolved
network.weights.h5   weights only: the network is built again from config.toml
network.onnx         for prediction
scaling.json  intervals.json
fallback.json        with --fallback baseline: what forecasts each series
chances.json         with --direction: how the chances of a step up are read
judged.weights.h5    the model that was judged, for a warm start; its scalers and what it has seen
judged.json
judged.onnx          the same model, to be compared with another version
golden.npz           an input and its output, computed again on load
"""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from forecaster.arrays import Floats
from forecaster.atomic import new_folder
from forecaster.baselines import BASELINES
from forecaster.chances import Chances
from forecaster.config import Config, validated
from forecaster.continuing import Judged, Start
from forecaster.errors import DamagedError, InvalidInputError
from forecaster.fallback import NETWORK, Fallback
from forecaster.intervals import KEPT, Conformal
from forecaster.manifest import AGAIN, FORMAT, MANIFEST, checked, digest_of, read_manifest
from forecaster.model import Model, Trained
from forecaster.runtime import Network
from forecaster.scaling import ARRAYS, Scaling
from forecaster.statics import StaticScaling
from forecaster.statistical import STATISTICAL

SETTINGS = "config.toml"
FALLBACK = "fallback.json"  # only where the settings ask for one
CHANCES = "chances.json"  # likewise
JUDGED, JUDGED_WEIGHTS, JUDGED_GRAPH = "judged.json", "judged.weights.h5", "judged.onnx"
GOLDEN_WINDOWS = 2
GOLDEN_TOLERANCE = 1e-4  # ONNX Runtime versions round differently; damage is far larger
HDF5 = b"\x89HDF\r\n\x1a\n"


def save(model: Model, folder: Path, about: dict[str, Any], judged: Judged | None = None) -> None:
    """Write a version; `folder` appears whole or not at all.

    Args:
        model: What is saved.
        folder: The version's folder, which must not exist.
        about: What the manifest says besides: origin, data, scores.
        judged: The model that was judged, for a warm start and for comparisons.

    Raises:
        InvalidInputError: The folder exists.
    """
    if folder.exists():
        raise InvalidInputError(f"'{folder}' exists already.", "Name a folder that does not.")
    contents = {
        SETTINGS: _to_toml(model.config).encode(),
        "network.weights.h5": model.weights,
        "network.onnx": model.graph,
        "scaling.json": _json(_scaling_to_dict(model.scaling)),
        "intervals.json": _json(_conformal_to_dict(model.conformal)),
        "golden.npz": _golden(model.network),
    }
    if model.fallback is not None:
        contents[FALLBACK] = _json(_fallback_to_dict(model.fallback))
    if model.chances is not None:
        contents[CHANCES] = _json(asdict(model.chances))
    if judged is not None:
        contents[JUDGED_WEIGHTS] = judged.start.weights
        contents[JUDGED_GRAPH] = judged.graph
        contents[JUDGED] = _json(_judged_to_dict(judged))
    manifest = {
        "format": FORMAT,
        **about,
        "versions": library_versions(),
        "trained": model.record(),
        "files": {name: digest_of(content) for name, content in contents.items()},
    }
    with new_folder(folder) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
        (temporary / MANIFEST).write_bytes(_json(manifest, indent=2))


def load(folder: Path) -> Model:
    """Read a version and check it: digests of all files, their content, the golden forecast.

    Raises:
        NotFoundError: There is no such folder.
        DamagedError: A file is missing, is not what was written or cannot be used, or the network
            no longer gives the forecast that it gave when it was saved.
        InvalidInputError: A newer version of the program wrote it.
    """
    manifest = read_manifest(folder)
    contents = {name: checked(folder / name, digest) for name, digest in manifest["files"].items()}
    with _reading(folder / SETTINGS):
        config = _config(contents[SETTINGS])
    with _reading(folder / "scaling.json"):
        scaling = _scaling(json.loads(contents["scaling.json"]), config)
    with _reading(folder / "intervals.json"):
        intervals = json.loads(contents["intervals.json"])
        conformal = _conformal(intervals, config.network.horizon, len(scaling.ids))
    with _reading(folder / FALLBACK):
        fallback = _fallback(contents.get(FALLBACK), config, len(scaling.ids))
    with _reading(folder / CHANCES):
        chances = _chances(contents.get(CHANCES), config)
    with _reading(folder / "manifest.json"):
        trained = Trained.of(manifest["trained"])
        seen_to = manifest.get("data", {}).get("last")
    with _reading(folder / "network.weights.h5"):
        weights = _weights(contents["network.weights.h5"])
    graph = contents["network.onnx"]
    model = Model(config, scaling, conformal, graph, weights, trained, fallback, chances, seen_to)
    with _reading(folder / "network.onnx"):
        _require_sizes(model)
    with _reading(folder / "golden.npz"):
        expected, found = _golden_again(model.network, contents["golden.npz"])
    if not np.allclose(found, expected, rtol=GOLDEN_TOLERANCE, atol=GOLDEN_TOLERANCE):
        difference = float(np.max(np.abs(found - expected)))
        raise DamagedError(
            f"The model version '{folder}' forecasts {difference:g} away from its golden forecast: "
            "this machine's ONNX Runtime does not compute what the one that saved it did.",
            AGAIN,
        )
    return model


def load_settings(folder: Path) -> Config:
    """Read the settings of a version, and nothing else.

    Raises:
        DamagedError: They are not what was written.
    """
    content = checked(folder / SETTINGS, read_manifest(folder)["files"][SETTINGS])
    with _reading(folder / SETTINGS):
        return _config(content)


def load_judged(folder: Path) -> Judged | None:
    """Read what a version keeps of the model that was judged; None when it does not.

    Raises:
        DamagedError: A file is not what was written, or cannot be used.
    """
    digests = read_manifest(folder)["files"]
    if not {JUDGED, JUDGED_WEIGHTS, JUDGED_GRAPH} <= digests.keys():
        return None
    weights, graph, content, settings = (
        checked(folder / name, digests[name])
        for name in (JUDGED_WEIGHTS, JUDGED_GRAPH, JUDGED, SETTINGS)
    )
    with _reading(folder / JUDGED_WEIGHTS):
        _weights(weights)
    with _reading(folder / JUDGED_GRAPH):
        Network(graph)
    with _reading(folder / JUDGED):
        found = json.loads(content)
        _require_keys(found, {"scaling", "fitted", "seen"})
        scaling = _scaling(found["scaling"], _config(settings))
        times = {name: _integers(found[name]) for name in ("fitted", "seen")}
        return Judged(Start(weights, scaling), graph, **times)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Name the file that a reader in the body of `with` could not use."""
    try:
        yield
    except Exception as error:  # readers of bytes that anyone may have edited raise anything
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DamagedError(f"'{path}' cannot be used: {reason[:300]}.", AGAIN) from error


def _golden(network: Network) -> bytes:
    """Forecast from fixed random windows and keep both."""
    arrays = network.random_inputs(GOLDEN_WINDOWS * network.together)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, forecast=network(**arrays), **arrays)
    return buffer.getvalue()


def _golden_again(network: Network, content: bytes) -> tuple[Floats, Floats]:
    """Return the forecast that was kept and the one computed now."""
    with np.load(io.BytesIO(content), allow_pickle=False) as golden:
        expected = golden["forecast"]
        inputs = {name: golden[name] for name in golden.files if name != "forecast"}
    found = network(**inputs)
    if found.shape != expected.shape or not found.size:
        raise ValueError(f"it holds a forecast of shape {expected.shape}, not {found.shape}")
    return expected, found


def _config(content: bytes) -> Config:
    config = validated(tomllib.loads(content.decode()))
    if not (config.network.lookback and config.network.horizon):
        raise ValueError("it does not say lookback and horizon")
    if config.scaling.deseasonalise is None:  # versions of before it could be
        return config.replace(deseasonalise=False)
    return config


def _weights(content: bytes) -> bytes:
    """Return the weights after a look at what HDF5 says of its own length: h5py loads slowly."""
    said = int.from_bytes(content[40:48], "little")  # end of file address, superblock version 0
    if not content.startswith(HDF5) or len(content) != said:
        raise ValueError(f"it is no whole HDF5 file ({len(content)} bytes)")
    return content


def _require_sizes(model: Model) -> None:
    outputs = 1 + len(model.config.network.quantiles or ()) + model.config.network.direction
    needed = (model.lookback, model.horizon, outputs)
    found = (model.network.context_shape[0], *model.network.output_shape)
    if found != needed:
        names = "lookback, horizon and outputs"
        raise ValueError(f"config.toml says {needed} for {names}, the network has {found}")


def _to_toml(config: Config) -> str:
    import tomlkit

    sections = config.model_dump(exclude_none=True, mode="json")
    return tomlkit.dumps({name: section for name, section in sections.items() if section})


def _scaling_to_dict(scaling: Scaling) -> dict[str, Any]:
    arrays = {name: getattr(scaling, name).tolist() for name in ARRAYS}
    statics = [asdict(column) for column in scaling.statics]
    return {"ids": scaling.ids, "difference": scaling.difference, "statics": statics, **arrays}


def _scaling(content: dict[str, Any], config: Config) -> Scaling:
    older = {"statics": [], "season": [[0.0]] * len(content["ids"])}  # without these parts
    content = older | content
    _require_keys(content, {field.name for field in fields(Scaling)})
    statics = tuple(_static_scaling(column) for column in content["statics"])
    if tuple(column.name for column in statics) != config.data.static:
        raise ValueError(f"config.toml has the static columns {config.data.static}")
    covariates = len(config.data.covariates) + len(config.data.future)
    ids, difference = tuple(content["ids"]), content["difference"]
    if not all(type(uid) is str for uid in ids) or type(difference) is not bool:
        raise TypeError("ids are no texts, or difference is no truth")
    season = config.data.season_length if config.scaling.deseasonalise else 1
    columns = {"season": season, "covariate_center": covariates, "covariate_scale": covariates}
    arrays = {}
    for name in ARRAYS:
        shape = (len(ids), columns[name]) if name in columns else (len(ids),)
        arrays[name] = _array(content[name], np.bool_ if name == "log" else np.float64, shape)
    return Scaling(ids=ids, difference=difference, statics=statics, **arrays)


def _static_scaling(content: dict[str, Any]) -> StaticScaling:
    _require_keys(content, {field.name for field in fields(StaticScaling)})
    center, scale = _array([content["center"], content["scale"]], np.float64, (2,)).tolist()
    words = content["words"]
    if words is not None and not all(type(word) is str for word in words):
        raise TypeError(f"the words of {content['name']!r} are no texts")
    return StaticScaling(content["name"], center, scale, None if words is None else tuple(words))


def _conformal_to_dict(conformal: Conformal) -> dict[str, Any]:
    return {
        "windows": conformal.windows,
        "scores": conformal.scores.tolist(),
        "stretch": conformal.stretch.tolist(),
    }


def _conformal(content: dict[str, Any], horizon: int | None, series: int) -> Conformal:
    _require_keys(content, {"windows", "scores", "stretch"})
    windows = content["windows"]
    if type(windows) is not int:
        raise TypeError(f"windows is {windows!r}")
    shape = (min(windows, KEPT), horizon) if windows else (0,)
    scores = _array(content["scores"], np.float64, shape).reshape(-1, horizon)
    return Conformal(windows, scores, _array(content["stretch"], np.float64, (series,)))


def _fallback_to_dict(fallback: Fallback) -> dict[str, Any]:
    conformal = {name: _conformal_to_dict(scores) for name, scores in fallback.conformal.items()}
    return {"chosen": fallback.chosen, "conformal": conformal}


def _fallback(content: bytes | None, config: Config, series: int) -> Fallback | None:
    if (content is not None) != (config.evaluation.fallback == "baseline"):
        raise ValueError(f"config.toml has the fallback {config.evaluation.fallback!r}")
    if content is None:
        return None
    found = json.loads(content)
    _require_keys(found, {"chosen", "conformal"})
    chosen = tuple(found["chosen"])
    known = (*BASELINES, *STATISTICAL)
    if len(chosen) != series or not set(chosen) <= {NETWORK, *known}:
        raise ValueError(f"it needs a baseline of {', '.join(known)} for {series} series")
    _require_keys(found["conformal"], set(chosen) - {NETWORK})
    horizon = config.network.horizon
    conformal = {name: _conformal(it, horizon, series) for name, it in found["conformal"].items()}
    if not all(scores.windows for scores in conformal.values()):
        raise ValueError("a baseline has no windows")
    return Fallback(chosen, conformal)


def _chances(content: bytes | None, config: Config) -> Chances | None:
    if (content is not None) != config.network.direction:
        raise ValueError(f"config.toml has the direction {config.network.direction}")
    if content is None:
        return None
    found = json.loads(content)
    _require_keys(found, {field.name for field in fields(Chances)})
    rate, kept = _array([found["base_rate"], found["kept"]], np.float64, (2,)).tolist()
    if not (0 < rate < 1 and 0 <= kept <= 1):
        raise ValueError(f"base_rate {rate:g} and kept {kept:g} are no shares")
    return Chances(rate, kept)


def _judged_to_dict(judged: Judged) -> dict[str, Any]:
    scaling = _scaling_to_dict(judged.start.scaling)
    return {"scaling": scaling, "fitted": judged.fitted, "seen": judged.seen}


def _integers(content: Any) -> dict[str, int]:
    if not isinstance(content, dict) or not all(type(time) is int for time in content.values()):
        raise TypeError("a time is no whole number")
    return content


def _require_keys(content: Any, needed: set[str]) -> None:
    found = set(content) if isinstance(content, dict) else type(content).__name__
    if found != needed:
        raise ValueError(f"it needs {sorted(needed)} and has {found}")


def _array(content: Any, kind: type[np.generic], shape: tuple[int | None, ...]) -> Any:
    array = np.asarray(content)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"it needs finite numbers of shape {shape} and has {array.shape}")
    return array.astype(kind, casting="safe")


def library_versions() -> dict[str, str]:
    """Return the versions that the weights and forecasts depend on."""
    from contextlib import suppress
    from importlib.metadata import PackageNotFoundError, version

    names = (
        "forecaster",
        "keras",
        "numpy",
        "onnx",
        "onnxruntime",
        "pandas",
        "tensorflow",
        "jax",
        "torch",
    )
    versions = {}
    for name in names:
        with suppress(PackageNotFoundError):  # JAX or torch may stand in for TensorFlow
            versions[name] = version(name)
    return versions


def _json(content: object, indent: int | None = None) -> bytes:
    return json.dumps(content, ensure_ascii=False, indent=indent, allow_nan=False).encode()
