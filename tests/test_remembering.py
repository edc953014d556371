"""Networks on the memory tasks: what is trained, scored and drawn."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecaster import backend
from forecaster.backend import import_keras
from forecaster.cli import app
from forecaster.compiling import compiled
from forecaster.config import SEEDS, Config
from forecaster.errors import InvalidInputError
from forecaster.memory import remembering, sequences
from forecaster.memory.remembered import Memory, Remembered
from forecaster.memory.remembering import remember, resolved
from forecaster.memory.sequences import sequences_of
from forecaster.memory.tasks import OWN, TASKS
from forecaster.networks.builder import build
from forecaster.networks.gradients import gradient_by_step
from forecaster.reports.memory import plot_memory

keras = import_keras()
CHANGES = {
    "layers": (7, 5),
    "dropout": (0.4,),
    "recurrent_dropout": 0.4,
    "gate_bias": "constant",
    "epochs": 1,
    "batch_size": 32,
    "learning_rate": 1e-4,
    "schedule": "plateau",
    "bidirectional": True,
    "residual": True,
    "dilations": (3,),
    "attention": "states",
    "heads": 2,
    "l1": 0.1,
    "l2": 0.1,
    "clip_norm": 1e-3,
    "clip_value": 1e-3,
    "seed": 7,
    "deterministic": True,
    "device": "cpu",
    "time_budget": 9.0,
}  # that each is consumed once it is resolved: test_training

pytestmark = pytest.mark.xdist_group("remembering")


@pytest.fixture
def few(monkeypatch):
    """Few sequences: what is tested then is not what is learnt."""
    for name, count in (("TRAIN", 256), ("VALIDATION", 64), ("TEST", 64)):
        monkeypatch.setattr(sequences, name, count)


def trained(task="adding", cells=("rnn",), lengths=(5,), seeds=1, **settings):
    settings = {"layers": (4,), "epochs": 2} | settings
    return remember(TASKS[task], cells, lengths, seeds, Config.of(**settings)).networks


def test_every_network_is_checked_before_one_is_trained():
    told = []
    config = Config.of(layers=(4,), epochs=1, dilations=(7,))
    with pytest.raises(InvalidInputError, match="dilation 7"):
        remember(TASKS["adding"], ("rnn",), (7, 10), 1, config, told.append)
    assert told == []


def test_sequences_are_not_shared_between_training_validation_and_test():
    made = sequences_of(TASKS["adding"], 12, seed=3)
    assert [len(part) for part in (made.train, made.val, made.test)] == [8192, 1024, 2048]
    parts = np.concatenate([made.train, made.val, made.test])
    np.testing.assert_array_equal(parts, np.arange(len(parts)) * 13 + 11)
    assert len(np.unique(made.features[:, :, 0], axis=0)) == len(parts)
    sums = (made.features[:, :-1, 0] * made.features[:, :-1, 1]).sum(axis=1)
    np.testing.assert_allclose(made.features[:, -1, 0], sums, rtol=1e-6)
    again, other = (sequences_of(TASKS["adding"], 12, seed) for seed in (3, 4))
    np.testing.assert_array_equal(made.features, again.features)
    assert (made.features != other.features).any()


def test_short_sequences_are_trained_on_and_whole_ones_tested():
    made = sequences_of(TASKS["checksum"], 40, seed=3)
    begins = (made.features[:, :-1, 0] != 0).argmax(axis=1)
    assert sorted(set(40 - begins[:8192])) == [5, 10, 20, 40]
    assert set(np.unique(begins[:8192], return_counts=True)[1]) == {2048}
    assert not begins[8192:].any()
    firsts = np.take_along_axis(made.features[:, :, 0], begins[:, None], axis=1)[:, 0]
    np.testing.assert_array_equal(firsts, made.features[:, -1, 0])
    inputs, answers = made.tested
    np.testing.assert_array_equal(inputs[:, 0, 0], answers)


def test_what_a_network_sees_ends_before_the_answer(few):
    made = sequences_of(TASKS["skip"], 6, seed=3)
    config = resolved(Config.of(layers=(3,)), "gru", 6)
    windowed = compiled(made.rows, config, len(made.train), xla=False)
    for weight in windowed.network.weights:
        weight.assign(keras.random.normal(weight.shape, seed=1))
    inputs, answers = made.tested
    seen = np.asarray(windowed(made.test))
    np.testing.assert_allclose(seen, np.asarray(windowed.network(inputs)), atol=1e-6)
    loss = np.asarray(windowed.losses_of(made.test, seen))
    np.testing.assert_allclose(loss, (seen[:, 0, 0] - answers) ** 2, rtol=1e-5)


def test_only_the_cell_differs_between_networks():
    made = {cell: resolved(Config.of(layers=(9,)), cell, 20).flat() for cell in ("rnn", "lstm")}
    assert {key for key in made["rnn"] if made["rnn"][key] != made["lstm"][key]} == {"cell"}
    assert made["rnn"]["layers"] == (9,)
    assert made["rnn"]["lookback"] == 20


@pytest.mark.parametrize("name", OWN)
def test_a_setting_that_is_given_counts_and_one_that_is_open_is_chosen(name):
    others = {"attention": "states"} if name == "heads" else {}
    given = resolved(Config.of(**{name: CHANGES[name]}, **others), "gru", 9).flat()
    chosen = resolved(Config.of(**others), "gru", 9).flat()
    assert given[name] == CHANGES[name] != chosen[name]
    follow = {"attention": "heads", "clip_value": "clip_norm", "epochs": "patience"}
    assert {key for key in given if given[key] != chosen[key]} <= {name, follow.get(name)}
    assert given["patience"] == given["epochs"]  # no training is given up before its end


def test_what_is_left_open_is_as_the_textbooks_have_it():
    config = resolved(Config(), "gru", 9)
    network, spec = config.network, config.training
    assert (network.layers, network.segment, network.decoder) == ((32,), 1, "direct")
    assert (network.normalise, network.skip, network.quantiles) == ("none", "none", ())
    assert (network.lookback, network.min_context, network.horizon) == (9, 9, 1)
    assert (spec.loss, spec.clip_norm, spec.shrink, spec.ensemble) == ("mse", 1.0, False, 1)
    assert None not in [value for key, value in network if key not in {"heads"}]


def test_what_is_no_setting_of_the_tasks_is_as_the_tasks_need_it():
    asked = Config.of(horizon=9, quantiles=(0.1,), skip="linear", loss="mae", lookback=99)
    assert resolved(asked, "gru", 9) == resolved(Config(), "gru", 9)


def test_the_time_budget_ends_a_training(few):
    (network,) = trained(epochs=500, time_budget=1e-3)
    assert network.stopped_by == "time budget"
    assert network.epochs <= 2  # the clock starts with the first batch, which may be an epoch


def test_every_cell_length_and_seed_has_its_turn(monkeypatch):
    def found(task, sequences, config, seeds, on_run):
        yield config.network.lookback, config.network.cell, seeds, sequences.features.shape[1]

    monkeypatch.setattr(remembering, "_networks", found)
    turns = trained("skip", ("rnn", "gru"), (5, 8), seeds=2)
    assert list(turns) == [(t, cell, 2, t + 1) for t in (5, 8) for cell in ("rnn", "gru")]


def test_determinism_holds_for_as_long_as_networks_are_trained(few):
    found = []
    config = Config.of(layers=(4,), epochs=1, deterministic=True)
    told = lambda _: found.append(backend.is_deterministic())  # noqa: E731
    remember(TASKS["adding"], ("rnn",), (5,), 1, config, lambda _: told)
    assert found == [True]
    assert not backend.is_deterministic()


def test_networks_of_several_seeds_differ_and_the_first_is_as_if_it_were_alone(few):
    largest = SEEDS - 1
    one, other = trained(seeds=2, seed=largest)
    (alone,) = trained(seed=largest)
    assert (one.seed, other.seed, alone.seed) == (largest, 0, largest)
    assert one.error == pytest.approx(alone.error, rel=1e-4)
    assert one.gradient_trained == pytest.approx(alone.gradient_trained, rel=1e-3)
    assert abs(one.error - other.error) > 1e-3
    assert one.gradient_trained != one.gradient_untrained


def test_a_cell_solves_a_short_task_and_stops_when_it_has(few, monkeypatch):
    monkeypatch.setattr(sequences, "TRAIN", 2048)
    (network,) = trained("checksum", layers=(16,), epochs=60, learning_rate=0.02)
    assert network.accuracy > 0.95
    assert network.error < 0.05
    assert network.stopped_by == "solution"
    assert network.epochs < 60


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_the_gradient_is_what_a_small_change_of_an_input_does(cell):
    config = resolved(Config.of(layers=(3,)), cell, 4)
    network = build(config.network, 2)
    for weight in network.weights:
        weight.assign(keras.random.normal(weight.shape, seed=1) * 0.7)
    random = np.random.default_rng(1)
    inputs, answers = random.normal(size=(2, 4, 2)), random.normal(size=(2, 1))
    found = gradient_by_step(network, inputs, answers)
    slopes = np.zeros((2, 4, 2))
    for place in np.ndindex(slopes.shape):
        losses = []
        for change in (1e-2, -1e-2):
            moved = inputs.copy()
            moved[place] += change
            losses.append(np.sum((np.asarray(network(moved))[:, :, 0] - answers) ** 2))
        slopes[place] = (losses[0] - losses[1]) / 2e-2
    np.testing.assert_allclose(found, np.linalg.norm(slopes, axis=2).mean(axis=0), rtol=1e-2)


def test_the_gradient_of_an_untrained_rnn_vanishes_backwards():
    keras.utils.set_random_seed(1)
    network = build(resolved(Config(), "rnn", 40).network, 1)
    inputs, answers = TASKS["checksum"].generate(64, 40, np.random.default_rng(1))
    assert not gradient_by_step(network, inputs, answers[:, None]).any()  # through a head of zeros
    found = gradient_by_step(remembering.with_random_head(network), inputs, answers[:, None])
    blocks = found.reshape(4, 10).mean(axis=1)
    assert (np.diff(blocks) > 0).all()
    assert 0 < blocks[0] < 0.1 * blocks[-1]


def remembered(cell, length, seed, accuracy):
    gradient = tuple(np.geomspace(1e-6, 1, length))
    return Remembered(cell, length, seed, 9, 3, 1.0, "epochs", accuracy, 0.5, gradient, gradient)


MEMORY = Memory(
    TASKS["skip"],
    tuple(
        remembered(cell, length, seed, accuracy)
        for cell, length, seed, accuracy in [
            ("rnn", 10, 1, 0.96),
            ("rnn", 10, 2, 0.99),
            ("rnn", 50, 1, 0.6),
            ("rnn", 50, 2, 0.95),
            ("gru", 10, 1, 1.0),
            ("gru", 10, 2, 1.0),
            ("gru", 50, 1, 0.96),
            ("gru", 50, 2, 0.97),
        ]
    ),
    {"epochs": 3},
)


def test_the_verdict_says_up_to_where_each_cell_remembers():
    assert MEMORY.verdict() == [
        "rnn solved up to 10 steps (50 steps: 1 of 2 networks).",
        "gru solved every length, up to 50 steps.",
    ]


def test_the_verdict_hides_no_longer_length_that_is_solved():
    """It fails at 10 steps, by luck perhaps, and solves what is harder."""
    networks = [
        remembered("gru", length, 1, share) for length, share in [(10, 0.9), (20, 0.96), (50, 1.0)]
    ]
    memory = replace(MEMORY, networks=tuple(networks))
    assert memory.verdict() == [
        "gru solved 20, 50 steps, not every shorter length (10 steps: 0 of 1 network)."
    ]


def test_means_and_spreads_are_over_seeds():
    document = json.loads(json.dumps(MEMORY.to_dict()))
    (found,) = (
        each for each in document["summary"] if (each["cell"], each["length"]) == ("rnn", 50)
    )
    assert found["accuracy"] == pytest.approx(0.775)
    assert found["accuracy_spread"] == pytest.approx(np.std([0.6, 0.95], ddof=1))
    assert (found["seeds"], found["solved"]) == (2, 1)
    assert found["reach_untrained"] == pytest.approx(1e-6)
    frame = MEMORY.to_frame()
    assert len(frame) == 8
    assert list(frame.columns[:4]) == ["task", "cell", "length", "seed"]
    assert frame["solved"].tolist() == [True, True, False, True, True, True, True, True]


@pytest.fixture
def asked(monkeypatch):
    """No network is trained: what each would have been given is kept."""
    given = []

    def found(task, sequences, config, seeds, on_run):
        given.append((task, config, seeds, on_run("x")))
        accuracy = 1.0 if config.network.cell == "gru" else 0.6
        for seed in range(config.training.seed, config.training.seed + seeds):
            yield remembered(config.network.cell, int(config.network.lookback), seed, accuracy)

    monkeypatch.setattr(remembering, "_networks", found)
    return given


def run(folder, *words):
    """Run the command in this process; return its code and what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = app.run(["compare", "--workspace", str(folder), *words])
    return code, out.getvalue()


def test_the_command_compares_cells_by_length(asked, tmp_path, capsys):
    files = [str(tmp_path / name) for name in ("o.csv", "o.svg")]
    words = ("--task", "skip", "--length", "8..20", "--cells", "rnn,gru", "--seeds", "2")
    code, text = run(tmp_path, *words, "--output", files[0], "--plot", files[1])
    assert code == 0
    assert "skip: three marked items vote" in text
    assert "the best constant is right 50% of the time" in text
    rows = [line.split()[:5] for line in text.splitlines()[2:8]]
    assert rows == [
        [length, cell, share, "±0.0", solved]
        for length in ("8", "10", "20")
        for cell, share, solved in (("rnn", "60.0%", "0"), ("gru", "100.0%", "2"))
    ]
    assert "gru solved every length, up to 20 steps." in text
    assert "rnn solved no length (8 steps: 0 of 2 networks)." in text
    assert len(pd.read_csv(files[0])) == 12
    assert "norm of d loss" in Path(files[1]).read_text()
    assert "12 networks to train" in capsys.readouterr().err
    assert {config.training.epochs for _, config, _, _ in asked} == {30}


def test_the_cost_is_told_beforehand():
    text = remembering.cost(TASKS["skip"], ("rnn", "gru"), (8, 9), 3, Config.of(time_budget="50s"))
    assert "12 networks to train" in text
    assert "30 epochs of 8,192 sequences, or for 50 s: 10 min in all at most" in text


def test_json_is_one_document_with_the_gradients(asked, tmp_path):
    code, text = run(tmp_path, "--task", "adding", "--length", "9", "--json", "--layers", "5,6")
    document = json.loads(text)
    assert code == 0
    assert document["task"] == "adding"
    assert document["settings"]["layers"] == [5, 6]
    assert [each["cell"] for each in document["summary"]] == ["rnn", "lstm", "gru"]
    assert {each["seed"] for each in document["networks"]} == {1, 2, 3}
    assert len(document["networks"][0]["gradient_trained"]) == 9
    assert [seeds for _, _, seeds, _ in asked] == [3, 3, 3]


def test_nothing_of_another_length_stays_in_memory(asked, tmp_path, monkeypatch):
    forgotten = []
    monkeypatch.setattr(remembering.compiling, "forget", lambda: forgotten.append(len(asked)))
    run(tmp_path, "--task", "skip", "--cells", "rnn,gru", "--length", "8,10")
    assert forgotten == [0, 2]  # before the first network of each length


def test_interrupted_it_keeps_the_lengths_that_all_were_trained_at(asked, tmp_path, monkeypatch):
    inner = remembering._networks

    def stopped(task, sequences, config, seeds, on_run):
        if (config.network.lookback, config.network.cell) == (10, "gru"):
            raise KeyboardInterrupt
        return inner(task, sequences, config, seeds, on_run)

    monkeypatch.setattr(remembering, "_networks", stopped)
    words = ("--task", "skip", "--cells", "rnn,gru", "--length")
    code, text = run(tmp_path, *words, "8,10")
    assert code == 130
    assert "Interrupted: this is what was done before." in text
    assert [line.split()[0] for line in text.splitlines()[2:4]] == ["8", "8"]
    assert run(tmp_path, *words, "10")[0] == 130


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--task", "sleep"], 2, "'checksum', 'skip', 'regime', 'adding'"),
        (["--task", "skip", "--length", "3"], 5, "A --length is a number of steps"),
        (["--task", "skip", "--lookback", "3"], 5, "--lookback says nothing of a --task"),
        (["--task", "skip", "--folds", "3"], 5, "--folds says nothing of a --task"),
        (["--task", "skip", "--cells", "gru,esn"], 5, "network.cell"),
        (["--task", "skip", "--cells", "rnn", "--gate-bias", "chrono"], 5, "every cell is rnn"),
        (["--task", "skip", "--length", ""], 5, "A --length is a number of steps"),
        (["--task", "skip", "--presets", "classic"], 2, "--task takes no"),
        (["--task", "skip", "--candidate", "cell=gru"], 2, "--task takes no"),
        (["--task", "skip", "one"], 2, "--task takes no"),
        (["--length", "30"], 2, "--length is that of the sequences of a --task"),
        (["--task", "skip", "--output", "-"], 2, "name a file"),
        (["--task", "skip", "--output", "o.xlsx"], 5, "An output is CSV"),
        (["--task", "skip", "--plot", "o.gif"], 5, "A plot is"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(asked, words, code, said, tmp_path, capsys):
    assert run(tmp_path, *words)[0] == code
    assert said in " ".join(capsys.readouterr().err.split())
    assert asked == []


@pytest.mark.slow(share=0)  # 40 s of one core, minutes of a busy one
def test_gates_remember_what_a_simple_cell_forgets():
    settings = {"layers": (32,), "epochs": 10, "time_budget": 3600.0}
    rnn, gru = trained("adding", ("rnn", "gru"), (60,), **settings)
    assert gru.accuracy > 0.85 > 0.75 > rnn.accuracy
    assert gru.error < 0.12 < 0.2 < rnn.error


def test_the_plot_has_a_curve_a_cell(tmp_path):
    path = tmp_path / "memory.svg"
    plot_memory(MEMORY, path)
    text = path.read_text()
    for words in ("rnn", "gru", "length (steps)", "norm of d loss / d input", "untrained"):
        assert f"<!-- {words}" in text or words in text
