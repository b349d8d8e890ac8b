"""run_task_distill.py end to end on tiny generated tasks."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import run_finetune
import run_task_distill
from src.checkpoint import folder as checkpoints
from src.data.records import read_records
from src.kinds import CLASSIFICATION, REGRESSION
from src.report.run import Run
from tests.commands import SMALL, good_teacher, reference_logits, refused_by, says
from tests.helpers import (
    ROOT,
    VOCABULARY,
    run_script,
    save_network,
    teachable,
    tiny_network,
    write_info,
    write_split,
)


def run(capsys, *arguments):
    """The script's standard output, run in this process."""
    return run_script(run_task_distill, capsys, *arguments)


def refused(capsys, *arguments):
    """The script's one line on standard error."""
    return refused_by(run_task_distill, capsys, *arguments)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """(data folder, teacher folder) of a tiny SST-2 whose labels the teacher does not know."""
    folder = tmp_path_factory.mktemp("task")
    data = folder / "sst-2"
    write_split(data, "train", teachable(34, 10))  # by chance the teacher answers most of them rightly
    write_split(data, "eval", teachable(21, 2))
    write_info(data)
    return str(data), good_teacher(folder / "teacher", teachable(21, 2))


def arguments_of(task, output):
    """The command line of the distillation that several tests look at."""
    data, teacher = task
    config = output.parent / "td.yaml"
    config.write_text(
        f"task_name: SST-2\nload_teacher_ckpt_path: {teacher}\ntd_student_net_cfg:\n  num_hidden_layers: 1\n"
        "  hidden_dropout_prob: 0.1\n  attention_probs_dropout_prob: 0.1\n"
    )
    folders = "--train_data_dir", data, "--eval_data_dir", data, "--output_dir", output
    # Unfused: building kernels takes a minute, in three processes. test_distributed.py has fused graphs.
    how = "--save_ckpt_step", "3", "--enable_graph_kernel", "false"
    return ["run_task_distill.py", "--config_path", config, *folders, *SMALL, *how]


def in_a_process(*arguments):
    """What Python did with them, at the repository's root."""
    environment = {**os.environ, "GLOG_v": "3"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, env=environment
    )


@pytest.fixture(scope="module")
def finished(task, tmp_path_factory):
    """(run folder, standard output) of a distillation in a process of its own."""
    output = tmp_path_factory.mktemp("run") / "out"
    done = in_a_process(*arguments_of(task, output))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return str(output), done.stdout


def results_of(folder):
    with open(os.path.join(folder, "results.json"), encoding="utf-8") as file:
        return json.load(file)


def metrics_of(folder):
    with open(os.path.join(folder, "metrics.jsonl"), encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_run_leaves_a_complete_student_and_its_records(finished):
    output, _ = finished
    assert {"config.yaml", "metrics.jsonl", "results.json", "run.json", "phase1", "sst-2"} <= set(
        os.listdir(output)
    )
    assert {"eval_model.ckpt", "config.json", "vocab.txt"} <= set(os.listdir(os.path.join(output, "sst-2")))
    known = Run.read(output)
    assert known.student == os.path.join(output, "sst-2") and known.record.compares_layers
    assert known.record.students == ["sst-2", "phase1"]
    student = checkpoints.load(os.path.join(output, "sst-2"))
    assert (
        student.description.bert.num_hidden_layers == 1
        and student.description.labels == ("negative", "positive")
        and student.vocabulary == VOCABULARY
    )


def test_the_report_shows_the_score_the_answers_and_the_layers(finished):
    output, printed = finished
    with open(os.path.join(output, "report.html"), encoding="utf-8") as file:
        page = file.read()
    models = results_of(output)["models"]
    score = f"<strong>{100 * models['distilled student']['accuracy']:.2f}</strong>"
    says(
        page,
        score,
        "of 21 evaluation rows are",
        "phase1, on ",
        "layer 1 &larr; 2",
        "word",
        "run_task_distill.py",
    )
    assert "Not shown here" not in page and "is not written" not in printed


def test_metrics_are_json_lines_of_both_phases(finished):
    rows = metrics_of(finished[0])
    steps = [(row["stage"], row["step"]) for row in rows if "loss" in row]
    assert steps == [("phase1", step) for step in (1, 2, 4, 5)] + [
        ("phase2", step) for step in (1, 2, 4, 6, 8, 10)
    ]
    assert {"attention_loss", "hidden_loss"} <= set(rows[0]) and "soft_loss" in rows[-2]
    assert [(row["stage"], row["step"]) for row in rows if "accuracy" in row] == [
        ("phase2", 5),
        ("phase2", 10),
    ]
    assert all(np.isfinite(row["loss"]) for row in rows if "loss" in row)


def test_a_killed_run_goes_on_to_the_same_student(finished, task, tmp_path, capsys):
    arguments, output = arguments_of(task, tmp_path / "out"), tmp_path / "out"
    killed = in_a_process("tests/killed_at.py", "phase2", 7, 9, *arguments)  # its last state is of step 6
    assert killed.returncode == -9 and not (output / "results.json").exists()
    done = in_a_process(*arguments, "--resume", "true")
    assert done.returncode == 0, done.stderr[-2000:]
    says(
        done.stdout,
        "resume: phase1 is finished",
        "phase2 resumed after step 6 of 10",
        "done: the student is in",
    )
    whole, again = (checkpoints.load(os.path.join(run, "sst-2")).weights for run in (finished[0], output))
    assert whole.keys() == again.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)
    for ours, theirs in zip(*(metrics_of(run) for run in (finished[0], output)), strict=True):
        for key in ("stage", "step", "loss", "accuracy"):
            assert ours.get(key) == theirs.get(key)
    best = [results_of(run)["models"]["distilled student"] for run in (finished[0], output)]
    assert best[0]["accuracy"] == best[1]["accuracy"] and best[0]["step"] == best[1]["step"]
    assert not (output / "state.safetensors").exists()
    over = run(capsys, "--config_path", output / "config.yaml", "--resume", "true")
    assert over.splitlines()[-1].startswith("resume: this run is finished")


def test_step_checkpoints_are_rotated(finished):
    assert [name for name in os.listdir(os.path.join(finished[0], "sst-2")) if name.startswith("step_")] == [
        "step_9.ckpt"
    ]
    assert [name for name in os.listdir(os.path.join(finished[0], "phase1")) if name.startswith("step_")] == [
        "step_3.ckpt"
    ]


def test_results_are_those_of_numpy_on_the_saved_weights(finished, task):
    examples = read_records([os.path.join(task[0], "eval.mindrecord")], "mindrecord", CLASSIFICATION.columns)
    models = results_of(finished[0])["models"]
    assert list(models) == ["teacher", "distilled student"]
    for title, folder in (("teacher", task[1]), ("distilled student", os.path.join(finished[0], "sst-2"))):
        accuracy = (reference_logits(folder, examples).argmax(1) == examples.labels).mean()
        assert models[title]["accuracy"] == pytest.approx(accuracy) and models[title]["rows"] == 21, title
    assert models["teacher"]["parameters"] == sum(
        item.size for item in checkpoints.load(task[1]).weights.values()
    )


def test_familiar_lines_are_printed(finished):
    says(
        finished[1],
        "task SST-2 on CPU: train 34 rows, eval 21 rows",
        "The best acc is ",
        "best_Accuracy",
        "done: the student is in",
        "student: ",
        "phase1: 5 steps; 6.8 rows",
        "phase2: 10 steps",
    )


def test_evaluating_the_saved_student_gives_the_same_metric_in_a_folder_of_its_own(
    finished, task, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    student = os.path.join(finished[0], "sst-2")
    given = ("--task_name", "sst2", "--do_train", "False", "--eval_data_dir", task[0])
    out = run(capsys, *given, "--load_td1_ckpt_path", student, *SMALL)
    expected = results_of(finished[0])["models"]["distilled student"]["accuracy"]
    assert os.listdir("output") == ["td-eval-sst-2"]
    assert results_of("output/td-eval-sst-2")["models"]["student"]["accuracy"] == pytest.approx(expected)
    known = Run.read("output/td-eval-sst-2")
    assert os.path.samefile(known.student, student) and not known.record.compares_layers
    assert f"============== acc is {expected}" in out and out.strip().endswith(
        f"The best Accuracy: {100 * expected:.2f}"
    )


def test_phase_2_continues_from_a_phase_1_checkpoint_without_running_phase_1(
    finished, task, tmp_path, capsys
):
    out = run(
        capsys,
        "--task_name",
        "sst2",
        "--train_data_dir",
        task[0],
        "--load_teacher_ckpt_path",
        task[1],
        "--output_dir",
        tmp_path,
        "--load_td1_ckpt_path",
        os.path.join(finished[0], "phase1"),
        "--do_eval",
        "false",
        *SMALL,
        "--td_phase2_epoch_size",
        "1",
        "--phase2_cfg.cache_teacher",
        "false",
    )
    assert "phase1: 5" not in out and "phase2: 5 steps" in out
    assert "eval_model.ckpt" in os.listdir(tmp_path / "sst-2")


def without_vocabulary(folder):
    """Save a checkpoint folder anew, as a program that knows of no vocabulary left it."""
    checkpoint = checkpoints.load(folder)
    silent = replace(checkpoint.description, vocab_sha256="", do_lower_case=None)
    checkpoints.save(folder, checkpoint.weights, silent)
    assert checkpoints.load(folder).vocabulary is None


def test_regression_works_with_a_teacher_saved_without_a_vocabulary(tmp_path, capsys):
    data = tmp_path / "data"
    train, dev = teachable(24, 5, kind=REGRESSION), teachable(15, 6, kind=REGRESSION)
    write_split(data, "train", train, kind=REGRESSION)
    write_split(data, "eval", dev, kind=REGRESSION)
    write_info(data, "STS-B", REGRESSION, ())
    teacher = good_teacher(tmp_path / "teacher", dev, outputs=1, task="STS-B", labels=(), kind=REGRESSION)
    without_vocabulary(teacher)
    out = run(
        capsys,
        "--task_name",
        "STS-B",
        "--train_data_dir",
        data,
        "--eval_data_dir",
        data,
        "--load_teacher_ckpt_path",
        teacher,
        "--output_dir",
        tmp_path / "out",
        "--td_student_net_cfg.num_hidden_layers",
        "1",
        *SMALL,
        "--td_phase1_epoch_size",
        "0",
        "--phase2_cfg.label_loss_weight",
        "1",
    )
    models = results_of(tmp_path / "out")["models"]
    logits = reference_logits(tmp_path / "out" / "sts-b", dev)
    assert models["distilled student"]["pearson"] == pytest.approx(
        np.corrcoef(logits[:, 0], dev.labels)[0, 1], abs=1e-4
    )
    assert {"pearson", "spearman"} <= set(models["teacher"]) and "The best pearsonr is" in out


# --- what the user gets wrong: exit status 2, one line ------------------------------------------------------


def test_refused_run_leaves_an_older_runs_records_alone_and_phase_2_is_checked_first(task, tmp_path, capsys):
    for name in ("config.yaml", "metrics.jsonl"):
        (tmp_path / name).write_text("old\n")
    line = refused(capsys, *arguments_for(task, tmp_path), "--phase2_cfg.batch_size", "99")
    says(line, "batch_size 99", "34 training rows")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(
        ("config.yaml", "metrics.jsonl"), "old\n"
    )


@pytest.mark.parametrize(
    "script,name", [(run_task_distill, "load_teacher_ckpt_path"), (run_finetune, "load_ckpt_path")]
)
def test_the_checkpoint_a_run_reads_is_never_replaced(task, tmp_path, capsys, script, name):
    teacher = save_network(tmp_path / "sst-2", tiny_network(1, labels=2))
    line = refused_by(
        script,
        capsys,
        "--task_name",
        "sst-2",
        "--train_data_dir",
        task[0],
        "--eval_data_dir",
        task[0],
        f"--{name}",
        teacher,
        "--output_dir",
        tmp_path,
    )
    says(line, f"output_dir: {teacher} is where {name} lies")
    assert os.listdir(tmp_path) == ["sst-2"]


def arguments_for(task, output, **changes):
    given = dict(zip((name[2:] for name in SMALL[::2]), SMALL[1::2])) | {
        "task_name": "sst-2",
        "train_data_dir": task[0],
        "eval_data_dir": task[0],
        "load_teacher_ckpt_path": task[1],
        "output_dir": output,
        "td_student_net_cfg.num_hidden_layers": 1,
        **changes,
    }
    return [item for name, value in given.items() if value is not None for item in (f"--{name}", value)]


def test_teacher_at_chance_level_is_refused(task, tmp_path, capsys):
    network = tiny_network(4, labels=2)
    for parameter in network.classifier.get_parameters():  # always says the first class
        parameter.set_data(parameter * 0)
    teacher = save_network(tmp_path / "teacher", network)
    line = refused(
        capsys,
        *arguments_for(task, tmp_path / "out", load_teacher_ckpt_path=teacher),
        "--min_teacher_gain",
        "2",
    )
    says(line, "load_teacher_ckpt_path", "best constant answer", "run_finetune.py")


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"task_name": "glue"}, ("unknown task 'glue'", "SST-2")),
        ({"task_name": None}, ("task_name is needed",)),
        ({"train_data_dir": None}, ("train_data_dir is needed",)),
        ({"load_teacher_ckpt_path": None}, ("load_teacher_ckpt_path is needed",)),
        ({"load_teacher_ckpt_path": "/nowhere"}, ("/nowhere does not exist",)),
        ({"train_data_dir": "/nowhere"}, ("/nowhere does not exist",)),
        ({"tsk_name": "x"}, ("unknown setting 'tsk_name'", "did you mean task_name")),
        ({"phase1_cfg.batch_size": "0"}, ("phase1_cfg.batch_size",)),
        (
            {"td_teacher_net_cfg.num_hidden_layers": "7"},
            ("td_teacher_net_cfg.num_hidden_layers is 7", "has 2"),
        ),
        ({"td_student_net_cfg.hidden_size": "15"}, ("hidden_size 15 is not a multiple",)),
        ({"do_train": "false", "do_eval": "false"}, ("nothing to do",)),
        ({"do_train": "false"}, ("load_td1_ckpt_path is needed",)),
        ({"device_target": "Ascend"}, ("device_target", "CPU")),
        ({"assessment_method": "pearson"}, ("assessment_method", "accuracy")),
    ],
)
def test_bad_input_is_one_line_and_status_2(task, tmp_path, capsys, changes, words):
    says(refused(capsys, *arguments_for(task, tmp_path / "out", **changes)), *words)


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"td_student_net_cfg.num_hidden_layers": "3"}, ("num_hidden_layers", "divides", "2 layers")),
        ({"td_teacher_net_cfg.hidden_act": "relu"}, ("td_teacher_net_cfg.hidden_act", "gelu", "relu")),
        ({"phase2_cfg.gradient_accumulation_steps": "9"}, ("batch_size 8 x 9", "34 training rows")),
        (
            {"phase1_cfg.attention_loss": "false", "phase1_cfg.hidden_loss": "false"},
            ("attention_loss and hidden_loss are both false",),
        ),
        ({"td_student_net_cfg.vocab_size": "20"}, ("token id", "20")),
        ({"td_student_net_cfg.max_position_embeddings": "8"}, ("12 tokens", "8")),
    ],
)
def test_impossible_students_are_one_line_and_status_2(task, tmp_path, capsys, changes, words):
    says(refused(capsys, *arguments_for(task, tmp_path / "out", **changes)), *words)


def test_student_checkpoint_of_another_vocabulary_is_refused(task, tmp_path, capsys):
    other = save_network(
        tmp_path / "gd",
        tiny_network(1, labels=2, num_hidden_layers=1),
        vocabulary=VOCABULARY[:-1] + ("other",),
    )
    says(
        refused(capsys, *arguments_for(task, tmp_path / "out", load_gd_ckpt_path=other)),
        "load_gd_ckpt_path",
        "different vocabularies",
    )


def test_student_after_phase_1_with_nothing_left_to_train_is_refused(finished, task, tmp_path, capsys):
    says(
        refused(
            capsys,
            *arguments_for(task, tmp_path, load_td1_ckpt_path=os.path.join(finished[0], "phase1")),
            "--td_phase2_epoch_size",
            "0",
        ),
        "nothing to train",
    )
