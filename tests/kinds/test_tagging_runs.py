"""Tags from raw rows to a distilled student: what a kind of task takes besides its file in `src/kinds`."""

import json
import os

import numpy as np

import eval as eval_script
import prepare_data
import run_finetune
import run_task_distill
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


def test_tags_are_prepared_fine_tuned_distilled_and_evaluated(compiled, tmp_path, capsys):
    for split, rows, seed in (("train", 48, 1), ("dev", 20, 2)):
        write_rows(tmp_path / f"{split}.jsonl", rows, seed)
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("".join(token + "\n" for token in VOCABULARY))
    given = ["--task_name", "custom", "--vocab_file", vocabulary, "--output_dir", tmp_path / "records"]
    prepare_data.main([str(item) for item in (*given, "--data_dir", tmp_path, "--num_workers", 1)])
    assert "9 tags of tokens (O, B-city" in capsys.readouterr().out
    data = tmp_path / "records" / "custom"

    common = [
        "--task_name",
        "custom",
        "--task_type",
        "ner",
        "--train_data_dir",
        data,
        "--eval_data_dir",
        data,
    ]
    common += ["--bucket_boundaries", "[16]", "--log_step", "100"]
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    network = [item for key, value in small.items() for item in (f"--net_cfg.{key}", value)]
    rate = "optimizer_cfg.AdamWeightDecay.learning_rate"
    finetune = ["--vocab_file", vocabulary, "--epoch_size", 8, "--finetune_cfg.batch_size", 8]
    finetune += ["--net_cfg.hidden_dropout_prob", 0, f"--finetune_cfg.{rate}", "2e-2", *network]
    run_script(run_finetune, capsys, *common, *finetune, "--output_dir", tmp_path / "teacher")
    teacher = os.path.join(tmp_path, "teacher", "custom")
    assert Run.read(str(tmp_path / "teacher")).student == teacher
    with open(os.path.join(teacher, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    assert config["problem_type"] == "token_classification" and config["id2label"]["5"] == "B-name"

    distil = ["--load_teacher_ckpt_path", teacher, "--student_init", "teacher_layers"]
    distil += ["--td_phase1_epoch_size", 0, "--td_phase2_epoch_size", 1, "--phase2_cfg.batch_size", 8]
    run_script(run_task_distill, capsys, *common, *distil, "--output_dir", tmp_path / "student")

    given = ["--task_name", "custom", "--data_dir", data, "--bucket_boundaries", "[16]"]
    given += ["--output_file", tmp_path / "results.json", "--model_dir", tmp_path / "student" / "custom"]
    run_script(eval_script, capsys, *given)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["rows"] == 20 and results["entity_f1"] > 0.9 and results["accuracy"] > 0.9
