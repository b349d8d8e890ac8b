"""run_general_distill.py end to end on a tiny corpus: the student it leaves, resuming, the way into task
distillation, refusals.
"""

import errno
import json
import os
import shutil
import sys

import numpy as np
import pytest
import yaml

import run_general_distill
import run_task_distill
from src.checkpoint import folder as checkpoints
from src.data.dataset import Batches
from src.report.run import Run
from src.train.callbacks import TrainingState
from src.train.stage import Stage
from tests.commands import refused_by, says
from tests.helpers import (
    VOCABULARY,
    make_examples,
    run_script,
    save_network,
    teachable,
    tiny_network,
    write_info,
    write_split,
)
from tests.numpy_bert import NumpyBert

STUDENT = [
    "--gd_student_net_cfg.num_hidden_layers",
    "1",
    "--gd_student_net_cfg.hidden_size",
    "12",
    "--bucket_boundaries",
    "[16]",
    "--gd_cfg.batch_size",
    "8",
    "--log_step",
    "1",
    "--gd_cfg.optimizer_cfg.AdamWeightDecay.learning_rate",
    "1e-3",
]

TWO_EPOCHS = ["--epoch_size", "2", "--save_ckpt_step", "4", *STUDENT]  # of five steps each


def run(capsys, *arguments):
    return run_script(run_general_distill, capsys, *arguments)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """(folder of the records, folder of the teacher)."""
    folder = tmp_path_factory.mktemp("gd")
    for index in range(2):
        write_split(folder / "data", f"train-{index:05d}", make_examples(20, 12, seed=index))
    write_info(folder / "data", task="gd", labels=())
    return str(folder / "data"), save_network(folder / "teacher", tiny_network(3, labels=2))


@pytest.fixture(scope="module")
def distilled(corpus, tmp_path_factory):
    """The run folder of two epochs."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments_for(corpus, folder))
        run_general_distill.main()
    return folder


def arguments_for(corpus, folder):
    given = ["--data_dir", corpus[0], "--load_teacher_ckpt_path", corpus[1], "--output_dir", str(folder)]
    return ["run_general_distill.py", *given, *TWO_EPOCHS]


@pytest.fixture(scope="module")
def stopped(corpus, tmp_path_factory):
    """The run folder of the same, stopped right after its first saved state, as Ctrl-C would."""

    class Stopping(TrainingState):
        def on_step(self, stage, step):
            super().on_step(stage, step)
            if step == self.every:
                raise KeyboardInterrupt

    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr("src.train.session.TrainingState", Stopping)
        patch.setattr(sys, "argv", arguments_for(corpus, folder))
        run_general_distill.main()
    assert caught.value.code == 130
    return folder


def test_the_student_is_an_encoder_with_its_projection_and_the_losses_fall(distilled, corpus):
    student = checkpoints.load(str(distilled / "gd"))
    assert (
        student.description.kind is None
        and student.description.bert.hidden_size == 12
        and student.description.bert.num_hidden_layers == 1
    )
    assert student.weights["fit_dense.weight"].shape == (16, 12) and student.vocabulary == VOCABULARY
    rows = [json.loads(line) for line in (distilled / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 11)) and [row["epoch"] for row in rows] == [
        1
    ] * 5 + [2] * 5
    assert rows[-1]["loss"] < rows[0]["loss"] and rows[0]["attention_loss"] > 0 < rows[0]["hidden_loss"]
    says(
        (distilled / "report.html").read_text(encoding="utf-8"),
        "general distillation",
        "gd, on ",
        "hidden_loss",
    )
    assert {"results.json", "config.yaml"} < set(
        os.listdir(distilled)
    ) and "state.safetensors" not in os.listdir(distilled)
    assert sorted(os.listdir(distilled / "gd")) == [
        "config.json",
        "eval_model.ckpt",
        "step_8.ckpt",
        "vocab.txt",
    ]
    known = Run.read(str(distilled))
    assert known.student == str(distilled / "gd") and known.record.compares_layers


def test_the_losses_are_those_of_the_student_and_the_teacher(corpus, tmp_path, capsys):
    """Of a first step that moves nothing, against NumPy's forward passes with the saved weights (TinyBERT,
    equations 7 to 9).
    """
    out = run(
        capsys,
        "--data_dir",
        corpus[0],
        "--load_teacher_ckpt_path",
        corpus[1],
        "--train_steps",
        "1",
        "--output_dir",
        tmp_path,
        "--do_shuffle",
        "false",
        *STUDENT[:-1],
        "1e-12",
    )
    says(
        out,
        "epoch: 1, step: 1, outputs are ",
        "attention_loss: ",
        "hidden_loss: ",
        "done: the student is in",
        "--load_gd_ckpt_path",
    )
    logged = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    ids, mask, segments = Batches(make_examples(20, 12, seed=0), 8).pad(range(8), 12)
    passes = []
    for folder in (str(tmp_path / "gd"), corpus[1]):
        checkpoint = checkpoints.load(folder)
        headless = {
            "classifier.weight": np.zeros((1, checkpoint.description.bert.hidden_size)),
            "classifier.bias": np.zeros(1),
        }
        passes.append(
            NumpyBert({**checkpoint.weights, **headless}, checkpoint.description.bert)(ids, mask, segments)[
                1:
            ]
        )
    (states, scores), (teacher_states, teacher_scores) = passes
    weights = checkpoints.load(str(tmp_path / "gd")).weights
    projected = [state @ weights["fit_dense.weight"].T + weights["fit_dense.bias"] for state in states]
    tokens = mask[:, :, None] > 0
    pairs = tokens & (mask[:, None, :] > 0)
    difference = (scores[0] - teacher_scores[1]).transpose(0, 2, 3, 1)
    attention = (difference[pairs] ** 2).mean()  # padding counts nowhere
    hidden = sum(
        ((ours - theirs)[tokens[:, :, 0]] ** 2).mean()
        for ours, theirs in zip(projected, (teacher_states[0], teacher_states[2]))
    )
    assert logged["attention_loss"] == pytest.approx(attention, rel=1e-4) and logged[
        "hidden_loss"
    ] == pytest.approx(hidden, rel=1e-4)
    assert logged["loss"] == pytest.approx(attention + hidden, rel=1e-4)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(corpus, distilled, stopped, tmp_path, capsys):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    assert "gd" in os.listdir(tmp_path) and "eval_model.ckpt" not in os.listdir(tmp_path / "gd")
    out = run(
        capsys,
        "--data_dir",
        corpus[0],
        "--load_teacher_ckpt_path",
        corpus[1],
        "--output_dir",
        tmp_path,
        "--resume",
        *TWO_EPOCHS,
    )
    says(out, "gd resumed after step 4 of 10", "epoch: 1, step: 5, outputs")
    ours, theirs = (checkpoints.load(str(folder / "gd")).weights for folder in (tmp_path, distilled))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], name)
    # The stopped run's step_4.ckpt is gone too.
    assert sorted(os.listdir(tmp_path / "gd")) == sorted(os.listdir(distilled / "gd"))
    rows = [
        [{**json.loads(line), "time": 0} for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (tmp_path, distilled)
    ]
    assert rows[0] == rows[1]


def test_a_finished_run_is_left_alone_and_replaced_only_where_it_is_said(
    corpus, distilled, stopped, tmp_path, capsys
):
    given = ["--data_dir", corpus[0], "--load_teacher_ckpt_path", corpus[1], *TWO_EPOCHS]
    before = {path: path.read_bytes() for path in distilled.rglob("*") if path.is_file()}
    assert "this run is finished" in run(capsys, *given, "--output_dir", distilled, "--resume", "true")
    line = refused_by(run_general_distill, capsys, *given, "--output_dir", distilled)
    says(line, "holds an earlier run's results (gd)", "--resume true", "--overwrite_output_dir")
    assert before == {path: path.read_bytes() for path in distilled.rglob("*") if path.is_file()}
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    assert (tmp_path / "state.safetensors").exists() and (tmp_path / "gd" / "step_4.ckpt").exists()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Stage, "fit", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        run(capsys, *given, "--output_dir", tmp_path, "--overwrite_output_dir", "true")
    assert sorted(os.listdir(tmp_path)) == ["config.yaml", "metrics.jsonl", "run.json"]


def test_another_teacher_or_corpus_is_another_run(corpus, distilled, stopped, tmp_path, capsys):
    other = save_network(tmp_path / "teacher", tiny_network(4, labels=2))
    for index in range(2):
        write_split(tmp_path / "data", f"train-{index:05d}", make_examples(20, 12, seed=index + 7))
    write_info(tmp_path / "data", task="gd", labels=())
    for data, teacher, words in (
        (corpus[0], other, "the teacher's weights"),
        (tmp_path / "data", corpus[1], "the corpus"),
    ):
        given = ["--data_dir", data, "--load_teacher_ckpt_path", teacher, "--resume", "true", *TWO_EPOCHS]
        for folder, name in ((stopped, "state.safetensors"), (distilled, "results.json")):
            line = refused_by(run_general_distill, capsys, *given, "--output_dir", folder)
            says(line, name, "was made with " + words, "--overwrite_output_dir true")


def test_a_run_can_be_resumed_until_its_results_are_written(corpus, distilled, tmp_path, capsys):
    shutil.copytree(distilled, tmp_path, dirs_exist_ok=True)
    for name in ("results.json", "report.html"):
        (tmp_path / name).unlink()
    own = tmp_path / "config.yaml"
    assert not {"resume", "overwrite_output_dir"} & yaml.safe_load(own.read_text()).keys()
    given = ["--config_path", str(own), "--output_dir", str(tmp_path), "--resume", "true"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "src.train.session.write_json",
            lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left", "results.json")),
        )
        says(refused_by(run_general_distill, capsys, *given), "results.json: No space left")
    assert not (tmp_path / "results.json").exists()
    says(run(capsys, *given), "resume: gd is finished", "done:")
    ours, theirs = (json.loads((folder / "results.json").read_text()) for folder in (tmp_path, distilled))
    assert ours["losses"] == theirs["losses"] and ours["made_from"] == theirs["made_from"]
    assert (tmp_path / "report.html").exists() and not (tmp_path / "state.safetensors").exists()


def test_a_state_of_other_settings_or_a_damaged_one_is_refused_and_none_means_to_begin(
    corpus, stopped, tmp_path, capsys
):
    settings = [*arguments_for(corpus, tmp_path)[1:], "--resume", "true"]
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    for changes, words in (
        (["--epoch_size", "5"], ("epoch_size 2, now it is 5",)),
        (["--seed", "1"], ("seed 42, now it is 1",)),
        (
            ["--gd_student_net_cfg.intermediate_size", "20"],
            ("gd_student_net_cfg.intermediate_size ", "now it is 20"),
        ),
        (
            ["--gd_cfg.optimizer_cfg.AdamWeightDecay.learning_rate", "0.5"],
            ("learning_rate 0.001, now it is 0.5",),
        ),
    ):
        says(refused_by(run_general_distill, capsys, *settings, *changes), "resume:", *words)
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    says(refused_by(run_general_distill, capsys, *settings), "state.safetensors is damaged")
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    state.unlink()
    says(
        refused_by(run_general_distill, capsys, *settings, "--seed", "1"), "run.json", "seed 42, now it is 1"
    )
    begun = []

    def fit(stage, *_, **__):
        begun.append((stage.step_number, stage.total_steps))
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Stage, "fit", fit)
        run(capsys, *settings)
    assert begun == [(0, 10)] and "gd was not begun, or saved no state" in capsys.readouterr().out


def test_task_distillation_starts_from_the_student_and_its_projection(corpus, distilled, tmp_path, capsys):
    write_split(tmp_path / "sst-2", "train", teachable(16, 1))
    write_info(tmp_path / "sst-2")
    run_script(
        run_task_distill,
        capsys,
        "--task_name",
        "SST-2",
        "--train_data_dir",
        tmp_path / "sst-2",
        "--do_eval",
        "false",
        "--load_teacher_ckpt_path",
        corpus[1],
        "--load_gd_ckpt_path",
        distilled / "gd",
        "--td_phase1_epoch_size",
        "1",
        "--td_phase2_epoch_size",
        "0",
        "--phase1_cfg.batch_size",
        "8",
        "--phase1_cfg.optimizer_cfg.AdamWeightDecay.learning_rate",
        "1e-12",
        "--output_dir",
        tmp_path / "td",
        "--min_teacher_gain",
        "0",
    )
    before, after = (
        checkpoints.load(str(folder)).weights for folder in (distilled / "gd", tmp_path / "td" / "phase1")
    )
    # And a classifier.
    assert {"fit_dense.weight", "fit_dense.bias"} < before.keys() and len(after) == len(before) + 2
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, atol=1e-9, err_msg=name)


def test_what_does_not_fit_is_refused(corpus, tmp_path, capsys):
    data, teacher = corpus
    given = [
        "--data_dir",
        data,
        "--load_teacher_ckpt_path",
        teacher,
        "--output_dir",
        tmp_path / "out",
        "--gd_cfg.batch_size",
        "8",
    ]
    write_split(tmp_path / "long", "train", make_examples(20, 40, seed=1))
    write_info(tmp_path / "other", task="gd", labels=(), vocabulary=VOCABULARY[:-1] + ("odd",))
    write_split(tmp_path / "other", "train", make_examples(20, 12, seed=1))
    for name in ("unfinished", "gap"):
        write_split(tmp_path / name, "train-00000", make_examples(20, 12, seed=1))
    (tmp_path / "unfinished" / "gd_plan.json").write_text("{}")
    write_info(
        tmp_path / "gap",
        task="gd",
        labels=(),
        splits={"train": {"files": ["train-00000.mindrecord", "train-00001.mindrecord"]}},
    )
    for changes, words in (
        (
            ["--gd_student_net_cfg.num_attention_heads", "4"],
            ("gd_student_net_cfg: num_attention_heads is 4", "is 2", "set gd_cfg.attention_loss"),
        ),
        (["--gd_student_net_cfg.num_hidden_layers", "3"], ("gd_student_net_cfg: num_hidden_layers is 3",)),
        (["--gd_student_net_cfg.vocab_size", "20"], ("token id", "the student", "vocabulary of 20")),
        (["--data_dir", tmp_path / "long"], ("a row of 40 tokens", "positions for 32")),
        (["--data_dir", tmp_path / "other"], ("load_teacher_ckpt_path", "another vocabulary")),
        (["--gd_cfg.attention_loss", "false", "--gd_cfg.hidden_loss", "false"], ("nothing to learn",)),
        (
            ["--load_gd_ckpt_path", teacher, "--student_init", "teacher_layers"],
            ("student_init", "contradicts"),
        ),
        (["--gd_cfg.batch_size", "100"], ("batch_size 100", "40 training rows")),
        (["--gd_student_net_cfg.type_vocab_size", "1"], ("pairs of texts", "type_vocab_size of 1")),
        (["--save_ckpt_path", teacher], ("save_ckpt_path", "load_teacher_ckpt_path lies")),
        (["--save_ckpt_path", data], ("save_ckpt_path", "data_dir lies")),
        (["--output_dir", data, "--save_ckpt_path", tmp_path / "out"], ("output_dir", "data_dir lies")),
        (["--data_dir", tmp_path / "unfinished"], ("unfinished", "run the same prepare_data.py again")),
        (["--data_dir", tmp_path / "gap"], ("lacks train-00001.mindrecord",)),
        (["--distribute", "true"], ("no launcher",)),
        (["--device_num", "2"], ("distribute is false",)),
    ):
        says(refused_by(run_general_distill, capsys, *given, *changes), *words)
    says(refused_by(run_general_distill, capsys, "--data_dir", data), "load_teacher_ckpt_path is needed")
    assert not os.path.exists(tmp_path / "out")
