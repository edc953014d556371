"""What a version was asked for with: by it, `retrain` knows rows that were trained on before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from forecaster.config import Config
from forecaster.index import Entry

RECIPE = "recipe"  # in manifests: see `recipe`


def recipe(config: Config, entries: Mapping[str, Entry], ids: Iterable[str]) -> str:
    """Return a digest of the rows and settings that a version is asked for with.

    Args:
        config: What was asked for; settings of the prediction do not count.
        entries: The stored series.
        ids: Those that are trained on; all of them without any. One that was stored since has no entry:
            then nobody asks for the same again.
    """
    asked = config.model_dump(mode="json", exclude={"prediction"})
    rows = {uid: entries[uid].hash for uid in sorted(ids or entries) if uid in entries}
    said = json.dumps([rows, asked, config.retrain.start], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()
