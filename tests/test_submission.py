"""Files of predictions, line by line as GLUE's page has them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from src.data.readers.rows import Row
from src.data.test_sets import TestSet
from src.description import Description
from src.errors import UserError
from src.examples import Examples, Origin, concatenate
from src.kinds import TAGGING
from src.settings.network import BertConfig
from src.submission import write_predictions
from src.tasks import get_task

BERT = BertConfig(
    vocab_size=9, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
)
FIRST, SECOND, THIRD = np.eye(3, dtype=np.float32)


def write(folder, name, logits, split="test", names=("0", "1", "2"), layout="benchmark"):
    """(name of the file, its text) of the predictions that some logits are."""
    task, logits = get_task(name), np.float32(logits)
    zeros = np.zeros(len(logits), np.int32)
    rows = TestSet(split, Examples(zeros, zeros, np.arange(len(logits) + 1)), names, task.labels)
    described = Description(BERT, task.kind, logits.shape[1], task.labels, task.name)
    (path,) = write_predictions(str(folder), task, described, rows, logits, layout)
    with open(path, encoding="utf-8", newline="") as file:
        return path.rpartition("/")[2], file.read()


@pytest.mark.parametrize(
    "name, first, second",
    [
        ("CoLA", "0", "1"),
        ("SST-2", "0", "1"),
        ("MRPC", "0", "1"),
        ("QQP", "0", "1"),
        ("WNLI", "0", "1"),
        ("QNLI", "entailment", "not_entailment"),
        ("RTE", "entailment", "not_entailment"),
    ],
)
def test_two_classes_are_numbers_or_words_as_the_task_asks(tmp_path, name, first, second):
    expected = f"index\tprediction\n0\t{second}\n1\t{first}\n2\t{second}\n"
    assert write(tmp_path, name, [SECOND[:2], FIRST[:2], SECOND[:2]]) == (f"{name}.tsv", expected)


def test_mnli_has_a_file_for_each_of_its_sets_and_a_row_keeps_its_name(tmp_path):
    logits, names = [THIRD, FIRST, SECOND], ("7", "9", "12")
    expected = "index\tprediction\n7\tcontradiction\n9\tentailment\n12\tneutral\n"
    assert write(tmp_path, "MNLI", logits, "test", names) == ("MNLI-m.tsv", expected)
    assert write(tmp_path, "MNLI", logits, "test_mm", names) == ("MNLI-mm.tsv", expected)
    assert write(tmp_path, "MNLI", logits, "test_ax", names) == ("AX.tsv", expected)


def test_plain_lines_are_the_answers_in_the_rows_order(tmp_path):
    two = [SECOND[:2], FIRST[:2], SECOND[:2]]
    assert write(tmp_path, "MRPC", two, layout="lines") == ("output.txt", "1\n0\n1\n")
    assert write(tmp_path, "RTE", two, "eval", layout="lines")[1].split()[0] == "not_entailment"
    assert write(tmp_path, "MNLI", [THIRD], "test_mm", ("7",), "lines") == (
        "output_mm.txt",
        "contradiction\n",
    )
    assert write(tmp_path, "STS-B", [[6.0], [2.5]], layout="lines")[1] == "5.000\n2.500\n"
    with pytest.raises(UserError, match="answered with parts of its texts"):
        write(tmp_path, "CLUENER", np.zeros((3, 41)), layout="lines")


def test_tnews_is_answered_in_json_lines_with_its_class_numbers(tmp_path):
    logits = np.eye(15, dtype=np.float32)[[5, 0, 14]]
    name, text = write(tmp_path, "TNEWS", logits)
    assert name == "tnews_predict.json"
    assert [json.loads(line) for line in text.splitlines()] == [
        {"id": 0, "label": "106", "label_desc": "news_house"},
        {"id": 1, "label": "100", "label_desc": "news_story"},
        {"id": 2, "label": "116", "label_desc": "news_game"},
    ]


def tagged(labels):
    """Two texts, the second one without entities, and the logits that say so."""
    rows = (Row("ab cd ef", None, None, 1), Row("gh", None, None, 2))
    spans = np.int32([[-1, -1], [0, 2], [3, 5], [6, 8], [-1, -1], [-1, -1], [0, 2], [-1, -1]])
    ids = np.zeros(8, np.int32)
    examples = Examples(ids, ids, np.int64([0, 5, 8]), origin=Origin(np.arange(2), spans))
    said = [0, labels.index("B-name"), labels.index("E-name"), labels.index("S-game"), 0, 0, 0, 0]
    return rows, examples, np.eye(len(labels), dtype=np.float32)[said]


def test_tags_are_answered_with_the_places_of_their_entities(tmp_path):
    for name, lines in (
        (
            "CLUENER",
            [
                {"id": 7, "label": {"name": {"ab cd": [[0, 4]]}, "game": {"ef": [[6, 7]]}}},
                {"id": 8, "label": {}},
            ],
        ),
        (
            "custom",
            [
                {"id": 7, "text": "ab cd ef", "entities": [[0, 5, "name"], [6, 8, "game"]]},
                {"id": 8, "text": "gh", "entities": []},
            ],
        ),
    ):
        labels = get_task("CLUENER").labels
        rows, examples, logits = tagged(labels)
        test_set = TestSet("test", examples, ("7", "8"), labels, 0, rows)
        described = Description(BERT, TAGGING, len(labels), labels)
        (path,) = write_predictions(str(tmp_path), get_task(name), described, test_set, logits)
        with open(path, encoding="utf-8") as file:
            assert [json.loads(line) for line in file] == lines
        with pytest.raises(UserError, match="give the raw files"):
            write_predictions(str(tmp_path), get_task(name), described, replace(test_set, rows=()), logits)


def test_questions_are_answered_in_squads_layout(tmp_path):
    texts = tuple({"id": name, "text": "ab cd", "answers": None} for name in ("q1", "q2"))
    parts = []
    for text in texts:  # in two parts, as long test sets are read
        ids = np.zeros(5, np.int32)
        spans = np.int32([[-1, -1], [-1, -1], [0, 2], [3, 5], [-1, -1]])
        parts.append(
            Examples(ids, ids, np.int64([0, 5]), origin=Origin(np.zeros(1, np.int64), spans, (text,)))
        )
    logits = np.zeros((10, 2), np.float32)
    logits[2], logits[8, 0], logits[8, 1] = 5, 5, 5  # the first word, then the second one
    test_set = TestSet("test", concatenate(parts), ("0", "1"), ())
    task = get_task("SQuAD")
    paths = write_predictions(str(tmp_path), task, Description(BERT, task.kind, 2), test_set, logits)
    assert [path.rpartition("/")[2] for path in paths] == ["predictions.json", "nbest_predictions.json"]
    assert json.loads((tmp_path / "predictions.json").read_text()) == {"q1": "ab", "q2": "cd"}


def test_scores_have_three_decimals_and_stay_between_0_and_5(tmp_path):
    found = write(tmp_path, "STS-B", [[-0.2], [3.14159], [5.0004]])
    assert found == ("STS-B.tsv", "index\tprediction\n0\t0.000\n1\t3.142\n2\t5.000\n")
