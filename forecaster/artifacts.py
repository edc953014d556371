"""One model version as a folder: written whole, checked on load, never pickled.

manifest.json        format, origin, data, versions, record of the fit, scores, file digests
config.toml          every setting, resolved
network.weights.h5   weights only: the network is built again from config.toml
network.onnx         for prediction
scaling.json  intervals.json
golden.npz           an input and its output, computed again on load
"""

from __future__ import annotations

import hashlib
import io
import json
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from forecaster.atomic import new_folder
from forecaster.config import Config, validated
from forecaster.errors import DamagedError, InvalidInputError, NotFoundError
from forecaster.intervals import Conformal
from forecaster.model import Model, Trained
from forecaster.runtime import Network
from forecaster.scaling import ARRAYS, Scaling

FORMAT = 1
FILES = (
    "config.toml",
    "network.weights.h5",
    "network.onnx",
    "scaling.json",
    "intervals.json",
    "golden.npz",
)
GOLDEN_WINDOWS = 2
GOLDEN_TOLERANCE = 1e-4  # ONNX Runtime versions round differently; damage is far larger
AGAIN = "Train it again, or restore the folder from a backup."


def save(model: Model, folder: Path, about: dict[str, Any]) -> None:
    """Write a version; `folder` appears whole or not at all.

    Args:
        model: What is saved.
        folder: The version's folder, which must not exist.
        about: What the manifest says besides: origin, data, scores.

    Raises:
        InvalidInputError: The folder exists.
    """
    if folder.exists():
        raise InvalidInputError(f"'{folder}' exists already.", "Name a folder that does not.")
    contents = {
        "config.toml": _to_toml(model.config).encode(),
        "network.weights.h5": model.weights,
        "network.onnx": model.graph,
        "scaling.json": _json(_scaling_to_dict(model.scaling)),
        "intervals.json": _json(
            {"windows": model.conformal.windows, "scores": model.conformal.scores.tolist()}
        ),
        "golden.npz": _golden(model.network),
    }
    manifest = {
        "format": FORMAT,
        **about,
        "versions": _versions(),
        "trained": model.record(),
        "files": {name: _digest(content) for name, content in contents.items()},
    }
    with new_folder(folder) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
        (temporary / "manifest.json").write_bytes(_json(manifest, indent=2))


def load(folder: Path) -> Model:
    """Read a version and check it: digests of all files, then the golden forecast.

    Raises:
        NotFoundError: There is no such folder.
        DamagedError: A file is missing or is not what was written, or the network no longer gives
            the forecast that it gave when it was saved.
        InvalidInputError: A newer version of the program wrote it.
    """
    manifest = read_manifest(folder)
    contents = {name: _checked(folder / name, digest) for name, digest in manifest["files"].items()}
    try:
        config = validated(tomllib.loads(contents["config.toml"].decode()))
        intervals = json.loads(contents["intervals.json"])
        model = Model(
            config,
            _scaling_from_dict(json.loads(contents["scaling.json"])),
            Conformal(
                intervals["windows"],
                np.asarray(intervals["scores"]).reshape(-1, int(config.network.horizon or 0)),
            ),
            contents["network.onnx"],
            contents["network.weights.h5"],
            Trained(**manifest["trained"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(
            f"The model version '{folder}' is not complete: {error}.", AGAIN
        ) from error
    _check_golden(model.network, contents["golden.npz"], folder)
    return model


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what a version says of itself, without loading it.

    Raises:
        NotFoundError: There is no such folder.
        DamagedError: The manifest is missing or no manifest.
        InvalidInputError: A newer version of the program wrote it.
    """
    if not folder.is_dir():
        raise NotFoundError(f"There is no model version '{folder}'.")
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_bytes())
        found, files = manifest["format"], dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"The manifest '{path}' cannot be read: {error}.", AGAIN) from error
    if found != FORMAT:
        raise InvalidInputError(
            f"'{folder}' has format {found}; this version of forecast reads format {FORMAT}.",
            "Upgrade forecast, or train the model again.",
        )
    if missing := set(FILES) - files.keys():
        raise DamagedError(f"The manifest '{path}' does not name {sorted(missing)}.", AGAIN)
    return manifest


def _checked(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"'{path}' cannot be read: {error.strerror}.", AGAIN) from error
    if _digest(content) != digest:
        raise DamagedError(f"'{path}' is not what was written: its SHA-256 differs.", AGAIN)
    return content


def _golden(network: Network) -> bytes:
    """Forecast from fixed random windows and keep both."""
    random = np.random.default_rng(0)
    lookback, features = network.context_shape
    arrays = {"context": random.normal(size=(GOLDEN_WINDOWS, lookback, features))}
    if network.future_features:
        size = (GOLDEN_WINDOWS, network.horizon, network.future_features)
        arrays["future"] = random.normal(size=size)
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, forecast=network(**arrays), **arrays)
    return buffer.getvalue()


def _check_golden(network: Network, content: bytes, folder: Path) -> None:
    with np.load(io.BytesIO(content), allow_pickle=False) as golden:
        expected = golden["forecast"]
        inputs = {name: golden[name] for name in golden.files if name != "forecast"}
    found = network(**inputs)
    if not np.allclose(found, expected, rtol=GOLDEN_TOLERANCE, atol=GOLDEN_TOLERANCE):
        difference = float(np.max(np.abs(found - expected)))
        raise DamagedError(
            f"The model version '{folder}' forecasts {difference:g} away from its golden forecast: "
            "this machine's ONNX Runtime does not compute what the one that saved it did.",
            AGAIN,
        )


def _to_toml(config: Config) -> str:
    import tomlkit

    sections = config.model_dump(exclude_none=True, mode="json")
    return tomlkit.dumps({name: section for name, section in sections.items() if section})


def _scaling_to_dict(scaling: Scaling) -> dict[str, Any]:
    arrays = {name: getattr(scaling, name).tolist() for name in ARRAYS}
    return {"ids": scaling.ids, "difference": scaling.difference, **arrays}


def _scaling_from_dict(content: dict[str, Any]) -> Scaling:
    if unknown := content.keys() - {field.name for field in fields(Scaling)}:
        raise ValueError(f"unknown fields in scaling.json: {', '.join(sorted(unknown))}")
    ids = tuple(content["ids"])
    arrays = {name: np.asarray(content[name]) for name in ARRAYS}
    for name in ("covariate_center", "covariate_scale"):
        arrays[name] = arrays[name].reshape(len(ids), -1)
    return Scaling(ids=ids, difference=content["difference"], **arrays)


def _versions() -> dict[str, str]:
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


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
