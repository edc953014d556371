"""Warm start: whose weights, scalers and settings go on, and which rows may judge what comes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from series_made import QUICK, frame_of

from forecaster import Forecaster, artifacts, scaling, splits
from forecaster.config import DataSpec
from forecaster.continuing import Earlier, Judged, Start
from forecaster.errors import DamagedError, InvalidInputError, NotFoundError
from forecaster.registry import Registry
from forecaster.series import prepare
from forecaster.weights import continue_from, networks_of, weights_of

pytestmark = pytest.mark.xdist_group("warm_start")

LEARNT = {"epochs": 4, "learning_rate": 0.02, "shrink": False}
STILL = {"epochs": 1, "learning_rate": 1e-12, "shrink": False, "preset": "auto"}
PARENT = QUICK | LEARNT | {"ensemble": 2, "series_vectors": True, "skip": "none", "cell": "rnn"}


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("warm") / "parent"
    forecaster = Forecaster(**PARENT, seed=5).fit(frame_of("a", "b"))
    forecaster.save(folder)
    return Forecaster.load(folder), forecaster, folder


@pytest.fixture(scope="module")
def still(parent):
    """The parent continued by next to nothing, from its folder, on the same rows."""
    return Forecaster(**STILL).fit(frame_of("a", "b"), warm_start=parent[2])


def test_training_that_changes_nothing_gives_the_forecasts_of_the_version(parent, still):
    expected = parent[1].predict()
    np.testing.assert_allclose(still.predict()["rnn"], expected["rnn"], rtol=1e-5)
    assert len(still.model.trained.members) == 2  # a member each


def test_what_is_judged_continues_the_model_that_was_judged_not_the_one_that_saw_all_rows(
    parent, still
):
    """The published weights of the version have been fitted on the rows that judge."""
    judged, again = (one.evaluated.backtest.folds.forecasts["rnn"] for one in (parent[1], still))
    np.testing.assert_allclose(again, judged, rtol=1e-5)
    judged_model, published = parent[1].evaluated.backtest.models[-1], parent[1].model
    assert judged_model.weights != published.weights
    found = still.evaluated.backtest.models[-1].scaling
    np.testing.assert_array_equal(found.center, judged_model.scaling.center)
    np.testing.assert_array_equal(still.model.scaling.center, published.scaling.center)


def test_nothing_is_compared_and_its_loss_goes_on_where_the_versions_stopped(parent, still):
    first, cold = (
        one.evaluated.backtest.models[-1].trained.members[0].history["loss"]
        for one in (still, parent[1])
    )
    assert first[0] < cold[1] < cold[0]
    assert still.evaluated.selection is None  # though the preset is auto


def test_the_scalers_stay_and_new_series_get_their_own(parent):
    """One series went, one came, and there are more rows of the one that stayed."""
    frame = frame_of("b", "c", rows=170)
    model = Forecaster(**STILL, refit_all=False).fit(frame, warm_start=parent[0])
    judged = parent[1].evaluated.backtest.models[-1]
    old, found = judged.scaling, model.model.scaling
    assert found.ids == ("b", "c")
    assert found.center[0] == old.center[1]
    train = model.evaluated.panel.head(np.array([146, 146]))  # 170 - 8 test - 16 validation
    assert found.center[1] == scaling.fit(train, model.config.scaling).center[1]
    vectors = [
        next(w for w in networks_of(one)[0].weights if w.path.startswith("series_vectors"))
        for one in (judged, model.model)
    ]
    np.testing.assert_allclose(np.asarray(vectors[1])[0], np.asarray(vectors[0])[1], atol=1e-6)
    assert model.about["warm_start"] == {
        "version": "parent",
        "new_series": 1,
        "fitted_until": "2024-05-15 00:00:00",
        "seen_until": "2024-05-31 00:00:00",
    }
    assert model.judged.seen.keys() == {"a", "b", "c"}  # the weights still know the one that went


@pytest.mark.parametrize(
    "asked",
    [
        {"cell": "lstm"},
        {"layers": (9,)},
        {"lookback": 20},
        {"horizon": 8},
        {"preset": "classic"},
        {"scaler": "minmax"},
        {"transform": "log"},
        {"ensemble": 3},
        {"season_length": 7},
        {"frequency": "h"},
        {"covariates": ("rain",)},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_a_setting_that_contradicts_the_version_is_refused_by_name(parent, asked):
    ((key, value),) = asked.items()
    said = value[0] if isinstance(value, tuple) else value
    with pytest.raises(
        InvalidInputError, match=f"{key} {said} was asked for, but version 'parent'"
    ):
        Forecaster(**asked).fit(frame_of("a", "b"), warm_start=parent[0])


def test_settings_of_training_may_differ_and_open_ones_are_the_versions(parent, still):
    assert still.config.training.learning_rate == 1e-12
    assert still.config.network == parent[1].config.network
    assert still.config.training.val_size == parent[1].config.training.val_size
    assert still.config.evaluation.folds == 2


@pytest.mark.parametrize(
    ("asked", "what"),
    [({"folds": 3, "val_size": 4}, "test"), ({"folds": 1, "val_size": 24}, "validation")],
)
def test_rows_that_the_version_knows_do_not_judge(parent, asked, what):
    with pytest.raises(InvalidInputError, match=f"{what} of series 'a' would begin at 2024-05-"):
        Forecaster(**asked).fit(frame_of("a", "b"), warm_start=parent[0])


def test_whole_numbers_are_times_too_and_a_chain_remembers_the_latest(parent):
    panel = prepare(frame_of("a").assign(ds=np.arange(160)), DataSpec())
    first, later = (
        splits.split(panel, val_size=size, test_size=test, gap=0) for size, test in ((4, 8), (8, 4))
    )
    judged = Judged.of(parent[1].model, panel, first)
    assert (judged.fitted, judged.seen) == ({"a": 147}, {"a": 151})
    earlier = Earlier("v", parent[1].model, judged)
    earlier.require_unseen(panel, first)
    earlier.require_unseen(panel, later)
    again = Judged.of(parent[1].model, panel, later, judged)
    assert (again.fitted, again.seen) == ({"a": 147}, {"a": 155})
    with pytest.raises(InvalidInputError, match="test of series 'a' would begin at 152, but"):
        Earlier("v", parent[1].model, again).require_unseen(panel, first)


def test_a_version_without_its_judged_weights_is_refused(parent, tmp_path):
    artifacts.save(parent[1].model, tmp_path / "old", {})
    with pytest.raises(InvalidInputError, match="judged weights of version 'old'"):
        Forecaster().fit(frame_of("a", "b"), warm_start=tmp_path / "old")


def test_a_forecaster_without_a_model_is_refused():
    with pytest.raises(InvalidInputError, match=r"trained model, .* Call its fit"):
        Forecaster().fit(frame_of("a"), warm_start=Forecaster())


def test_judged_weights_that_do_not_fit_are_told(parent):
    model = parent[1].model
    (network, _) = networks_of(model)
    start = Start(weights_of([network]), model.scaling)
    with pytest.raises(DamagedError, match="do not fit"):
        continue_from(network, start, 1, model.scaling)


def test_the_command_line_names_the_parent(parent, tmp_path):
    from forecaster.cli.tables import training_text, windows
    from forecaster.jobs import train
    from forecaster.store import Store
    from forecaster.workspace import Workspace

    workspace = Workspace(tmp_path)
    gaps = [5, 6, 200]
    Store(workspace.data).put(frame_of("a", "b").drop(index=gaps), {"kind": "test"})
    registry = Registry(workspace.models)
    version = registry.save("m", parent[1].model, parent[1].about, parent[1].judged)
    settings = {"epochs": 1, "learning_rate": 0.02}
    with pytest.raises(NotFoundError, match="no version 'nope'") as raised:
        train(workspace, (), "m", settings, lambda _: None, warm_start="nope")
    assert version in raised.value.hint
    shown = []
    show = windows(lambda _, label: shown.append(label))
    result = train(workspace, (), "m", settings, lambda _: None, show, "champion")
    assert shown[0] == "theta: 1 of 4 windows"  # while the judgement fits it
    assert shown[-1] == "ets: 4 of 4 windows"
    assert f"continued from version {version}, with its network" in training_text(result)
    assert "Data: 2 series, 320 rows (3 of them filled in); " in training_text(result)
    assert result.to_dict()["filled"] == 3
    assert "errors of one that was trained" not in training_text(result)
    rehearsed = replace(result, published=replace(result.published, rehearsed=4.2))
    assert "trained up to the test rows, in 4.2 s." in training_text(rehearsed)
    manifest = json.loads((registry.find("m", "champion") / "manifest.json").read_text())
    assert (manifest["data"]["rows"], manifest["data"]["filled"]) == (320, 3)
    assert manifest["warm_start"]["version"] == version
    assert result.to_dict()["warm_start"]["seen_until"] == "2024-05-31 00:00:00"
    loaded = Forecaster.load(registry.find("m", result.version))
    found = loaded.predict(frame=frame_of("a", "b"))["rnn"]
    assert not np.allclose(found, parent[1].predict()["rnn"], rtol=1e-4)  # it learnt
    assert loaded.judged.seen == parent[1].judged.seen
