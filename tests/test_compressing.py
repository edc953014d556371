"""Compressed versions: what is in 8 bits, which weights stay zero, whom a student learns from."""

import json
import re
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from retrain_made import registry
from series_made import panel_of

from forecaster import artifacts, training
from forecaster.backend import import_keras
from forecaster.cli import app
from forecaster.compressing import Original, Small, distil, prune
from forecaster.config import Config, NetworkSpec
from forecaster.errors import InvalidInputError
from forecaster.manifest import read_manifest
from forecaster.model import Model
from forecaster.networks.builder import build
from forecaster.networks.onnx_graph import to_onnx
from forecaster.networks.windowed import Held, Windowed
from forecaster.pruning import KeepZeros, pruned, shares, zeros
from forecaster.quantising import quantised
from forecaster.runtime import Network
from forecaster.weights import stored_weights, weights_of

pytestmark = pytest.mark.xdist_group("retrain")

keras = import_keras()
SPEC = NetworkSpec(
    preset="segment",
    lookback=16,
    horizon=4,
    segment=4,
    layers=(32, 16),
    normalise="last",
    skip="linear",
    skip_lag=8,
    series_vectors=False,
    quantiles=(0.1, 0.9),
    decoder="parallel",
    dropout=0.0,
)


def network(**changes):
    made = build(SPEC.model_copy(update=changes), 2)
    random = np.random.default_rng(0)
    for weight in made.weights:
        weight.assign(random.normal(0, 0.1, weight.shape))
    return made


@pytest.mark.parametrize(
    ("cell", "computed", "stored"),
    [
        ("lstm", {"MatMul": 4, "LSTM": 2}, {}),
        ("gru", {"MatMul": 4}, {"GRU": 2}),
        ("rnn", {"MatMul": 4}, {"RNN": 2}),
    ],
)
def test_each_cell_is_in_8_bits_and_forecasts_nearly_the_same(cell, computed, stored):
    graph = to_onnx([network(cell=cell, layers=(48, 32))])
    found = quantised(graph, least=0)
    assert (found.computed, found.stored, found.left) == (computed, stored, {})
    assert len(found.graph) < 0.7 * len(graph)
    context = np.random.default_rng(1).normal(size=(64, 16, 2)).astype(np.float32)
    whole, small = Network(graph)(context), Network(found.graph)(context)
    assert 0 < np.abs(whole - small).max() < 0.05 * np.abs(whole).max()


def test_small_matrices_stay_as_they_are():
    """The embedding has 256 weights and the decoder's step 1,024, skip and head have less."""
    found = quantised(to_onnx([network(cell="lstm")]), least=200)
    assert (found.computed, found.left) == ({"MatMul": 2, "LSTM": 2}, {"MatMul": 2})


def test_what_stays_within_the_steps_of_a_decoder_is_said():
    graph = to_onnx([network(cell="gru", decoder="recurrent", segment=2)])
    found = quantised(graph, least=0)
    assert found.stored == {"GRU": 2}
    assert found.left == {"MatMul": 3}  # of the cell's two kernels and the head, at each segment


def test_a_graph_is_quantised_once():
    found = quantised(to_onnx([network(cell="gru")]))
    with pytest.raises(InvalidInputError, match="it is in 8 bits already"):
        quantised(found.graph)


def test_the_smallest_weights_of_each_kernel_go():
    made = network(cell="gru")
    weights = weights_of([made, made])
    assert zeros(weights) == 0
    small = pruned(weights, 0.5)
    assert zeros(small) == pytest.approx(0.5, abs=0.001)
    before, after = (stored_weights(each) for each in (weights, small))
    for place, weight in enumerate(made.weights):
        was, now = np.abs(before[1][place]), np.abs(after[1][place])
        if weight.path.endswith("kernel"):
            assert was[now == 0].max() <= was[now > 0].min()
        else:
            np.testing.assert_array_equal(was, now)
    assert shares(0.8) == sorted(shares(0.8))
    assert shares(0.8)[-1] == 0.8


def test_a_weight_that_is_zero_is_not_trained():
    weight = keras.Variable(np.array([0.0, 1.0, -1.0], dtype=np.float32))
    optimizer = KeepZeros(learning_rate=0.1)
    optimizer.build([weight])
    for _ in range(3):
        optimizer.apply([keras.ops.ones(3)], [weight])
    np.testing.assert_allclose(np.asarray(weight), [0.0, 0.7, -1.3], atol=1e-3)


def test_a_teacher_counts_as_much_as_the_truth_but_not_in_validation():
    panel = panel_of("a")
    config = Config.of(**SPEC.model_dump(), season_length=8, val_size=16, test_size=8, loss="mae")
    state = training.scaling.fit(panel, config.scaling)
    rows = training._rows(panel, config, state)
    cutoffs = np.array([40, 60], dtype=np.int32)
    lessons = np.zeros(len(panel.y), dtype=np.int32)
    lessons[cutoffs] = [0, 1]
    said = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    student = training.replace(rows, taught=said + 1, lessons=lessons)
    alone, taught = (Windowed(build(SPEC, 1), Held(each), config) for each in (rows, student))
    plain = float(alone.compute_loss(cutoffs, y_pred=said))
    assert float(taught.compute_loss(cutoffs, y_pred=said)) == pytest.approx((plain + 1) / 2, 1e-5)
    assert float(taught.compute_loss(cutoffs, y_pred=said, training=False)) == pytest.approx(plain)


def test_a_student_is_taught_what_the_teacher_says_of_the_train_windows(trained):
    model, _ = registry(trained).load("air")
    panel = panel_of("a", "b", rows=120)
    cutoffs = np.array([30, 50, 160])
    rows = training._taught(
        training._rows(panel, model.config, model.scaling), model, panel, cutoffs
    )
    assert rows.lessons[cutoffs].tolist() == [0, 1, 2]
    forecast = model.forecast(panel, cutoffs)
    levels = model.scaling.outputs_to_levels(
        rows.taught, panel.y[cutoffs], forecast.series, np.zeros((3, 0), dtype=int)
    )
    np.testing.assert_allclose(levels, forecast.levels, rtol=1e-6)


def run(folder, capsys, *words, code=0):
    capsys.readouterr()
    assert app.run([*words, "--name", "air", "--workspace", str(folder)]) == code
    return capsys.readouterr()


def compressed(folder, capsys, *words):
    document = json.loads(run(folder, capsys, "compress", *words, "--json").out)
    version = registry(folder).version_folder("air", document["version"])
    return document, artifacts.load(version), read_manifest(version)


def test_a_quantised_version_is_one_like_any_other(trained, capsys):
    before = registry(trained).champion("air")
    said = run(trained, capsys, "compress", "--quantize", "int8")
    assert "GRU stored in 8 bits and computed as float32; " in said.out
    assert "MatMul left as they were" in said.out
    assert "is saved but not in service" in said.out
    assert registry(trained).champion("air") == before
    document, model, manifest = compressed(trained, capsys, "--quantize", "int8", "--promote")
    assert document["after"]["graph"] > document["before"]["graph"]  # of 8 units, bytes do not pay
    assert "The new graph is larger than the one it was made from" in document["notices"][0]
    assert document["after"]["mase"] == pytest.approx(document["before"]["mase"], rel=0.2)
    assert document["after"]["mase"] == manifest["judgement"]["scores"]["gru"]["mase"]
    assert document["before"]["mase"] == pytest.approx(
        read_manifest(registry(trained).version_folder("air", before))["judgement"]["scores"][
            "gru"
        ]["mase"]
    )
    assert min(document["after"][time] for time in ("window_ms", "batch_ms")) > 0
    assert registry(trained).champion("air") == document["version"]
    assert registry(trained).history("air")[-1].why == "compress"
    assert model.conformal.windows == registry(trained).load("air")[0].conformal.windows > 0
    run(trained, capsys, "models", "verify")
    run(trained, capsys, "predict", "--output", str(trained / "o.csv"))
    shown = run(trained, capsys, "models", "show").out
    assert f"Compressed: from version {before} (--quantize int8)" in shown
    listed = run(trained, capsys, "models", "list").out.splitlines()
    assert listed[0].endswith("made by compress")
    assert listed[-1].split()[-2:] == ["--quantize", "int8"]
    assert not any("00:00:00" in line for line in listed)
    refused = run(trained, capsys, "models", "reproduce", code=1).err
    assert f"made from {before!r}" in refused
    again = run(trained, capsys, "compress", "--quantize", "int8", code=5).err
    assert "in 8 bits already" in again
    run(trained, capsys, "anomalies")  # by the quantised judged network


def original(**settings):
    """Return what a version of these settings would be compressed from, with nothing trained."""
    config = Config.of(**SPEC.model_dump() | settings)
    model = Model(config, None, None, b"", weights_of([network()]), None)
    return Original(model, model, None, None, None)


def fits(monkeypatch):
    """Have a fit, and a refit, return what it was given, and list them."""
    done = []

    def fitted(_, config, *others, **options):
        done.append(("fit", config, options))
        return Model(config, None, None, b"", weights_of([network()]), None)

    def refitted(_, judged, *others, **options):
        done.append(("refit", judged.config, options))
        return replace(judged, weights=pruned(judged.weights, 0.5))

    monkeypatch.setattr(training, "fit", fitted)
    monkeypatch.setattr(training, "refit", refitted)
    return done


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ("6", [(6, "gru", 2, 0.1)]),
        ("6,5,4", [(6, "gru", 2, 0.1), (5, "gru", 2, 0.1), (4, "gru", 2, 0.1)]),
        ("6,5", [(6, "rnn", 1, 0.2), (5, "gru", 2, 0.1)]),
    ],
)
def test_a_student_of_other_depth_is_made_as_the_top_layer_is(monkeypatch, units, expected):
    done = fits(monkeypatch)
    each = {"cell": "rnn-gru", "dropout": (0.2, 0.1), "dilations": (1, 2)}
    distil(original(**each), print, units=units)
    assert list(done[0][1].network.stack) == expected


def test_a_student_has_as_many_heads_as_divide_its_units(monkeypatch):
    done = fits(monkeypatch)
    for units in ("2", "8,6", "32"):
        small = distil(original(attention="self", heads=4), print, units=units)
    assert "32 units and 4 heads" in small.done
    assert [config.network.heads for what, config, _ in done if what == "fit"] == [2, 2, 4]


def test_nothing_is_trained_on_all_rows_where_what_was_judged_is_published(monkeypatch):
    done = fits(monkeypatch)
    small = distil(original(refit_all=False), print, units="8")
    assert small.published is small.judged
    prune(original(refit_all=False), print, share=0.5)
    assert {what for what, *_ in done} == {"fit"}


def test_rounds_of_pruning_share_the_time_budget(monkeypatch):
    done = fits(monkeypatch)
    prune(original(), print, share=0.5)
    for what in ("fit", "refit"):
        assert sum(given["share"] for name, _, given in done if name == what) == pytest.approx(1)


@pytest.mark.slow  # three trainings
def test_a_pruned_version_keeps_its_zeros_and_can_be_continued(trained, capsys, monkeypatch):
    monkeypatch.setattr("forecaster.pruning.ROUNDS", 1)
    document, model, manifest = compressed(trained, capsys, "--prune", "0.6")
    assert 0.59 < zeros(model.weights) <= document["after"]["zeros"] + 1e-9
    judged = artifacts.load_judged(registry(trained).version_folder("air", document["version"]))
    assert 0.59 < zeros(judged.start.weights) < 0.65
    assert document["after"]["packed"] < 0.8 * document["before"]["packed"]
    assert document["after"]["graph"] == pytest.approx(document["before"]["graph"], rel=0.01)
    assert manifest["compressed"]["option"] == "--prune 0.6"
    run(trained, capsys, "train", "--warm-start", document["version"], "--epochs", "1")


@pytest.mark.slow  # two trainings of its own
def test_a_version_of_series_together_with_chances_is_compressed_too(trained, capsys):
    words = ("--joint", "--direction", "--no-refit-all", "--epochs", "1", "--cell", "lstm-gru")
    run(trained, capsys, "train", *words, "--layers", "8,8")
    latest = ("--version", "latest")
    document, model, _ = compressed(trained, capsys, *latest, "--distill", "4,4")
    assert (model.network.together, model.config.network.layers) == (2, (4, 4))
    assert model.chances is not None
    assert document["after"]["mase"] > 0
    small = compressed(trained, capsys, *latest, "--quantize", "int8")[1]
    assert small.chances is not None
    run(trained, capsys, "models", "promote", "latest")
    run(trained, capsys, "predict", "--output", str(trained / "o.csv"))
    assert "-up" in (trained / "o.csv").read_text().splitlines()[0]


def test_a_distilled_version_is_smaller(trained, capsys):
    document, model, _ = compressed(trained, capsys, "--distill", "4")
    assert model.config.network.layers == (4,)
    assert document["after"]["parameters"] < document["before"]["parameters"]
    assert document["done"].startswith("Distilled into one network of 4 units")
    assert model.conformal.windows > 0
    run(trained, capsys, "models", "verify")


def spoilt(made, _):
    """Turn the weights of the judged network round."""
    graph = onnx.load_from_string(made.judged.graph)
    for tensor in graph.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim > 1:
            tensor.CopyFrom(numpy_helper.from_array(-values, tensor.name))
    worse = replace(made.judged, graph=graph.SerializeToString())
    return Small(made.published, worse, "Spoilt.")


def test_what_has_become_worse_is_not_promoted(trained, capsys, monkeypatch):
    before = registry(trained).champion("air")
    monkeypatch.setattr("forecaster.compressing.quantise", spoilt)
    said = run(
        trained, capsys, "compress", "--quantize", "int8", "--promote", "--max-rise", "0.1", code=6
    )
    after, found = re.search(r"its MASE is (\S+) where \S+ has (\S+), a rise", said.err).groups()
    version = registry(trained).version_folder("air", before)
    known = read_manifest(version)["judgement"]["scores"]["gru"]["mase"]
    assert float(found) == pytest.approx(known, rel=1e-3)
    assert float(after) > 1.1 * known
    assert re.search(r"is saved but not in service\.\n", said.out)
    assert re.search(r"\nMASE on the test folds +\S+ +\S+\n", said.out)
    assert registry(trained).champion("air") == before
    assert len(registry(trained).versions("air")) == 2


@pytest.mark.parametrize(("after", "said"), [(2.0, True), (1.0, False)])
def test_a_version_that_is_no_faster_says_so(trained, capsys, monkeypatch, after, said):
    speeds = [(0.1, 1.0), (0.1, after)]
    monkeypatch.setattr("forecaster.compressing._milliseconds", lambda _: speeds)
    found = run(trained, capsys, "compress", "--quantize", "int8")
    assert ("It is no faster: 256 windows take 2 ms" in found.err) == said


def test_a_version_whose_mase_cannot_be_told_is_saved_and_not_promoted(
    trained, capsys, monkeypatch
):
    monkeypatch.setattr("forecaster.compressing._errors", lambda _: (0.5, float("nan")))
    said = run(trained, capsys, "compress", "--quantize", "int8", "--promote", code=6)
    assert "no train rows change, so that MASE has no denominator" in said.err
    newest = registry(trained).versions("air")[-1]
    manifest = read_manifest(registry(trained).version_folder("air", newest))
    assert manifest["compressed"]["after"]["mase"] is None


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "Say how to compress"),
        (("--prune", "0.5", "--quantize", "int8"), 2, "Say how to compress"),
        (("--prune", "1"), 2, "0<x<1"),
        (("--prune", "nan"), 2, "'nan' is not a share"),
        (("--quantize", "int8", "--max-rise", "nan"), 2, "'nan' is not a share"),
        (("--distill", "many"), 5, "network.layers"),
        (("--quantize", "int8", "--version", "2020"), 4, "has no version '2020'"),
    ],
)
def test_the_command_says_what_it_cannot_do(first, capsys, words, code, message):
    said = run(first[0], capsys, "compress", *words, code=code)
    assert message in said.err
    assert said.out == ""
