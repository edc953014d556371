"""`forecast tune`: what a study does, with trials that take no time."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tuning_made
from series_made import QUICK, frame_of
from test_leakage import poisoned

from forecaster import training
from forecaster.cli import app
from forecaster.cli.studies import tune_text
from forecaster.errors import (
    ForecasterError,
    InvalidInputError,
    QualityGateError,
    TemporaryError,
)
from forecaster.store import Store
from forecaster.tuning import studies
from forecaster.tuning.job import TuneResult, Wanted, tune
from forecaster.workspace import Workspace, load_config

FLAGS = {key: value for key, value in QUICK.items() if key not in ("layers", "lookback", "segment")}
FLAGS |= {"lookback": 16, "segment": 4, "layers": "8"}
SEARCH = ("dropout=0..0.5", "learning_rate")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return made(tmp_path)


def made(folder: Path, frame: pd.DataFrame | None = None) -> Workspace:
    workspace = Workspace(folder)
    workspace.create()
    Store(workspace.data).put(frame_of("a", "b") if frame is None else frame, {"kind": "test"})
    return workspace


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "fit", tuning_made.fit)


def tuned(workspace: Workspace, flags: dict[str, Any] | None = None, **wanted: Any) -> TuneResult:
    options = {"search": SEARCH, "trials": 3, **wanted}
    return tune(workspace, (), Wanted(**options), FLAGS | (flags or {}))


def url(workspace: Workspace) -> str:
    return f"sqlite:///{workspace.folder}/study.db"


@pytest.mark.usefixtures("quick")
class TestWithoutNetworks:
    def test_the_default_comes_first_and_the_best_is_never_worse(self, workspace):
        found = tuned(workspace, trials=8).tuned
        first, *others = found.trials
        assert first.default and first.state == "complete"
        assert first.settings == {"dropout": 0.1, "learning_rate": 0.001}
        assert not any(trial.default for trial in others)
        assert found.best.score == min(t.score for t in found.trials if t.score is not None)
        assert found.best.score <= first.score
        assert all(0 <= trial.settings["dropout"] <= 0.5 for trial in others)
        assert all(1e-4 <= trial.settings["learning_rate"] <= 1e-2 for trial in others)

    def test_one_seed_gives_one_study_and_another_seed_another(self, workspace):
        one, two, other = (tuned(workspace, {"seed": seed}).tuned for seed in (1, 1, 2))
        assert [t.settings for t in one.trials] == [t.settings for t in two.trials]
        assert [t.settings for t in one.trials] != [t.settings for t in other.trials]

    def test_hopeless_trials_are_pruned_but_not_the_default(self, workspace):
        flags = {"dropout": None}
        (workspace.config_file).write_text("[network]\ndropout = 0.9\n")  # far from the best
        found = tuned(workspace, flags, trials=30).tuned
        assert found.default.number == 0 and found.default.settings["dropout"] == 0.9
        pruned = [trial for trial in found.trials if trial.state == "pruned"]
        assert pruned
        assert all(len(trial.folds) < found.folds and trial.score is None for trial in pruned)
        assert pruned[0].reason == "Worse than most after 1 of the folds."

    def test_a_study_resumes_to_its_number_of_trials(self, workspace):
        first = tuned(workspace, trials=2, storage=url(workspace)).tuned
        second = tuned(workspace, trials=4, storage=url(workspace)).tuned
        assert [t.settings for t in second.trials[:2]] == [t.settings for t in first.trials]
        assert len(second.trials) == 4
        assert len({json.dumps(t.settings) for t in second.trials}) == 4
        again = tuned(workspace, trials=4, storage=url(workspace)).tuned
        assert len(again.trials) == 4
        assert (
            len(tuned(workspace, storage=url(workspace), study="other", trials=1).tuned.trials) == 1
        )

    def test_a_study_resumes_after_its_best_was_written(self, workspace):
        result = tuned(workspace, trials=6, storage=url(workspace), write=True)
        assert result.settings["dropout"] != 0.1
        lines = workspace.config_file.read_text().splitlines()
        assert {"layers = [8]", "horizon = 4", f"dropout = {result.settings['dropout']}"} <= set(
            lines
        )
        assert (
            "# Recurrent cell: rnn, lstm or gru; or one for each layer from the first, such as rnn-lstm."
            in lines
        )
        assert not any(line.startswith("seed") for line in lines)
        again = tuned(workspace, trials=7, storage=url(workspace)).tuned
        assert len(again.trials) == 7
        assert again.default.settings == {"dropout": 0.1, "learning_rate": 0.001}

    def test_another_study_of_the_name_is_refused(self, workspace):
        changes: dict[str, dict[str, Any]] = {
            "horizon is 4 there and 8 here": {"flags": {"horizon": 8}},
            "normalise is not set there and last here": {"flags": {"normalise": "last"}},
            "space 'dropout': 0..0.5 there and 0..0.4 here": {"search": ("dropout=0..0.4",)},
            "space 'learning_rate': 0.0001..0.01 there and not": {"search": ("dropout=0..0.5",)},
            "it has 3 inner folds, and 1 are asked for here": {"inner_folds": 1},
        }
        tuned(workspace, trials=1, storage=url(workspace))
        for said, change in changes.items():
            with pytest.raises(InvalidInputError, match="is another one") as refused:
                tuned(workspace, change.pop("flags", None), storage=url(workspace), **change)
            assert said in refused.value.message
            assert "--study" in refused.value.hint
        Store(workspace.data).drop(["a", "b"])
        Store(workspace.data).put(frame_of("a", "b", rows=150), {"kind": "test"})
        with pytest.raises(InvalidInputError, match="data 'last': 2024-05-31 00:00:00 there"):
            tuned(workspace, storage=url(workspace))

    def test_rows_held_out_may_change_but_not_those_before(self, workspace):
        tuned(workspace, trials=1, storage=url(workspace))
        Store(workspace.data).drop(["a", "b"])
        Store(workspace.data).put(poisoned(frame_of("a", "b"), 152, ["y"]), {"kind": "test"})
        assert len(tuned(workspace, trials=2, storage=url(workspace)).tuned.trials) == 2

    def test_no_trial_and_no_choice_of_auto_is_given_a_test_row(self, workspace, monkeypatch):
        last = []

        def fit(panel, config, parts, **options):
            last.append(panel.ds.max())
            return tuning_made.fit(panel, config, parts, **options)

        monkeypatch.setattr(training, "fit", fit)
        found = tuned(workspace, {"preset": "auto"}, trials=2).tuned
        assert found.start["skip"] == "linear"
        days = frame_of("a")["ds"]
        assert max(last) == days.iloc[-1 - 2 * QUICK["horizon"]]  # two test folds come after
        assert len(last) > 2 * found.folds  # auto has tried some networks too

    @pytest.mark.parametrize("holiday", [False, True])
    def test_auto_chooses_nothing_that_the_rows_held_out_do_not_allow(
        self, holiday, tmp_path, monkeypatch
    ):
        def fit(panel, config, parts, **options):
            found = tuning_made.fit(panel, config, parts, **options)
            found.error /= 1 + config.scaling.deseasonalise
            return found

        monkeypatch.setattr(training, "fit", fit)
        frame = frame_of("a", frequency="B")
        workspace = made(tmp_path, frame.drop(index=157) if holiday else frame)
        found = tuned(workspace, {"preset": "auto"}, trials=1).tuned
        assert found.start.get("deseasonalise", False) is not holiday

    def test_what_fails_is_recorded_with_its_reason(self, workspace, monkeypatch):
        class ResourceExhaustedError(Exception):
            """As TensorFlow's."""

        ends = {
            2: ForecasterError("Training diverged.", "Lower it."),
            3: MemoryError(),
            4: ResourceExhaustedError("OOM when allocating"),
        }
        calls = []

        def fit(panel, config, parts, **options):
            calls.append(config.network.dropout)
            number = len(dict.fromkeys(calls)) - 1
            if number in ends:
                raise ends[number]
            return tuning_made.fit(panel, config, parts, **options)

        monkeypatch.setattr(training, "fit", fit)
        result = tuned(workspace, trials=6, search=("dropout=0..0.5",))
        states = [trial.state for trial in result.tuned.trials]
        assert states == ["complete", "complete", "failed", "failed", "failed", "complete"]
        reasons = [trial.reason for trial in result.tuned.trials[2:5]]
        assert reasons == ["Training diverged.", "Out of memory.", "Out of memory."]
        assert "\nTrial 2 failed: Training diverged.\n" in tune_text(result)

    def test_a_mistake_of_the_program_is_not_hidden_as_a_failed_trial(self, workspace, monkeypatch):
        def fit(*_, **__):
            raise ZeroDivisionError

        monkeypatch.setattr(training, "fit", fit)
        with pytest.raises(ZeroDivisionError):
            tuned(workspace)

    def test_a_bad_combination_is_a_failed_trial(self, workspace):
        flags = {"segment": None}
        found = tuned(workspace, flags, trials=12, search=("segment=3,4",)).tuned
        failed = [trial for trial in found.trials if trial.state == "failed"]
        assert failed
        assert failed[0].reason == "segment 3 does not divide lookback 16."
        assert failed[0].settings["segment"] == 3

    def test_nothing_but_failures_is_an_error_that_says_why(self, workspace, monkeypatch):
        def fit(*_, **__):
            raise ForecasterError("Training diverged.")

        monkeypatch.setattr(training, "fit", fit)
        with pytest.raises(ForecasterError, match=r"No trial was completed.*Training diverged\."):
            tuned(workspace, trials=2)

    def test_an_interrupt_reports_what_was_found_and_changes_nothing(self, workspace, monkeypatch):
        calls = []

        def fit(panel, config, parts, **options):
            calls.append(1)
            if len(calls) > 7:
                raise KeyboardInterrupt
            return tuning_made.fit(panel, config, parts, **options)

        monkeypatch.setattr(training, "fit", fit)
        before = workspace.config_file.read_bytes()
        result = tuned(workspace, trials=9, write=True, train="x", storage=url(workspace))
        assert result.exit_code == 130
        assert [trial.state for trial in result.tuned.trials] == ["complete", "complete", "failed"]
        assert result.tuned.trials[-1].reason == "The process that ran it ended."
        assert "Ended by Ctrl-C." in tune_text(result)
        assert workspace.config_file.read_bytes() == before
        assert result.trained is None and result.written is None
        assert not workspace.models.exists() or not list(workspace.models.iterdir())
        monkeypatch.setattr(training, "fit", tuning_made.fit)
        interrupted, again = tuned(workspace, trials=4, storage=url(workspace)).tuned.trials[2:]
        assert (interrupted.settings, interrupted.state) == (again.settings, "failed")
        assert again.state in {"complete", "pruned"}

    def test_the_timeout_ends_a_trial_in_its_midst(self, workspace, monkeypatch):
        def fit(panel, config, parts, on_epoch, **options):
            if config.network.dropout != (0.1,):
                time.sleep(0.3)
            return tuning_made.fit(panel, config, parts, on_epoch)

        monkeypatch.setattr(training, "fit", fit)
        result = tuned(workspace, trials=50, timeout=1.0)
        assert result.tuned.out_of_time
        assert len(result.tuned.trials) < 10
        assert result.tuned.trials[-1].reason in ("The time was up.", "")
        assert "The time was up." in tune_text(result)

    def test_fold_by_fold_scores_and_everything_else_are_in_the_table(self, workspace):
        output = workspace.folder / "trials.csv"
        result = tuned(workspace, trials=4, output=output)
        table = pd.read_csv(output)
        assert list(table.columns) == [
            *("trial", "state", "default", "mase", "mase_1", "mase_2", "mase_3", "seconds"),
            *("dropout", "learning_rate", "reason"),
        ]
        np.testing.assert_allclose(
            table["mase"], table[["mase_1", "mase_2", "mase_3"]].mean(axis=1), rtol=1e-6
        )
        assert list(table["default"]) == [True, False, False, False]
        assert len(result.to_dict()["trials"]) == 4

    def test_importances_need_trials_and_name_what_matters(self, workspace):
        few, many = (tuned(workspace, trials=trials, inner_folds=1) for trials in (9, 20))
        assert few.tuned.importances is None
        assert "What mattered cannot be told" in tune_text(few)
        assert many.tuned.importances["dropout"] > 0.8
        assert "What mattered (fANOVA): dropout" in tune_text(many)
        assert many.tuned.folds == 1

    @pytest.mark.parametrize("trials", [3, 12])
    def test_the_plot_shows_the_history(self, workspace, trials):
        plot = workspace.folder / "study.svg"
        tuned(workspace, trials=trials, plot=plot, inner_folds=1)
        text = plot.read_text()
        assert "best so far" in text and "default" in text
        assert ("fANOVA" in text) == (trials == 12)

    def test_the_best_is_trained_by_the_job_that_trains(self, workspace, monkeypatch):
        from forecaster import jobs

        asked = {}

        def train(workspace, ids, name, flags, on_epoch):
            asked.update(flags, name=name)

        monkeypatch.setattr(jobs, "train", train)
        result = tuned(workspace, trials=6, train="air")
        best = result.tuned.best.settings
        assert asked["name"] == "air"
        assert asked.items() >= best.items()
        assert asked["horizon"] == 4

    def test_what_cannot_be_trained_does_not_take_the_report_away(self, workspace, monkeypatch):
        from forecaster import jobs

        def train(*_):
            raise QualityGateError("--require-skill: nothing is published.")

        monkeypatch.setattr(jobs, "train", train)
        result = tuned(workspace, train="air", write=True)
        assert result.exit_code == 6
        assert result.written and result.trained is None
        assert "Error: --require-skill: nothing is published." in tune_text(result)
        assert result.to_dict()["failure"]["code"] == 6

    @pytest.mark.parametrize("write", [True, False])
    def test_a_context_of_before_does_not_outlast_a_shorter_lookback(
        self, workspace, monkeypatch, write
    ):
        """`min_context` follows from the lookback that is found, in the file and in training."""
        from forecaster import jobs
        from forecaster.settings_file import write_settings

        seen = {}
        monkeypatch.setattr(jobs, "train", lambda *words: seen.update(words[3]))
        write_settings(workspace.config_file, {"lookback": 16, "min_context": 16})

        def fit(panel, config, parts, **options):  # the shorter, the better
            made = tuning_made.fit(panel, config, parts, **options)
            made.error = config.network.lookback
            return made

        monkeypatch.setattr(training, "fit", fit)
        flags = {key: value for key, value in FLAGS.items() if key != "lookback"}
        wanted = Wanted(search=("lookback=8,16",), trials=4, write=write, train="air")
        result = tune(workspace, (), wanted, flags)
        assert result.failure is None
        assert result.settings["lookback"] == 8
        assert "min_context" not in result.settings
        assert (seen["lookback"], seen["min_context"]) == (8, 8)
        if write:
            asked, _ = load_config(workspace, {})
            assert (asked.network.lookback, asked.network.min_context) == (8, None)

    def test_a_setting_that_the_best_leaves_open_is_not_written(self, workspace, monkeypatch):
        """Heads without attention: TOML has no null."""

        def fit(panel, config, parts, **options):
            made = tuning_made.fit(panel, config, parts, **options)
            made.error = 1.0 if config.network.attention == "none" else 2.0
            return made

        monkeypatch.setattr(training, "fit", fit)
        search = ("attention=none,states", "heads=1,2")
        result = tuned(workspace, search=search, trials=2, write=True)
        assert (result.settings["attention"], result.settings["heads"]) == ("none", None)
        asked, _ = load_config(workspace, {})
        assert (asked.network.attention, asked.network.heads) == ("none", None)
        assert "heads" not in tune_text(result).split("Written into")[1]

    def test_a_variable_of_the_environment_fixes_a_setting(self, workspace, monkeypatch):
        monkeypatch.setenv("FORECAST_DROPOUT", "0.2")
        found = tuned(workspace, search=(), trials=1).tuned
        assert found.space.keys() == {"cell", "learning_rate", "loss"}  # FLAGS fix the others

    def test_a_busy_database_is_waited_for(self, workspace, monkeypatch):
        tuned(workspace, trials=1, storage=url(workspace))
        busy = sqlite3.connect(workspace.folder / "study.db", check_same_thread=False)
        busy.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.5, busy.rollback).start()
        assert len(tuned(workspace, trials=2, storage=url(workspace)).tuned.trials) == 2
        monkeypatch.setattr(studies, "LOCKED", 0.2)
        busy.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TemporaryError, match=r"was busy for 0\.2 s"):
            tuned(workspace, trials=3, storage=url(workspace))
        busy.close()

    @pytest.mark.parametrize(
        ("storage", "said"),
        [
            ("study.db", "--storage needs sqlite:///FILE"),
            ("postgresql://host/db", "--storage needs sqlite:///FILE"),
            ("sqlite:///nowhere/study.db", "The folder 'nowhere' of --storage does not exist"),
        ],
    )
    def test_a_storage_that_is_none_is_refused(self, workspace, storage, said):
        with pytest.raises(InvalidInputError) as refused:
            tuned(workspace, storage=storage)
        assert said in refused.value.message

    def test_a_file_that_is_no_study_is_refused_and_left_alone(self, workspace):
        other = workspace.folder / "study.db"
        other.write_text("These are my notes, not a database, and they are dear to me." * 20)
        before = other.read_bytes()
        with pytest.raises(ForecasterError, match="cannot be used: file is not a database"):
            tuned(workspace, storage=url(workspace))
        assert other.read_bytes() == before

    def test_a_study_of_another_program_is_refused(self, workspace):
        import optuna

        study = optuna.create_study(storage=url(workspace), study_name="study")
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
        with pytest.raises(InvalidInputError, match="was not begun by `forecast tune`"):
            tuned(workspace, storage=url(workspace))

    def test_too_few_rows_are_said_with_what_is_needed(self, tmp_path):
        short = made(tmp_path, frame_of("a", rows=46))
        with pytest.raises(InvalidInputError, match="Tuning needs 40 rows before the test") as said:
            tuned(short)
        assert "but most series have 38" in said.value.message


def run(workspace: Workspace, *words: str) -> subprocess.Popen[str]:
    flags = ("horizon=4", "season-length=8", "lookback=16", "segment=4", "preset=segment")
    return subprocess.Popen(
        [
            *(sys.executable, tuning_made.__file__, "tune", "--json"),
            *("--workspace", str(workspace.folder), "--storage", url(workspace)),
            *(f"--{flag}" for flag in flags),
            *("--search", "dropout=0..0.5", *words),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.slow  # two processes
def test_two_processes_share_a_study(workspace):
    both = [run(workspace, "--trials", "8") for _ in range(2)]
    documents = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    trials = max((document["trials"] for document in documents), key=len)
    assert 8 <= len(trials) <= 9  # both may begin the last one
    assert [trial["default"] for trial in trials] == [True] + [False] * (len(trials) - 1)
    drawn = [trial["settings"]["dropout"] for trial in trials]
    assert len(set(drawn)) == len(drawn)  # they do not draw the same numbers


@pytest.mark.slow  # a process, and time until it counts as dead
def test_a_killed_process_leaves_a_failed_trial_and_a_study_that_goes_on(workspace, monkeypatch):
    killed = run(workspace, "--trials", "100")
    file = workspace.folder / "study.db"
    begun = time.monotonic()
    while time.monotonic() < begun + 60 and not _in_the_midst(file):
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    time.sleep(2.1)  # the database knows whole seconds
    monkeypatch.setattr(studies, "GRACE", 1)
    monkeypatch.setattr(training, "fit", tuning_made.fit)
    flags = {"horizon": 4, "season_length": 8, "lookback": 16, "segment": 4, "preset": "segment"}
    wanted = Wanted(search=("dropout=0..0.5",), storage=url(workspace), trials=6)
    found = tune(workspace, (), wanted, flags).tuned
    lost = [trial for trial in found.trials if trial.state == "failed"]
    assert [trial.reason for trial in lost] == ["The process that ran it ended."]
    again = [t for t in found.trials if t.settings == lost[0].settings and t is not lost[0]]
    assert [trial.state for trial in again] == ["complete"]
    assert len(found.trials) == 6


def test_a_trial_whose_process_died_before_its_first_sign_of_life_is_failed(workspace, monkeypatch):
    import optuna

    monkeypatch.setattr(studies, "GRACE", 1)
    monkeypatch.setattr(training, "fit", tuning_made.fit)
    tuned(workspace, trials=2, storage=url(workspace))
    optuna.load_study(study_name="study", storage=url(workspace)).ask()
    time.sleep(1.1)
    found = tuned(workspace, trials=5, storage=url(workspace)).tuned
    states = [trial.state for trial in found.trials]
    assert states == ["complete", "complete", "failed", "complete", "complete"]
    assert found.trials[2].reason == "The process that ran it ended."


def _in_the_midst(file: Path) -> bool:
    """Tell whether a trial besides the default has its first fold behind it, and another to come."""
    if not file.exists():
        return False
    asked = (
        "SELECT COUNT(*) FROM trials JOIN trial_user_attributes USING (trial_id) "
        "WHERE state = 'RUNNING' AND key = 'folds' AND number > 0"
    )
    with sqlite3.connect(file) as database:
        try:
            return bool(database.execute(asked).fetchone()[0])
        except sqlite3.OperationalError:  # the tables are being made
            return False


def test_real_networks_are_scored_alike_whatever_the_test_rows_are(tmp_path):
    """The test folds are poisoned, and the study's scores are what they were, to the last digit."""
    found = []
    for folder, frame in (
        ("clean", frame_of("a", "b")),
        ("dirty", poisoned(frame_of("a", "b"), 152, ["y"])),
    ):
        (tmp_path / folder).mkdir()
        workspace = made(tmp_path / folder, frame)
        flags = {"deterministic": True, "epochs": 1, "device": "cpu"}
        found.append(tuned(workspace, flags, trials=1, inner_folds=1).tuned)
    clean, dirty = (study.trials[0] for study in found)
    assert clean.losses == dirty.losses
    assert clean.score == dirty.score


class TestCommand:
    def test_every_option_arrives(self, workspace, monkeypatch, capsys):
        from forecaster.tuning import job

        seen: dict[str, Any] = {}

        def stop(workspace, ids, wanted, flags, on_progress, on_notice):
            given = {key: value for key, value in flags.items() if value is not None}
            seen.update(vars(wanted), ids=ids, flags=given)
            raise InvalidInputError("enough")

        monkeypatch.setattr(job, "tune", stop)
        words = (
            "tune a --search cell --search dropout=0..0.2 --trials 7 --timeout 2m --inner-folds 2 "
            "--storage sqlite:///x.db --study s --output o.csv --plot p.png --write --train "
            "--name n --horizon 4 --seed 3 --folds 2 --min 0 --frequency D --scaler none"
        )
        assert app.run([*words.split(), "--workspace", str(workspace.folder)]) == 5
        assert seen == {
            "ids": ("a",),
            "search": ("cell", "dropout=0..0.2"),
            "trials": 7,
            "timeout": 120.0,
            "inner_folds": 2,
            "storage": "sqlite:///x.db",
            "study": "s",
            "output": Path("o.csv"),
            "plot": Path("p.png"),
            "write": True,
            "train": "n",
            "flags": {
                "horizon": 4, "seed": 3, "folds": 2, "min": 0.0, "frequency": "D", "scaler": "none"
            },
        }  # fmt: skip
        capsys.readouterr()

    @pytest.mark.parametrize("words", ["--study s", "--name n", "--output -", "--require-skill"])
    def test_an_option_without_its_companion_is_a_mistake(self, words, capsys):
        assert app.run(["tune", *words.split()]) == 2
        capsys.readouterr()

    @pytest.mark.usefixtures("quick")
    def test_the_report_names_trials_folds_and_caution(self, workspace, capsys):
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in FLAGS.items()]
        words = ["tune", "--workspace", str(workspace.folder), *flags, "--search", "dropout=0..0.5"]
        assert app.run([*words, "--trials", "9", "--write"]) == 0
        text, told = capsys.readouterr()
        assert [line for line in told.splitlines() if line.startswith("Trial ")] == [
            f"Trial {number} ..." for number in range(9)
        ]
        assert text.startswith("Study 'study': 9 trials (")
        assert "MASE on 3 inner folds before the test rows:" in text
        assert "0 (default)" in text
        assert "less error than the default on the inner folds" in text
        assert "picked by this score, which is therefore optimistic" in text
        assert "The honest figure is the one on the test folds" in text
        assert f"Written into {workspace.config_file}: " in text
        assert app.run([*words, "--trials", "2", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["counts"]["complete"] == 2
        assert document["space"] == {"dropout": "0..0.5"}
