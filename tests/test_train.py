"""train.py end to end on tiny generated tasks: ternary, loss-aware ternary and 8-bit, packed and evaluated
again.
"""

import json
import os
import shutil

import numpy as np
import pytest

import eval as evaluation
import train
from src.checkpoint import folder as checkpoints
from src.checkpoint.packed import PACKED_FILE
from src.model import read
from src.report.run import Run
from tests.commands import good_teacher, refused_by, says
from tests.helpers import run_script, save_network, teachable, tiny_network, write_info, write_split

LAYERS = 1  # of teacher and student: graphs of more take longer to compile
SMALL = [
    "--train_batch_size",
    "8",
    "--eval_batch_size",
    "8",
    "--bucket_boundaries",
    "[16]",
    "--epoch_size",
    "1",
    "--log_step",
    "2",
    "--min_teacher_gain",
    "0",
    "--train_cfg.optimizer_cfg.AdamWeightDecay.learning_rate",
    "1e-3",
]
LABELS_ALONE = {"pred_distill": "false", "intermediate_distill": "false", "is_lgt_fit": "true"}


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """(folder of data/sst-2, folder of models/sst-2), the published layout."""
    folder = tmp_path_factory.mktemp("ternary")
    write_split(folder / "data" / "sst-2", "train", teachable(34, 1))
    write_split(folder / "data" / "sst-2", "eval", teachable(21, 2))
    write_info(folder / "data" / "sst-2")
    good_teacher(folder / "models" / "sst-2", teachable(21, 2), layers=LAYERS)
    return str(folder / "data"), str(folder / "models")


def arguments_for(task, output, **changes):
    given = {
        "task_name": "SST-2",
        "data_dir": task[0],
        "teacher_model_dir": task[1],
        "student_model_dir": task[1],
        "output_dir": output,
        **changes,
    }
    return SMALL + [
        item for name, value in given.items() if value is not None for item in (f"--{name}", value)
    ]


def evaluated(capsys, task, folder):
    """eval.py's last line for a model's folder."""
    return (
        run_script(
            evaluation,
            capsys,
            "--task_name",
            "sst-2",
            "--model_dir",
            folder,
            "--data_dir",
            task[0],
            "--batch_size",
            "8",
        )
        .strip()
        .splitlines()[-1]
    )


def trained(capsys, task, output, *flags, printed=("best_Accuracy",), **changes):
    """(standard output, results by model) of a run that keeps its float32 weights; the packed file evaluates
    to the same score.
    """
    out = run_script(train, capsys, *arguments_for(task, output, save_fp_model="true", **changes), *flags)
    says(out, *printed, "packed model:", "times smaller", "done:")
    assert sorted(os.listdir(output / "sst-2")) == ["config.json", PACKED_FILE, "vocab.txt"]
    with open(output / "results.json", encoding="utf-8") as file:
        models = json.load(file)["models"]
    assert models["packed model"]["accuracy"] == models["quantized student"]["accuracy"]
    assert (
        evaluated(capsys, task, output)
        == f"The best Accuracy: {100 * models['packed model']['accuracy']:.2f}"
    )
    return out, models


def test_ternary_training_keeps_latent_weights_and_a_packed_file_of_the_same_score(task, tmp_path, capsys):
    _, models = trained(capsys, task, tmp_path, "--packed_bits", "2", "--epoch_size", "2")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    says(page, "Ternary weights", "quantized, on ", "2-bit weights", "times smaller")
    assert "Not shown here" not in page
    weight = read(str(tmp_path / "sst-2")).weights["bert.encoder.layers.0.attention.query.weight"]
    assert len(np.unique(np.abs(weight))) == 2
    assert (
        evaluated(capsys, task, tmp_path / "latent")
        == f"The best Accuracy: {100 * models['quantized student']['accuracy']:.2f}"
    )
    says(
        refused_by(train, capsys, *arguments_for(task, tmp_path / "two", student_model_dir=tmp_path)),
        "packed model",
        "save_fp_model",
    )


def test_loss_aware_ternary_training_on_labels_alone_saves_the_second_moments_it_used(
    compiled_steps, task, tmp_path, capsys
):
    trained(
        capsys,
        task,
        tmp_path,
        "--quant_cfg.weight_quantizer",
        "lat",
        "--quant_cfg.embedding_quantizer",
        "lat",
        teacher_model_dir=None,
        **LABELS_ALONE,
    )
    latent = checkpoints.load(str(tmp_path / "latent" / "sst-2"))
    moments = [value for key, value in latent.weights.items() if key.endswith("second_moment")]
    matrices = 6 * LAYERS + 2  # and the word embeddings, the pooler
    assert len(moments) == matrices and all((value >= 0).all() for value in moments)
    assert sum(value.max() > 0 for value in moments) == matrices


def without_evaluation(task, folder):
    """What a run takes that evaluates nothing: a folder without rows for it."""
    shutil.copytree(os.path.join(task[0], "sst-2"), folder, ignore=shutil.ignore_patterns("eval*"))
    return {"data_dir": folder, "do_eval": "false"}


def test_8_bit_training_calibrates_its_ranges_and_trains_further_to_2_bits_on_labels_alone(
    compiled, task, tmp_path, capsys
):
    trained(capsys, task, tmp_path / "eight", "--quantization", "q8bert", "--quant_cfg.ema_decay", "0.9")
    latent = checkpoints.load(str(tmp_path / "eight" / "latent" / "sst-2"))
    ranges = [value for key, value in latent.weights.items() if key.endswith("threshold")]
    assert len(ranges) == LAYERS * 8 + 1 and all(value > 0 for value in ranges)
    (tmp_path / "two" / "unpacked" / "mnli").mkdir(parents=True)  # of another task that is being trained
    changes = {"teacher_model_dir": None, "student_model_dir": tmp_path / "eight" / "latent", **LABELS_ALONE}
    changes |= without_evaluation(task, tmp_path / "data")
    run_script(train, capsys, *arguments_for(task, tmp_path / "two", **changes))
    assert os.listdir(tmp_path / "two" / "unpacked") == ["mnli"]
    known = Run.read(str(tmp_path / "two"))
    assert known.student == str(tmp_path / "two" / "sst-2") and not known.record.compares_layers
    assert known.record.students == ["sst-2", os.path.join("unpacked", "sst-2")]
    assert (tmp_path / "two" / "sst-2" / PACKED_FILE).exists() and sorted(os.listdir(tmp_path / "two")) == [
        "config.yaml",
        "metrics.jsonl",
        "report.html",
        "results.json",
        "run.json",
        "sst-2",
        "stages.json",
        "unpacked",
    ]
    before = checkpoints.load(str(tmp_path / "eight" / "latent" / "sst-2")).weights
    says(
        refused_by(
            train,
            capsys,
            *arguments_for(
                task,
                tmp_path / "eight",
                student_model_dir=tmp_path / "eight" / "latent",
                save_fp_model="true",
            ),
        ),
        "output_dir",
        "where student_model_dir lies",
    )
    after = checkpoints.load(str(tmp_path / "eight" / "latent" / "sst-2")).weights
    assert all(np.array_equal(before[name], value) for name, value in after.items())


def test_without_training_and_evaluation_no_rows_for_it_are_needed(task, tmp_path, capsys):
    changes = {"do_train": "false", **LABELS_ALONE, **without_evaluation(task, tmp_path / "data")}
    run_script(train, capsys, *arguments_for(task, tmp_path / "out", **changes))
    assert (tmp_path / "out" / "sst-2" / PACKED_FILE).exists()


def test_without_training_the_student_is_quantized_as_it_is(task, tmp_path, capsys):
    out, models = trained(capsys, task, tmp_path, "--do_train", "false", printed=(), teacher_model_dir=None)
    assert "best_Accuracy" not in out and list(models) == ["quantized student", "packed model"]
    assert "--padding none --max_tokens 2048; or deploy it: python export.py" in out.splitlines()[-1]
    latent, given = (
        checkpoints.load(os.path.join(folder, "sst-2")).weights for folder in (tmp_path / "latent", task[1])
    )
    assert all(np.array_equal(latent[name], value) for name, value in given.items())
    says(
        refused_by(
            train,
            capsys,
            *arguments_for(task, tmp_path / "8"),
            "--do_train",
            "false",
            "--quantization",
            "q8bert",
        ),
        "only training",
        "symmetric",
    )


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"hidden_size": 24}, "student_model_dir: hidden_size is 16, the teacher's is 24;"),
        ({"num_attention_heads": 4}, "student_model_dir: num_attention_heads is 2, the teacher's is 4;"),
    ],
)
def test_a_teacher_of_another_shape_is_refused_for_intermediate_distillation(
    task, tmp_path, capsys, changes, words
):
    teacher = save_network(
        tmp_path / "teacher", tiny_network(3, labels=2, **{"num_hidden_layers": LAYERS, **changes})
    )
    says(
        refused_by(train, capsys, *arguments_for(task, tmp_path / "out", teacher_model_dir=teacher)),
        words,
        "set intermediate_distill to false",
    )
    assert not (tmp_path / "out").exists()


def test_the_models_that_training_starts_from_are_never_replaced(task, tmp_path, capsys):
    says(
        refused_by(train, capsys, *arguments_for(task, task[1])), "output_dir", "where teacher_model_dir lies"
    )
    assert sorted(os.listdir(os.path.join(task[1], "sst-2"))) == [
        "config.json",
        "eval_model.ckpt",
        "vocab.txt",
    ]
    save_network(tmp_path / "sst-2", tiny_network(1, labels=2))
    says(
        refused_by(train, capsys, *arguments_for(task, tmp_path)),
        "output_dir",
        "holds an earlier run's results (sst-2)",
    )


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"teacher_model_dir": None}, ("teacher_model_dir is needed", "--is_lgt_fit true")),
        ({"student_model_dir": None}, ("student_model_dir is needed",)),
        ({"quant_cfg.weight_bits": "16"}, ("weight_bits", "16")),
        ({"quant_cfg.weight_bits": "8"}, ("weight_bits is 8", "twn")),
        ({"pred_distill": "false", "intermediate_distill": "false"}, ("nothing to learn",)),
        ({"save_quantized_model": "false"}, ("would be lost",)),
        (
            {"quantization": "q8bert", "quant_cfg.ema_start_step": "5"},
            ("ema_start_step is 5", "after 5 batches", "never be calibrated"),
        ),
        (
            {"quantization": "q8bert", "quant_cfg.activation_granularity": "row"},
            ("activation_granularity is row", "one scale a tensor"),
        ),
        ({"train_batch_size": "99"}, ("batch_size 99",)),
    ],
)
def test_bad_settings_are_one_line_and_status_2(task, tmp_path, capsys, changes, words):
    says(refused_by(train, capsys, *arguments_for(task, tmp_path / "out", **changes)), *words)
    assert not (tmp_path / "out").exists()
