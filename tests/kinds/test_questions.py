"""Questions from a file in SQuAD's layout to answers in its official layouts; every text is made up."""

import json

import numpy as np
import pytest

import eval as eval_script
import predict
import prepare_data
import run_finetune
from tests.helpers import VOCABULARY, run_script

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def write_questions(path, count, seed):
    """Texts of small words; the answer, where there is one, is the only large one."""
    random, paragraphs = np.random.default_rng(seed), []
    for number in range(count):
        words = [f"word{index}" for index in random.integers(0, 25, random.integers(4, 20))]
        answers = []
        if number % 4:
            place = random.integers(len(words))
            words[place] = f"word{random.integers(25, 35)}"
            answers = [{"text": words[place], "answer_start": len(" ".join([*words[:place], ""]))}]
        asked = {
            "id": f"q{number}",
            "question": "word1 word2",
            "answers": answers,
            "is_impossible": not answers,
        }
        paragraphs.append({"context": " ".join(words), "qas": [asked]})
    path.write_text(json.dumps({"version": "v2.0", "data": [{"paragraphs": paragraphs}]}))


@pytest.fixture
def prepared(tmp_path, capsys):
    """The folder of records, and what the command said."""
    write_questions(tmp_path / "train-v2.0.json", 96, 1)
    write_questions(tmp_path / "dev-v2.0.json", 24, 2)
    (tmp_path / "vocab.txt").write_text("".join(token + "\n" for token in VOCABULARY))
    given = ["--task_name", "squad", "--version_2_with_negative", "true", "--max_seq_length", "16"]
    given += ["--doc_stride", "4", "--num_workers", "1", "--data_dir", tmp_path, "--output_dir", tmp_path]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sys.argv", ["prepare_data.py", *map(str, given), "--vocab_file", str(tmp_path / "vocab.txt")]
        )
        prepare_data.main()
    return tmp_path / "squad2", capsys.readouterr().out


def test_questions_are_prepared_fine_tuned_evaluated_and_answered(compiled_steps, prepared, tmp_path, capsys):
    data, said = prepared
    assert "of 96 texts" in said and "of 24 texts" in said and "SQuAD2: answers in a text or none" in said
    assert (data / "eval.texts.jsonl").exists() and not (data / "train.texts.jsonl").exists()

    task = ["--task_name", "squad", "--version_2_with_negative"]
    network = [item for key, value in SMALL.items() for item in (f"--net_cfg.{key}", value)]
    train = [
        "--train_data_dir",
        data,
        "--eval_data_dir",
        data,
        "--vocab_file",
        tmp_path / "vocab.txt",
        *network,
    ]
    train += ["--epoch_size", 8, "--finetune_cfg.batch_size", 8, "--net_cfg.hidden_dropout_prob", 0]
    train += ["--finetune_cfg.optimizer_cfg.AdamWeightDecay.learning_rate", "2e-2", "--log_step", 100]
    said = run_script(run_finetune, capsys, *task, *train, "--output_dir", tmp_path / "run")
    assert "The best f1 is" in said

    model, folder = tmp_path / "run" / "squad2", tmp_path / "answers"
    given = ["--model_dir", model, "--data_dir", data, "--predictions_dir", folder]
    capsys.readouterr()
    told = run_script(
        eval_script, capsys, *task, *given, "--output_file", tmp_path / "results.json", "--json"
    )
    results = json.loads((tmp_path / "results.json").read_text())
    assert json.loads(told) == results
    files = {path.name: json.loads(path.read_text()) for path in folder.iterdir()}
    official = ("predictions.json", "nbest_predictions.json", "null_odds.json")
    assert sorted(files) == sorted([*official, "best_thresholds.json"])
    assert all(list(files[name]) == [f"q{number}" for number in range(24)] for name in official)
    assert results["rows"] > 24 and results["span_f1"] > 0.8 and results["best_span_f1"] >= results["span_f1"]
    assert files["best_thresholds.json"]["best_f1"] == results["best_span_f1"]

    right = {item["id"]: item["answers"] for item in map(json.loads, open(data / "eval.texts.jsonl"))}
    same = [answer in (right[name] or [""]) for name, answer in files["predictions.json"].items()]
    assert np.mean(same) == pytest.approx(results["exact_match"])

    asked = ["--model", model, "--question", "word1 word2", "--context", "word7 word30 word9"]
    line = run_script(predict, capsys, *asked).splitlines()[-1].split("\t")
    assert line[:3] == ["word30", "6", "12"] and line[4:] == ["word1 word2", "word7 word30 word9"]
    never = run_script(predict, capsys, *asked, "--null_score_diff_threshold", "-1000").splitlines()[-1]
    assert never.startswith("-\t-\t-\t")
