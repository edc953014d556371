"""Scaling: the round trip, the choice of the logarithm, and what scikit-learn computes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from forecaster import scaling
from forecaster.config import DataSpec, ScalingSpec
from forecaster.errors import InvalidInputError
from forecaster.series import prepare

TRANSFORMS = ("none", "log", "diff")
SCALERS = ("standard", "minmax", "robust", "none")


def panel_from(*columns, **covariates):
    frames = []
    for number, column in enumerate(columns):
        frame = pd.DataFrame({"unique_id": f"s{number}", "ds": range(len(column)), "y": column})
        frames.append(frame.assign(**covariates))
    spec = DataSpec(covariates=tuple(covariates))
    return prepare(pd.concat(frames, ignore_index=True).astype({"y": float}), spec)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("scaler", SCALERS)
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.floats(0.5, 1e6), min_size=4, max_size=20), min_size=1, max_size=4),
    st.booleans(),
)
def test_outputs_undo_inputs(transform, scaler, columns, deseasonalise):
    panel = panel_from(*columns)
    spec = ScalingSpec(transform=transform, scaler=scaler, deseasonalise=deseasonalise)
    state = scaling.fit(panel, spec, 3)
    inputs = state.inputs(panel)[:, 0].astype(float)
    for series, (begin, end) in enumerate(zip(panel.offsets, panel.offsets[1:], strict=False)):
        last = state.levels(panel)[[begin]]
        outputs = inputs[None, begin + 1 : end, None]  # as if forecast from the first row
        phases = state.phases_ahead(panel, np.array([begin]), outputs.shape[1])
        levels = state.outputs_to_levels(outputs, last, np.array([series]), phases)
        values = state.levels_to_values(levels, np.array([series]))[0, :, 0]
        size = np.abs(panel.y[begin:end]).max()
        np.testing.assert_allclose(values, panel.y[begin + 1 : end], rtol=1e-4, atol=1e-4 * size)


@pytest.mark.parametrize(
    ("scaler", "reference"),
    [("standard", StandardScaler()), ("minmax", MinMaxScaler()), ("robust", RobustScaler())],
)
def test_each_series_is_scaled_as_scikit_learn_does(scaler, reference):
    random = np.random.default_rng(0)
    columns = [random.normal(10, 3, 50), random.normal(-400, 90, 31)]
    state = scaling.fit(panel_from(*columns), ScalingSpec(transform="none", scaler=scaler))
    inputs = state.inputs(panel_from(*columns))[:, 0]
    expected = np.concatenate([reference.fit_transform(c[:, None])[:, 0] for c in columns])
    np.testing.assert_allclose(inputs, expected, rtol=1e-5, atol=1e-5)


def test_many_series_at_once_are_scaled_as_one_by_one(monkeypatch):
    random = np.random.default_rng(0)
    columns = [random.normal(n, n + 1, 5 + 3 * n) for n in range(8)]
    spec = ScalingSpec(transform="none")
    together = scaling.fit(panel_from(*columns), spec)
    monkeypatch.setattr(scaling, "CELLS_AT_ONCE", 20)
    apart = scaling.fit(panel_from(*columns), spec)
    np.testing.assert_allclose(together.center, apart.center)
    np.testing.assert_allclose(together.scale, apart.scale)
    np.testing.assert_allclose(together.center, [c.mean() for c in columns])


def test_prices_get_the_logarithm_and_temperatures_do_not():
    random = np.random.default_rng(0)
    price = 50 * np.exp(np.cumsum(random.normal(0.002, 0.02, 600)))
    temperature = 15 + 8 * np.sin(np.arange(600) / 30) + random.normal(0, 1, 600)
    crossing = np.cumsum(random.normal(0, 1, 600))
    state = scaling.fit(panel_from(price, temperature, crossing), ScalingSpec())
    assert state.log.tolist() == [True, False, False]


@pytest.mark.parametrize("rows", [100, 1000, 3000])
def test_the_logarithm_of_a_series_is_chosen_whatever_the_others_are(rows):
    random = np.random.default_rng(0)
    growing = 100 * np.exp(0.02 * np.arange(144)) * (1 + 0.1 * random.normal(size=144))
    panel = panel_from(growing, random.normal(size=rows))
    assert scaling.fit(panel, ScalingSpec()).log.tolist() == [True, False]


def test_covariates_are_scaled_by_their_own_rows():
    panel = panel_from(np.arange(10.0), rain=np.arange(10) * 100.0)
    inputs = scaling.fit(panel, ScalingSpec(transform="none")).inputs(panel)
    assert inputs.shape == (10, 2)
    np.testing.assert_allclose(inputs[:, 0], inputs[:, 1], rtol=1e-6)


@pytest.mark.parametrize("scaler", SCALERS[:3])
@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from([0.0, 1.0, -1.0]) | st.floats(-2, 2).map(lambda y: round(y, 6)),
        min_size=4,
        max_size=40,
    ),
    st.floats(-290, 90).map(lambda power: 10**power),
)
def test_the_size_of_values_does_not_matter(scaler, column, factor):
    column = np.array(column)
    spec = ScalingSpec(transform="none", scaler=scaler)
    plain, sized = panel_from(column), panel_from(column * factor)
    one, other = scaling.fit(plain, spec), scaling.fit(sized, spec)
    if column.any():  # all zeros have no size
        np.testing.assert_allclose(other.scale / factor, one.scale, rtol=1e-6)
        np.testing.assert_allclose(other.error_unit / factor, one.error_unit, rtol=1e-6)
        np.testing.assert_allclose(other.inputs(sized), one.inputs(plain), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("factor", [1e-290, 1e90])
def test_the_logarithm_is_chosen_whatever_the_size(factor):
    random = np.random.default_rng(0)
    price = np.exp(np.cumsum(random.normal(0.002, 0.02, 600)))
    assert scaling.fit(panel_from(price * factor), ScalingSpec()).log.all()


def test_a_large_series_does_not_hide_the_changes_of_a_small_one():
    small = np.array([1.0, 2.0, 4.0, 2.0]) * 1e-30
    state = scaling.fit(panel_from([1e30, 2e30, 1e30], small), ScalingSpec(transform="none"))
    assert state.error_unit[1] == pytest.approx(5 / 3 * 1e-30)


@pytest.mark.parametrize("scaler", SCALERS[:3])
@pytest.mark.parametrize("size", [1e-299, 1e-6, 3.0, 1e90])
def test_a_constant_series_is_scaled_by_its_own_size(scaler, size):
    state = scaling.fit(panel_from([-size] * 9), ScalingSpec(transform="none", scaler=scaler))
    assert state.scale[0] == size
    assert state.error_unit[0] == size


def test_a_series_that_never_changed_is_told_from_one_that_was_still_lately():
    trained = panel_from([3.0] * 8, [0.0] * 8, [3.0, 5.0] * 4)
    since = panel_from([3.0] * 6 + [4.0], [0.0] * 7, [3.0] * 7)
    for transform in ("none", "diff"):
        state = scaling.fit(trained, ScalingSpec(transform=transform))
        levels, cutoffs = state.levels(since), np.array([5, 6, 13, 20])
        still = state.never_changed(levels, since.offsets, cutoffs, np.array([0, 0, 1, 2]))
        assert still.tolist() == [True, False, True, False]


def test_a_constant_series_stays_finite():
    panel = panel_from([3.0] * 12, [0.0] * 12)
    state = scaling.fit(panel, ScalingSpec())
    assert np.isfinite(state.inputs(panel)).all()
    assert (state.error_unit > 0).all()


def test_without_a_logarithm_a_series_is_forecast_as_it_is():
    panel = panel_from([1.0, 0.0, 2.0], [3.0] * 3, [1.0, 2.0, 3.0], [-1.0] * 3)
    state = scaling.fit(panel, ScalingSpec(transform="log"))
    assert state.log.tolist() == [False, False, True, False]
    (said,) = state.notices(panel, asked=True)
    assert said.startswith("2 of 4 series ('s0', 's3') have values of zero or less and are")
    assert state.notices(panel, asked=False) == []


@pytest.mark.parametrize("scaler", SCALERS)
def test_a_series_without_rows_to_fit_is_left_as_it_is(scaler):
    panel = panel_from([1.0, 2.0, 4.0, 3.0], [5.0, 6.0, 5.0, 6.0])
    state = scaling.fit(panel.head(np.array([4, 0])), ScalingSpec(transform="none", scaler=scaler))
    assert (state.center[1], state.scale[1]) == (0, 1)


@pytest.mark.parametrize("scaler", SCALERS)
def test_a_later_value_without_a_logarithm_counts_as_far_below(scaler):
    random = np.random.default_rng(0)
    trained = panel_from(np.exp(random.normal(3, 0.5, 50)))
    state = scaling.fit(trained, ScalingSpec(transform="log", scaler=scaler))
    since = panel_from([20.0, 0.0, -3.0, 25.0])
    inputs = state.inputs(since)[:, 0]
    assert inputs[1] == inputs[2] == pytest.approx(-scaling.FAR)
    assert (inputs[[0, 3]] > -scaling.FAR).all()
    (said,) = state.notices(since, asked=False)
    assert said.startswith("1 of 1 series ('s0') are forecast as logarithms")


def test_values_that_no_float_can_square_are_refused():
    with pytest.raises(InvalidInputError, match=r"'s0', 1e\+300 at 2, is larger than"):
        scaling.fit(panel_from([1.0, 2.0, 1e300]), ScalingSpec())


def test_a_value_far_off_the_rows_trained_on_is_refused():
    state = scaling.fit(panel_from([1.0, 2.0, 3.0]), ScalingSpec(transform="none"))
    with pytest.raises(InvalidInputError, match=r"'s0', 1e\+50 at 1, is more than"):
        state.inputs(panel_from([1.0, 1e50]))


def test_logarithms_never_come_back_infinite():
    state = scaling.fit(panel_from([1.0, 2.0, 3.0]), ScalingSpec(transform="log"))
    values = state.levels_to_values(np.array([[1e6, 2.0]]), np.array([0]))
    np.testing.assert_allclose(values, [[scaling.LARGEST_VALUE, np.exp(2.0)]])


def test_a_new_series_is_scaled_by_its_own_rows_and_a_known_one_as_trained():
    known, new = np.arange(1.0, 11), np.arange(1000.0, 1010)
    state = scaling.fit(panel_from(known), ScalingSpec(transform="none"))
    aligned = state.align(panel_from(known * 7, new), ScalingSpec(transform="none"))
    assert aligned.center[0] == pytest.approx(known.mean())
    assert aligned.center[1] == pytest.approx(new.mean())
