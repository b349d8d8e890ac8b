"""What a training run sets up and judges, without a device and with models that answer at once."""

import json
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest

from src import runtime
from src.description import Description
from src.distill.teacher import SAMPLE_ROWS
from src.errors import UserError
from src.kinds import CLASSIFICATION
from src.model import Model
from src.run_folder import RunFolder
from src.settings.shared import BatchesConfig
from src.settings.stage import EvalConfig, PhaseConfig
from src.settings.training import FoldersConfig, RunConfig, TrainingConfig
from src.train.session import Session, TrainingRun
from tests.helpers import labelled, make_examples, refuses, task_data, tiny_config, write_info, write_split


@pytest.fixture
def no_device(monkeypatch):
    monkeypatch.setattr(runtime, "set_up", lambda *_: "CPU")


class Oracle:
    """A network that reads the label off the second token: odd ids are class 1."""

    def __call__(self, ids, mask, segments):
        return np.eye(2, dtype=np.float32)[ids[:, 1] % 2]

    def parameters_and_names(self):
        return [("weight", ms.Parameter(np.zeros(7, np.float32)))]


class Constant(Oracle):
    """One that always says class 1."""

    def __call__(self, ids, mask, segments):
        return np.float32([[0.0, 1.0]] * len(ids))


def model(network):
    return Model(Description(tiny_config(), CLASSIFICATION, 2), network)


def sorted_rows(count, ones):
    """Rows whose class the `Oracle` knows: first all of class 0, then all of class 1."""
    examples = make_examples(count, 6)
    labels = np.arange(count) >= count - ones
    examples.input_ids[examples.offsets[:-1] + 1] = 10 + labels
    return replace(examples, columns=labelled(CLASSIFICATION, labels))


def session_with(data, tmp_path, metric_names=("accuracy",)):
    config = RunConfig(task_name="SST-2", compile_cache="off")
    return Session(
        config,
        config,
        "seed: 1\n",
        "CPU",
        runtime.ALONE,
        RunFolder(str(tmp_path / "run")),
        0.0,
        evaluation=EvalConfig(batch_size=500),
        data=data,
        metric_names=metric_names,
    )


# --- the teacher --------------------------------------------------------------------------------------------


def test_without_evaluation_rows_training_rows_drawn_at_random_judge_a_teacher(tmp_path, capsys):
    """The first rows of sorted data are of one class: a constant would be as good as any teacher on them."""
    data = task_data(train=sorted_rows(2 * SAMPLE_ROWS, SAMPLE_ROWS))
    session = session_with(data, tmp_path)
    results = session.check_teacher(model(Oracle()), "load_teacher_ckpt_path", "teacher/", 2.0)
    assert results["accuracy"] == 1.0 and results["rows"] == SAMPLE_ROWS and results["parameters"] == 7
    said = capsys.readouterr().out
    guess = float(said.split("constant answer: ")[1].split(")")[0])
    assert "teacher: Accuracy 100.00" in said and 45 < guess < 55  # of 2,000 in 4,000 rows of two classes
    again = session.check_teacher(model(Oracle()), "load_teacher_ckpt_path", "teacher/", 2.0)
    assert capsys.readouterr().out == said and again["rows"] == SAMPLE_ROWS  # the seed draws them
    with pytest.raises(UserError) as error:
        session.check_teacher(model(Constant()), "load_teacher_ckpt_path", "teacher/", 2.0)
    refuses(error, "load_teacher_ckpt_path: the teacher reaches Accuracy", "teacher/", "--min_teacher_gain 0")


def test_a_teachers_scores_depend_on_how_rows_are_put_together_and_on_no_folder(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("src.train.session.known_scores", lambda *given: asked.append(given[3]) or given[4]())
    for name, changes in (("a", {}), ("b", {"output_dir": "b", "log_step": 7}), ("c", {"max_tokens": 64})):
        session = session_with(task_data(eval=sorted_rows(20, 15)), tmp_path / name)
        config = replace(session.config, **changes)
        session = replace(session, config=config, rows=config)
        session.check_teacher(model(Oracle()), "teacher_model_dir", "teacher/", 0.0)
    assert repr(asked[0]) == repr(asked[1]) != repr(asked[2])


def test_few_training_rows_are_all_taken(tmp_path):
    session = session_with(task_data(train=sorted_rows(30, 10)), tmp_path)
    assert session.check_teacher(model(Oracle()), "teacher_model_dir", "teacher/", 2.0)["rows"] == 30


def test_evaluation_rows_judge_a_teacher_where_there_are_any(tmp_path, capsys):
    data = task_data(train=sorted_rows(40, 20), eval=sorted_rows(20, 15), eval_mm=sorted_rows(8, 2))
    session = session_with(data, tmp_path)
    with pytest.raises(UserError) as error:
        session.check_teacher(model(Constant()), "teacher_model_dir", "teacher/", 2.0)
    refuses(error, "teacher_model_dir: the teacher reaches Accuracy 75.00", "answer reaches 75.00")
    results = session.check_teacher(model(Constant()), "teacher_model_dir", "teacher/", 0.0)
    assert results["rows"] == 20 and results["accuracy"] == 0.75 and results["accuracy/eval_mm"] == 0.25
    assert session.evaluate(model(Oracle()))["accuracy/eval_mm"] == 1.0


def test_a_teachers_answers_stand_beside_the_training_rows(tmp_path):
    session = session_with(task_data(train=sorted_rows(10, 4)), tmp_path)
    session.start(["x"])
    rows = session.rows_with_logits(model(Oracle()), "phase2", "x")
    batches = session.train_batches(PhaseConfig(batch_size=5), True, rows)
    assert batches.columns[-2:] == ("label_ids", "teacher_logits") and len(batches) == 2
    for step in batches:  # in whatever order they come
        for batch in step:
            labels, logits = (column[: len(batch.rows)] for column in batch.columns)
            np.testing.assert_array_equal(logits, np.eye(2, dtype=np.float32)[labels])
    assert len(session.data.train.columns) == 1
    session.finished.has = lambda *stage: stage == ("phase2", "x")
    assert session.rows_with_logits(None, "phase2", "x") is None  # nobody is asked


# --- what a run is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps, expected", [(100, 60), (25, 25), (-1, 60)])
def test_the_data_sink_takes_batches_of_one_shape(monkeypatch, tmp_path, capsys, steps, expected):
    config = TrainingConfig(enable_data_sink=True, data_sink_steps=steps, output_dir=str(tmp_path / "run"))
    rows, sixty = BatchesConfig(), range(60)
    monkeypatch.setattr(runtime, "set_up", lambda *_: "Ascend")
    run = TrainingRun.begin("gd", config, rows, "seed: 42\n")
    assert run.rows == replace(rows, enable_buckets=False)
    assert run.plan(sixty, PhaseConfig(), 1).sink_steps == expected
    out = capsys.readouterr().out
    assert "enable_buckets: the data sink needs batches of one shape" in out and "seed" not in out
    packed = replace(rows, padding="none")  # of one shape anyway
    assert TrainingRun.begin("gd", config, packed, "").rows == packed
    assert "enable_buckets" not in capsys.readouterr().out
    monkeypatch.setattr(runtime, "set_up", lambda *_: "CPU")
    run = TrainingRun.begin("gd", config, rows, "")
    assert run.rows == rows and run.plan(sixty, PhaseConfig(), 1).sink_steps == 0
    assert "enable_data_sink: not available on CPU, ignored" in capsys.readouterr().out


def test_a_session_reads_its_data_and_chooses_their_metrics(no_device, tmp_path, capsys):
    write_split(tmp_path, "train", make_examples(6, 10))
    write_split(tmp_path, "eval", make_examples(5, 10))
    write_info(tmp_path)
    folders = FoldersConfig(str(tmp_path), str(tmp_path), EvalConfig(batch_size=2))
    session = Session.open("td", RunConfig(task_name="sst2", assessment_method="mf1"), folders, "")
    assert (len(session.data.train), len(session.data.evals["eval"])) == (6, 5)
    assert session.metric_names == ("macro_f1", "accuracy") and session.run.path == "output/td-sst-2"
    assert "task SST-2 on CPU: train 6 rows, eval 5 rows" in capsys.readouterr().out
    assert session.compute_type("auto") == ms.float32
    batches = session.train_batches(PhaseConfig(batch_size=4), True)
    assert len(batches) == 2 and batches.columns[-1] == "label_ids" and batches.shuffle
    only = Session.open("td", RunConfig(task_name="sst2", do_train=False), folders, "")
    assert only.data.train is None and len(only.data.evals["eval"]) == 5
    alone = Session.open("td", RunConfig(task_name="sst2", do_eval=False), folders, "")
    assert len(alone.data.evals["eval"]) == 5 and alone.evaluation_of(model(Oracle()), "x") is None


@pytest.mark.parametrize(
    "config, folders, word",
    [
        (RunConfig(), FoldersConfig("a", "b"), "task_name"),
        (RunConfig(task_name="RTE"), FoldersConfig("", "b"), "train_data_dir"),
        (RunConfig(task_name="RTE"), FoldersConfig("a", ""), "eval_data_dir"),
        (RunConfig(task_name="glue"), FoldersConfig("a", "b"), "unknown task 'glue'"),
    ],
)
def test_what_a_session_needs_is_named(no_device, config, folders, word):
    with pytest.raises(UserError) as error:
        Session.open("td", config, folders, "")
    refuses(error, word)


@pytest.mark.parametrize("rank, acts", [(0, True), (1, False)])
def test_of_a_finished_job_the_first_process_makes_up_for_what_is_left(tmp_path, monkeypatch, rank, acts):
    """And a run that is resumed by its own config.yaml, which has more filled in, is the same run."""
    group, filled, done = runtime.Group(rank, 2), "seed: 1\nvocab_size: 9\n", []
    monkeypatch.setattr("src.train.resume.same_everywhere", lambda *_: True)
    monkeypatch.setattr("src.train.session.write_report", done.append)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text('{"made_from": {"seed": 1, "vocab_size": 9}}')
    for resolved in ("seed: 1\nvocab_size: null\n", filled):
        session = session_with(task_data(eval=sorted_rows(20, 15)), tmp_path)
        run = RunFolder(str(tmp_path / "run"), group.first, resume=True)
        config = replace(session.config, resume=True)
        session = replace(session, config=config, resolved=resolved, group=group, run=run)
        assert not session.start(["x"], resolved=filled, if_finished=lambda: done.append(1))
        assert session.made_from() == {"seed": 1, "vocab_size": 9}
    assert len(done) == (4 if acts else 0)


def test_a_run_closes_with_its_results_and_says_where_they_are(no_device, tmp_path, capsys):
    data = task_data(eval=sorted_rows(20, 15))
    session = session_with(data, tmp_path)
    assert session.start(["x"])
    session.finish({"student": session.evaluate(model(Oracle())), "none": None}, "done: next")
    out = capsys.readouterr().out
    assert out.endswith("done: next\n") and "results.json, report.html and metrics.jsonl are in" in out
    assert "| student |" in out and "100.00" in out and "none" not in out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["task"] == "SST-2" and results["device"] == "CPU" and results["peak_memory_mib"] > 0
    assert list(results["models"]) == ["student"] and results["models"]["student"]["accuracy"] == 1.0
    failed = replace(session, fault="phase2: nothing learnt")
    with pytest.raises(UserError) as error:
        failed.finish({"student": None}, "done: next")
    refuses(error, "phase2: nothing learnt; its weights and results are saved")
    assert "done" not in capsys.readouterr().out  # and `--resume` does not call it finished
    assert "made_from" in results and "made_from" not in (tmp_path / "run" / "results.json").read_text()
    other = replace(session, group=runtime.Group(1, 2))
    other.finish({"student": None}, "done: next")
    assert capsys.readouterr().out == ""  # the first process says it
