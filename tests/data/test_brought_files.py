"""Files as people bring them: labels that are none, numbers as text, other names of columns, lost shards."""

import json
from decimal import Decimal

import pytest

from src.data.readers.files import check_parts, find_source, require_source
from src.data.readers.labels import discover_labels
from src.data.readers.rows import BadRows, tidy_label
from src.data.readers.split import read_split
from src.errors import UserError
from src.kinds import CLASSIFICATION, REGRESSION
from src.tasks import get_task

NLI_PAIR = {"premise": "a fox", "hypothesis": "a dog"}


def write(folder, name, *lines, end="\n"):
    (folder / name).write_bytes("".join(f"{line}{end}" for line in lines).encode())


def json_lines(folder, name, *rows):
    write(folder, name, *map(json.dumps, rows))


def kind_of(folder, bad_rows=None):
    task = get_task("custom")
    return discover_labels(task, require_source(str(folder), "train", task.source.formats), (), bad_rows)


def read(task_name, folder, stem="train", names=None, skip=False):
    """[(text, second text, label)], and how many rows were left out."""
    task, bad_rows = get_task(task_name), BadRows(skip)
    source = require_source(str(folder), stem, task.source.formats)
    labels = (CLASSIFICATION, names) if names else discover_labels(task, source, (), BadRows(skip))
    rows = read_split(task, source, *labels, bad_rows, test=stem.startswith("test"))
    return [tuple(row)[:3] for row in rows], bad_rows.count


def fault(*args, **kwargs):
    with pytest.raises(UserError) as error:
        read(*args, **kwargs)
    return str(error.value)


# --- labels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label, expected",
    [
        (" good ", "good"),
        ("", None),
        (" \t", None),
        (None, None),
        (float("nan"), None),
        (Decimal("NaN"), None),
        (Decimal("3"), 3),
        (Decimal("3.00"), 3),
        (Decimal("2.50"), 2.5),
        (1, 1),
        (0.0, 0),
        (-2.0, -2),
        (1e-5, 1e-5),
        (float("inf"), float("inf")),
        ([1], [1]),
    ],
)
def test_a_label_is_what_its_file_means(label, expected):
    found = tidy_label(label)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize("label", ["", "  ", None, float("nan")])
def test_a_row_without_a_label_is_refused_with_its_line_or_left_out(tmp_path, label):
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": label}, {"text": "c", "label": "y"}]
    json_lines(tmp_path, "train.jsonl", *rows, {"text": "no label at all"})
    assert "train.jsonl, line 2: the label is empty or missing; --skip_bad_rows" in fault("custom", tmp_path)
    assert read("custom", tmp_path, skip=True) == ([("a", None, 0), ("c", None, 1)], 2)
    assert kind_of(tmp_path, BadRows(True)) == (CLASSIFICATION, ("x", "y"))


@pytest.mark.parametrize(
    "task_name, pair", [("MNLI", NLI_PAIR), ("RTE", {"sentence1": "a", "sentence2": "b"})]
)
@pytest.mark.parametrize("label", ["-", -1, "-1", -1.0, "-1.0", " - "])
def test_marks_of_no_agreement_are_left_out(tmp_path, task_name, pair, label):
    json_lines(tmp_path, "train.jsonl", {**pair, "label": label}, {**pair, "label": 1})
    assert "line 1: the label is" in fault(task_name, tmp_path)
    rows, skipped = read(task_name, tmp_path, skip=True)
    assert [row[2] for row in rows] == [1] and skipped == 1


@pytest.mark.parametrize(
    "labels, found",
    [(("yes", "-", "no"), ("no", "yes")), (("1", "-", "0"), ("0", "1")), ((1, "-", 0), ("0", "1"))]
    + [(("0.5", "-", "2"), ())],
)
def test_a_dash_among_own_labels_is_none_unless_it_is_named(tmp_path, labels, found):
    json_lines(tmp_path, "train.jsonl", *[{"text": "a", "label": label} for label in labels])
    assert "line 2: the label is -, which" in fault("custom", tmp_path)
    assert kind_of(tmp_path, BadRows(True))[1] == found
    assert read("custom", tmp_path, skip=True)[1] == 1
    assert read("custom", tmp_path, names=(*map(str, labels),)) == ([("a", None, n) for n in range(3)], 0)


@pytest.mark.parametrize("word", ["nan", "NaN", "NULL", "None", "n/a", "N/A", "NA", "<NA>", '""', "\\N", "-"])
@pytest.mark.parametrize(
    "others, found", [(("yes", "no"), ("no", "yes")), (("1", "0.5"), ()), (("1", "0"), ("0", "1"))]
)
def test_words_for_a_missing_label_are_none_unless_they_are_named(tmp_path, word, others, found):
    write(tmp_path, "train.tsv", "text\tlabel", *[f"a\t{label}" for label in (others[0], word, others[1])])
    message = fault("custom", tmp_path)
    assert f"line 3: the label is {word}, which usually says that there is none" in message
    assert "--skip_bad_rows" in message and "--labels" in message
    assert kind_of(tmp_path, BadRows(True))[1] == found
    assert read("custom", tmp_path, skip=True)[1] == 1
    rows, skipped = read("custom", tmp_path, names=(*others, word))
    assert [row[2] for row in rows] == [0, 2, 1] and skipped == 0


@pytest.mark.parametrize("word", ["NaN", "null", "N/A"])
def test_words_for_a_missing_label_in_a_benchmarks_files(tmp_path, word):
    write(tmp_path, "train.tsv", "sentence\tlabel", f"a\t{word}", "b\t1")
    assert f"line 2: the label is {word}, which says that there is none" in fault("SST-2", tmp_path)
    assert read("SST-2", tmp_path, skip=True) == ([("b", None, 1)], 1)
    write(tmp_path, "test.tsv", "sentence\tlabel", f"a\t{word}", f"b\t{word}")
    assert [row[2] for row in read("SST-2", tmp_path, "test", ("no", "yes"))[0]] == [None, None]


@pytest.mark.parametrize(
    "label, number", [("Entailment", 0), ("NEUTRAL", 1), (" contradiction ", 2), ("1.0", 1)]
)
def test_a_benchmarks_labels_in_other_capitals(tmp_path, label, number):
    json_lines(tmp_path, "train.jsonl", {**NLI_PAIR, "label": label})
    assert read("MNLI", tmp_path) == ([("a fox", "a dog", number)], 0)


def test_signs_may_be_classes(tmp_path):
    json_lines(tmp_path, "train.jsonl", *[{"text": "a", "label": label} for label in "+-"])
    assert kind_of(tmp_path) == (CLASSIFICATION, ("+", "-"))
    assert [row[2] for row in read("custom", tmp_path)[0]] == [0, 1]


@pytest.mark.parametrize("label", [-1, "-1", -1.0, "", None])
def test_a_test_set_may_keep_its_labels_back_in_any_of_these_ways(tmp_path, label):
    json_lines(tmp_path, "test.jsonl", {"sentence": "a", "label": label}, {"sentence": "b", "label": label})
    assert [row[2] for row in read("SST-2", tmp_path, "test", ("no", "yes"))[0]] == [None, None]


@pytest.mark.parametrize(
    "train, dev",
    [
        ((1, 2, 3), 0),
        ((1, 2, 3), "4"),
        (("1", "2", "3"), 0),
        ((0, 1, 2), 3),
        (("good", "bad"), "Good"),
        (("good", "bad"), "fine"),
        (("good", "bad"), 2),
        (("0", "1"), "1.5"),
    ],
)
def test_a_label_that_the_training_data_lack_is_refused(tmp_path, train, dev):
    json_lines(tmp_path, "train.jsonl", *[{"text": "a", "label": label} for label in train])
    json_lines(tmp_path, "dev.jsonl", {"text": "a", "label": dev})
    names = kind_of(tmp_path)[1]
    for skip in (False, True):
        message = fault("custom", tmp_path, "dev", names, skip)
        assert "dev.jsonl, line 1: the label" in message and "is none of" in message


@pytest.mark.parametrize(
    "labels, expected",
    [
        (("3.5", "1", "0.25"), (REGRESSION, ())),
        ((3.5, "1"), (REGRESSION, ())),
        (("10", "9", "-1"), (CLASSIFICATION, ("-1", "9", "10"))),
        ((1, "2", "1"), (CLASSIFICATION, ("1", "2"))),
        (("1.0", "0.0"), (CLASSIFICATION, ("0", "1"))),
        (("0", "other"), (CLASSIFICATION, ("0", "other"))),
        (("1e5", "2"), (CLASSIFICATION, ("2", "100000"))),
        (("1e-05", "2"), (REGRESSION, ())),
        ((".5", "+0.5", "-.25E+1"), (REGRESSION, ())),
        (("+1", "-1"), (CLASSIFICATION, ("-1", "1"))),
        (("1.", "0."), (CLASSIFICATION, ("0", "1"))),
        (("-0.0", "0", "1"), (CLASSIFICATION, ("0", "1"))),
        ((0.0, 1.0), (CLASSIFICATION, ("0", "1"))),
        ((0.0, "1", 2), (CLASSIFICATION, ("0", "1", "2"))),
        ((0.0, 0.5), (REGRESSION, ())),
        (("1e5 km", "e5", "."), (CLASSIFICATION, (".", "1e5 km", "e5"))),
    ],
)
def test_numbers_written_as_text(tmp_path, labels, expected):
    json_lines(tmp_path, "train.jsonl", *[{"text": "a", "label": label} for label in labels])
    assert kind_of(tmp_path) == expected
    write(tmp_path, "train.tsv", "text\tlabel", *[f"a\t{label}" for label in labels])
    (tmp_path / "train.jsonl").unlink()
    assert kind_of(tmp_path) == expected


def test_classes_and_scores_are_the_same_as_text_and_as_numbers(tmp_path):
    json_lines(tmp_path, "train.jsonl", {"text": "a", "label": 0}, {"text": "b", "label": 1})
    rows = [{"text": "a", "label": label} for label in ("1", 1, "1.0", 1.0, " 1 ")]
    json_lines(tmp_path, "dev.jsonl", *rows)
    assert {row[2] for row in read("custom", tmp_path, "dev", kind_of(tmp_path)[1])[0]} == {1}
    pair = {"sentence1": "a", "sentence2": "b"}
    json_lines(tmp_path, "train.jsonl", {**pair, "label": "3.8"}, {**pair, "score": 2})
    assert read("STS-B", tmp_path, skip=True) == ([("a", "b", 3.8)], 1)


# --- columns ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "task_name, row, expected",
    [
        ("SST-2", {"sentence": "a", "label": 1, "idx": 0}, ("a", None, 1)),
        ("SST-2", {"text": "a", "label": "positive"}, ("a", None, 1)),
        ("CoLA", {"sentence": "a", "label": 1}, ("a", None, 1)),
        ("MRPC", {"sentence1": "a", "sentence2": "b", "label": 1}, ("a", "b", 1)),
        ("STS-B", {"sentence1": "a", "sentence2": "b", "label": 2.5}, ("a", "b", 2.5)),
        ("STS-B", {"sentence1": "a", "sentence2": "b", "score": "2.5"}, ("a", "b", 2.5)),
        ("QQP", {"question1": "a", "question2": "b", "label": 0}, ("a", "b", 0)),
        ("QQP", {"question1": "a", "question2": "b", "is_duplicate": "1"}, ("a", "b", 1)),
        ("MNLI", {**NLI_PAIR, "label": 2}, ("a fox", "a dog", 2)),
        ("MNLI", {"sentence1": "a", "sentence2": "b", "gold_label": "neutral"}, ("a", "b", 1)),
        ("QNLI", {"question": "a", "sentence": "b", "label": 1}, ("a", "b", 1)),
        ("RTE", {"text": "a", "text_pair": "b", "label": 0}, ("a", "b", 0)),
        ("TNEWS", {"sentence": "a", "label": "100"}, ("a", None, 0)),
        ("TNEWS", {"text": "a", "label": "news_culture"}, ("a", None, 1)),
        ("custom", {"text": "a", "sentence": "other", "label": "x"}, ("a", None, 0)),
        ("custom", {"text": "a", "text_pair": "", "label": "x"}, ("a", None, 0)),
        ("custom", {"sentence": "a", "label": "x"}, ("a", None, 0)),
        ("custom", {"sentence1": "a", "sentence2": "b", "label": "x"}, ("a", "b", 0)),
        ("custom", {**NLI_PAIR, "label": "x"}, ("a fox", "a dog", 0)),
        ("custom", {"question": "a", "sentence": "b", "label": "x"}, ("a", "b", 0)),
        ("custom", {"question": "a", "label": "x"}, ("a", None, 0)),
    ],
)
def test_texts_under_hugging_faces_names(tmp_path, task_name, row, expected):
    names = ("x", "y") if task_name == "custom" else None
    json_lines(tmp_path, "train.jsonl", row)
    assert read(task_name, tmp_path, names=names) == ([expected], 0)
    if task_name not in ("TNEWS", "CoLA"):
        write(tmp_path, "train.tsv", "\t".join(row), "\t".join(str(value) for value in row.values()))
        (tmp_path / "train.jsonl").unlink()
        assert read(task_name, tmp_path, names=names) == ([expected], 0)


@pytest.mark.parametrize(
    "task_name, row, words",
    [
        ("MRPC", {"a": "x", "b": "y", "label": 1}, ("sentence1 and sentence2, or text and text_pair",)),
        ("MRPC", {"sentence1": "x", "label": 1}, ('"sentence2" is missing',)),
        ("custom", {"review": "x", "label": "y"}, ('"text" is missing', "sentence1 and sentence2")),
        (
            "custom",
            {"text": "x", "labels": 1},
            ('"label" or "entities" is missing; its keys are text, labels',),
        ),
        ("SST-2", {"text": "x", "sentiment": 1}, ('"label" is missing; its keys are text, sentiment',)),
        ("SST-2", {"text": "x", "text_pair": "y", "label": 1}, ("one text a row",)),
    ],
)
def test_the_names_that_are_wanted_are_named(tmp_path, task_name, row, words):
    json_lines(tmp_path, "train.jsonl", row)
    message = fault(task_name, tmp_path, names=("x", "y"))
    assert all(word in message for word in ("train.jsonl, line 1: ", *words)), message


def test_json_lines_called_json(tmp_path):
    json_lines(tmp_path, "train.json", {"sentence": "a", "label": 1})
    assert read("SST-2", tmp_path) == ([("a", None, 1)], 0)
    json_lines(tmp_path, "train.json", *[{"text": "a", "label": "x"}] * 2)
    assert "call it .jsonl" in fault("custom", tmp_path)


# --- lines --------------------------------------------------------------------------------------------------


def test_lines_that_end_with_carriage_returns_only(tmp_path):
    write(tmp_path, "train.tsv", "sentence\tlabel", "a\u2028b\t1", "", "c\t0", end="\r")
    assert read("SST-2", tmp_path) == ([("a\u2028b", None, 1), ("c", None, 0)], 0)
    (tmp_path / "train.tsv").unlink()
    write(tmp_path, "train.jsonl", '{"sentence": "a", "label": 1}', '{"sentence": "c", "label": 2}', end="\r")
    assert "train.jsonl, line 2: the label '2'" in fault("SST-2", tmp_path, names=("x", "y"))


LONG = "word " * 4000


@pytest.mark.parametrize(
    "name, content",
    [
        ("train.tsv", LONG),
        ("train.tsv", "\t".join(LONG.split())),
        ("train.tsv", f"text\tlabel\na\tx\n{LONG}"),
        ("train.jsonl", LONG),
        ("train.jsonl", json.dumps({"text": "a", "label": [LONG]})),
        ("train.jsonl", json.dumps({LONG: "a"})),
        ("train.jsonl", json.dumps({"text": "a", "entities": [[0, 1, LONG]]})),
        ("train.jsonl", json.dumps({"text": "a", "entities": [[0, LONG, "x"]]})),
        ("train.conll", f"word\t{LONG.strip()}\n"),
        ("train.conll", LONG),
        ("train.json", LONG),
        ("train.json", json.dumps({"data": LONG})),
    ],
)
def test_messages_are_short_whatever_a_line_holds(tmp_path, name, content):
    (tmp_path / name).write_text(content + "\n")
    message = fault("custom", tmp_path)
    assert name in message and len(message) - len(str(tmp_path)) < 500
    assert message.count("word") <= 40  # 200 characters


def test_names_of_classes_are_cut_in_messages_too(tmp_path):
    rows = [{"text": "a", "label": f"{number} {LONG}"} for number in range(40)]
    json_lines(tmp_path, "train.jsonl", *rows)
    json_lines(tmp_path, "dev.jsonl", {"text": "a", "label": LONG})
    assert fault("custom", tmp_path, "dev", kind_of(tmp_path)[1]).count("word") <= 60


# --- parts of a split ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names, message",
    [
        (("train-00000-of-00002.parquet",), "one of 2 files of its split, of which part 1 is missing"),
        (("train-00001-of-00002.parquet",), "part 0 is missing"),
        (
            ("train-00000-of-00005-0a1b.parquet", "train-00003-of-00005-99ff.parquet"),
            "part 1, 2, 4 is missing",
        ),
        (("train-00000-of-00001.parquet", "train-00000-of-00002.parquet"), "part 1 is missing"),
        (("train-0-of-1-aa.parquet", "train-0-of-1-bb.parquet"), "a part is there twice"),
        (("train.parquet", "train-00000-of-00001.parquet"), "lie side by side"),
        (("train.tf_record-00001-of-00002",), "part 0 is missing"),
        (
            ("train-00000-of-99999999999.parquet",),
            "one of 99999999999 files of its split, of which part 1, 2,",
        ),
    ],
)
def test_a_lost_part_of_a_split_is_missed(names, message):
    with pytest.raises(UserError, match=message):
        check_parts([f"data/{name}" for name in names])


def test_whole_sets_of_parts(tmp_path):
    check_parts(["train.parquet"])
    check_parts(["train-1-of-2.parquet", "train-2-of-2.parquet"])
    check_parts(["wiki-0-of-1.tfrecord", "books-0-of-2.tfrecord", "books-1-of-2.tfrecord", "more.tfrecord"])
    (tmp_path / "train-00000-of-00002.parquet").write_bytes(b"x")
    with pytest.raises(UserError, match="part 1 is missing"):
        find_source(str(tmp_path), "train", get_task("SST-2").source.formats)


# --- SQL decimals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values, expected",
    [(("1", "0", "1"), (CLASSIFICATION, ("0", "1"))), (("1.50", "0.25", "2.00"), (REGRESSION, ()))],
)
def test_decimal_columns(tmp_path, values, expected):
    pyarrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    from pyarrow import parquet

    column = pyarrow.array([Decimal(value) for value in values], pyarrow.decimal128(9, 2))
    parquet.write_table(pyarrow.table({"text": ["a"] * 3, "label": column}), tmp_path / "train.parquet")
    assert kind_of(tmp_path) == expected
    rows, _ = read("custom", tmp_path)
    assert [row[2] for row in rows] == [float(value) for value in values]
