"""Tags from raw rows to a distilled and to a ternary student: what a kind of task takes besides its file in
`src/kinds`.
"""

import json
import os

import numpy as np
import pytest

import eval as eval_script
import prepare_data
import run_finetune
import run_task_distill
import train
from src.report.run import Run
from tests.helpers import run_script

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "new",
    "york",
    "anna",
    "bert",
    "sees",
    "in",
    "the",
]


def write_rows(path, rows, seed):
    """JSON lines of random words: "new york" is a city, "anna" and "bert" are names."""
    random = np.random.default_rng(seed)
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(rows):
            text, entities = "", []
            for word in random.choice(["new york", *VOCABULARY[7:]], random.integers(3, 7)):
                text += " " if text else ""
                if word in ("new york", "anna", "bert"):
                    entities.append([len(text), len(text) + len(word), "city" if " " in word else "name"])
                text += word
            file.write(json.dumps({"text": text, "entities": entities}) + "\n")


TASK = ["--task_name", "custom", "--task_type", "ner", "--bucket_boundaries", "[16]", "--log_step", "100"]
RATE = "optimizer_cfg.AdamWeightDecay.learning_rate"


@pytest.fixture
def data(tmp_path, capsys):
    """The folder of records."""
    for split, rows, seed in (("train", 48, 1), ("dev", 20, 2)):
        write_rows(tmp_path / f"{split}.jsonl", rows, seed)
    (tmp_path / "vocab.txt").write_text("".join(token + "\n" for token in VOCABULARY))
    given = ["--task_name", "custom", "--vocab_file", tmp_path / "vocab.txt", "--num_workers", 1]
    given += ["--data_dir", tmp_path, "--output_dir", tmp_path / "records"]
    prepare_data.main([str(item) for item in given])
    assert "9 tags of tokens (O, B-city" in capsys.readouterr().out
    return tmp_path / "records" / "custom"


def fine_tuned(data, folder, capsys):
    """The folder of a teacher."""
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    network = [item for key, value in small.items() for item in (f"--net_cfg.{key}", value)]
    given = ["--train_data_dir", data, "--eval_data_dir", data, "--vocab_file", data.parents[1] / "vocab.txt"]
    given += ["--epoch_size", 8, "--finetune_cfg.batch_size", 8, f"--finetune_cfg.{RATE}", "2e-2"]
    given += ["--net_cfg.hidden_dropout_prob", 0, *network, "--output_dir", folder]
    run_script(run_finetune, capsys, *TASK, *given)
    return os.path.join(folder, "custom")


def evaluated(model, data, capsys):
    """eval.py's results for a model's folder."""
    results = data.parent / "results.json"
    given = ["--task_name", "custom", "--data_dir", data, "--bucket_boundaries", "[16]"]
    run_script(eval_script, capsys, *given, "--model_dir", model, "--output_file", results)
    return json.loads(results.read_text())


def test_tags_are_prepared_fine_tuned_distilled_quantized_and_evaluated(compiled, data, tmp_path, capsys):
    teacher = fine_tuned(data, tmp_path / "teacher", capsys)
    assert Run.read(str(tmp_path / "teacher")).student == teacher
    with open(os.path.join(teacher, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    assert config["problem_type"] == "token_classification" and config["id2label"]["5"] == "B-name"

    given = ["--train_data_dir", data, "--eval_data_dir", data, "--output_dir", tmp_path / "student"]
    given += ["--load_teacher_ckpt_path", teacher, "--student_init", "teacher_layers"]
    given += ["--td_phase1_epoch_size", 0, "--td_phase2_epoch_size", 1, "--phase2_cfg.batch_size", 8]
    run_script(run_task_distill, capsys, *TASK, *given)
    results = evaluated(tmp_path / "student" / "custom", data, capsys)
    assert results["rows"] == 20 and results["entity_f1"] > 0.9 and results["accuracy"] > 0.9

    given = ["--data_dir", data, "--teacher_model_dir", teacher, "--student_model_dir", teacher]
    given += ["--epoch_size", 4, "--train_cfg.batch_size", 8, f"--train_cfg.{RATE}", "1e-2"]
    run_script(train, capsys, *TASK, *given, "--output_dir", tmp_path / "W2A8")
    told = json.loads((tmp_path / "W2A8" / "results.json").read_text())["models"]
    results = evaluated(tmp_path / "W2A8" / "custom", data, capsys)
    assert results["entity_f1"] == told["packed model"]["entity_f1"] > 0.9
    assert told["packed model"]["entity_f1"] == told["quantized student"]["entity_f1"]
