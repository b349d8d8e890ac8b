"""A kind of task that src/ does not know: what adding one takes, from records to a distilled student."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest

import eval as eval_script
import run_finetune
import run_task_distill
from src import kinds, tasks
from src.distill import losses
from src.examples import Column
from src.kinds.base import TaskKind
from src.sources import OwnRows
from tests.helpers import VOCABULARY, make_examples, run_script, write_info, write_split

LABELS = ("low", "high")


class TokenTags(TaskKind):
    """One of some tags for every token."""

    name = "tags"
    problem_type = "token_classification"
    architecture = "BertForTokenClassification"
    columns = (Column("label_ids", np.int32, per="token", fill=-1),)
    logits_per = "token"
    soft_loss = "soft_cross_entropy"
    label_loss = "label_cross_entropy_of_tokens"
    metrics = default_metrics = ("accuracy",)

    def outputs(self, labels):
        return len(labels)

    def check_outputs(self, outputs, source):
        assert outputs > 1, source

    def describe(self, outputs):
        return f"{outputs} tags"

    def check_labels(self, examples, names, split):
        assert examples.labels.max() < len(names), split

    def predictions(self, logits):
        return logits.argmax(axis=1)


def cross_entropy_of_tokens(logits, labels):
    """Cross-entropy of (B, S, C) logits with (B, S) labels; -1 is padding."""
    return losses.ops.cross_entropy(logits.reshape((-1, 2)), labels.reshape((-1,)), ignore_index=-1)


@pytest.fixture
def task(tmp_path, monkeypatch):
    """The folder of a task whose tags tell small token ids from large ones."""
    kind = TokenTags()
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, kind))
    monkeypatch.setattr(losses, "label_cross_entropy_of_tokens", cross_entropy_of_tokens, raising=False)
    monkeypatch.setitem(tasks._BY_KEY, "tags", tasks.Task("tags", kind, LABELS, ("accuracy",), OwnRows(), 16))
    data = tmp_path / "tags"
    for split, rows, seed in (("train", 48, 1), ("eval", 20, 2)):
        examples = make_examples(rows, 12, seed)
        tags = (examples.input_ids > 20).astype(np.int32)
        write_split(data, split, replace(examples, columns={kind.columns[0]: tags}), kind=kind)
    write_info(data, "tags", kind, LABELS)
    (tmp_path / "vocab.txt").write_text("".join(token + "\n" for token in VOCABULARY))
    return data


def test_a_new_kind_is_fine_tuned_distilled_and_evaluated(task, tmp_path, capsys):
    common = ["--task_name", "tags", "--train_data_dir", task, "--eval_data_dir", task]
    common += ["--bucket_boundaries", "[12]", "--log_step", "100"]
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    network = [item for key, value in small.items() for item in (f"--net_cfg.{key}", value)]
    rate = "optimizer_cfg.AdamWeightDecay.learning_rate"
    finetune = ["--vocab_file", tmp_path / "vocab.txt", "--epoch_size", 8, "--finetune_cfg.batch_size", 8]
    finetune += ["--net_cfg.hidden_dropout_prob", 0, f"--finetune_cfg.{rate}", "2e-2", *network]
    run_script(run_finetune, capsys, *common, *finetune, "--output_dir", tmp_path / "teacher")
    teacher = os.path.join(tmp_path, "teacher", "tags")
    with open(os.path.join(teacher, "config.json"), encoding="utf-8") as file:
        assert json.load(file)["problem_type"] == "token_classification"

    distil = ["--load_teacher_ckpt_path", teacher, "--student_init", "teacher_layers"]
    distil += ["--td_phase1_epoch_size", 0, "--td_phase2_epoch_size", 1, "--phase2_cfg.batch_size", 8]
    run_script(run_task_distill, capsys, *common, *distil, "--output_dir", tmp_path / "student")

    given = ["--task_name", "tags", "--data_dir", task, "--bucket_boundaries", "[12]"]
    given += ["--output_file", tmp_path / "results.json", "--model_dir", tmp_path / "student" / "tags"]
    run_script(eval_script, capsys, *given)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["rows"] == 20 and results["accuracy"] > 0.9
