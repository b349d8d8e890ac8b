"""Questions from files in SQuAD's layout to records' rows; every text is made up."""

import json

import numpy as np
import pytest

from src.data import origins
from src.data.readers.files import find_source
from src.data.readers.labels import discover_labels
from src.data.readers.rows import BadRows
from src.data.readers.split import read_split
from src.errors import UserError
from src.examples import Examples, Origin
from src.kinds import SPAN, SPAN_OR_NONE
from src.tasks import get_task

CONTEXT = "Mara keeps nine bees. Her brother Olin keeps a goat called Tufts."


def question(name, answer, **more):
    answers = [{"text": answer, "answer_start": CONTEXT.find(answer)}] if answer else []
    return {"id": name, "question": f"what about {name}?", "answers": answers, **more}


def write(folder, name, *questions, **paragraph):
    paragraphs = [{"context": CONTEXT, "qas": list(questions), **paragraph}]
    (folder / name).write_text(json.dumps({"version": "x", "data": [{"paragraphs": paragraphs}]}))


def read(folder, task="SQuAD", stem="train", skip=False, test=False):
    """(kind, rows, BadRows)"""
    task, bad_rows = get_task(task), BadRows(skip)
    source = find_source(str(folder), stem, task.source.formats)
    kind, names = discover_labels(task, source, (), BadRows(skip))
    return kind, list(read_split(task, source, kind, names, bad_rows, test)), bad_rows


def refusal(folder, *args, **kwargs):
    with pytest.raises(UserError) as error:
        read(folder, *args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_question_is_a_row_with_its_context_and_all_right_answers(tmp_path):
    first = question("q1", "nine bees")
    first["answers"].append({"text": "bees", "answer_start": 16})
    write(tmp_path, "train-v1.1.json", first, question("q2", "Tufts"))
    kind, rows, _ = read(tmp_path)
    assert (
        kind is SPAN and [row.id for row in rows] == ["q1", "q2"] and [r.line_number for r in rows] == [1, 2]
    )
    assert rows[0].text == "what about q1?" and rows[0].text_pair == CONTEXT
    assert rows[0].label == ((11, "nine bees"), (16, "bees"))


def test_files_are_found_by_the_tasks_version_or_a_plain_name(tmp_path):
    write(tmp_path, "train-v1.1.json", question("old", "Mara"))
    write(tmp_path, "train-v2.0.json", question("new", "", is_impossible=True))
    write(tmp_path, "dev.json", question("dev", "goat"))
    assert [row.id for row in read(tmp_path)[1]] == ["old"]
    kind, rows, _ = read(tmp_path, "SQuAD2")
    assert kind is SPAN_OR_NONE and [(row.id, row.label) for row in rows] == [("new", ())]
    assert [row.id for row in read(tmp_path, "SQuAD", "dev")[1]] == ["dev"]
    assert "several files could be the train set" in refusal(tmp_path, "custom")


def test_own_questions_are_of_version_2_where_one_has_no_answer(tmp_path):
    write(tmp_path, "train.json", question("q1", "Mara"), question("q2", "Tufts", is_impossible=False))
    assert read(tmp_path, "custom")[0] is SPAN
    write(tmp_path, "train.json", question("q1", "Mara"), question("q2", "", is_impossible=True))
    assert read(tmp_path, "custom")[0] is SPAN_OR_NONE
    line = refusal(tmp_path)
    assert "train.json, question q2: it has no answer" in line and "SQuAD2" in line


def test_a_test_set_may_keep_its_answers(tmp_path):
    asked = question("q1", "")
    del asked["answers"]
    write(tmp_path, "test.json", asked)
    _, (row,), _ = read(tmp_path, stem="test", test=True)
    assert row.label is None
    assert 'question q1: "answers" is missing' in refusal(tmp_path, stem="test")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"answers": [{"text": "Tufts", "answer_start": 3}]}, "'Tufts' is not at character 3 of its context"),
        (
            {"answers": [{"text": "Tufts", "answer_start": -6}]},
            "not at character -6 of its context, where noth",
        ),
        ({"answers": [{"text": "Mara", "answer_start": "0"}]}, '"answer_start", a whole number'),
        ({"answers": [{"answer_start": 0}]}, 'an answer needs its "text"'),
        ({"answers": "Mara"}, '"answers" is missing or no list'),
        ({"is_impossible": True}, '"is_impossible" is True, but it has 1 answers'),
        ({"question": " "}, '"question" is missing or empty'),
        ({"id": "q1"}, "its id stands there twice"),
    ],
)
def test_a_malformed_question_is_named_or_skipped(tmp_path, changes, words):
    write(tmp_path, "train.json", question("q1", "Mara"), {**question("q7", "Mara"), **changes})
    line = refusal(tmp_path)
    assert f"train.json, question {changes.get('id', 'q7')}: " in line and words in line
    assert line.endswith("--skip_bad_rows skips such rows")
    _, rows, bad_rows = read(tmp_path, skip=True)
    assert [row.id for row in rows] == ["q1"] and bad_rows.count == 1


def test_questions_without_context_or_id_and_files_of_another_layout(tmp_path):
    write(tmp_path, "train.json", question("q1", ""), context=None)
    assert "train.json, question q1: its paragraph has no context" in refusal(tmp_path)
    write(tmp_path, "train.json", {**question("q1", "Mara"), "id": 7})
    assert 'train.json, data[0].paragraphs[0].qas[0]: "id" is missing or no text' in refusal(tmp_path)
    write(tmp_path, "train.json", {**question("q1", "Mara"), "id": "\ud800"})
    assert '"id" is missing or no text' in refusal(tmp_path)
    (tmp_path / "train.json").write_text('{"data": [{"paragraphs": ["x"]}]}')
    assert 'train.json: data[0].paragraphs[0] has no list "qas"' in refusal(tmp_path)
    write(tmp_path, "train.json", qas=None)
    assert 'train.json: data[0].paragraphs[0] has no list "qas"' in refusal(tmp_path)
    for content, words in (("[1]", 'its object has no list "data"'), ('{"data"', "train.json is not JSON")):
        (tmp_path / "train.json").write_text(content)
        assert words in refusal(tmp_path)


# --- texts beside the records -------------------------------------------------------------------------------


def two_texts():
    spans = np.int32([[-1, -1], [0, 2], [-1, -1], [-1, -1], [2, 4], [-1, -1], [-1, -1], [-1, -1], [0, 3]])
    texts = ({"id": "a", "text": "né x", "answers": ["x"]}, {"id": "b", "text": "two\u2028", "answers": []})
    ids = np.zeros(9, np.int32)
    return Examples(ids, ids, np.int64([0, 3, 6, 9]), {}, Origin(np.int64([0, 0, 1]), spans, texts))


def test_texts_come_back_as_they_were_written(tmp_path):
    examples = two_texts()
    with open(origins.texts_file(tmp_path, "eval"), "w", encoding="utf-8", newline="\n") as file:
        origins.append_texts(file, examples)
    origin = origins.read_origin(tmp_path, "eval", examples)
    assert origin.texts == examples.origin.texts and origin.rows.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(origin.spans, examples.origin.spans)


def test_missing_damaged_and_foreign_texts_are_refused(tmp_path):
    def fault(content=None):
        if content is not None:
            (tmp_path / "eval.texts.jsonl").write_text(content)
        with pytest.raises(UserError, match="run prepare_data.py again") as error:
            origins.read_origin(tmp_path, "eval", two_texts())
        return str(error.value)

    assert "eval.texts.jsonl does not exist" in fault()
    assert "line 2 cannot be read" in fault('{"id":"a","text":"","answers":null,"rows":[]}\n{"id":\n')
    assert "line 1 must be an object of keys and values" in fault("3\n")
    assert "of other rows than the records" in fault('{"id":"a","text":"","answers":[],"rows":[[1,2]]}\n')
