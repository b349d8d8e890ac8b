"""Raw files to rows: every GLUE layout, parquet, JSON lines, and what is refused."""

import json

import pytest

from src.data.readers.files import count_rows, find_source, require_source
from src.data.readers.labels import discover_labels
from src.data.readers.rows import BadRows
from src.data.readers.split import read_split
from src.errors import UserError
from src.kinds import CLASSIFICATION, REGRESSION
from src.sources import ROW_FILES
from src.tasks import get_task

NLI_HEAD = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse"
    "\tsentence2_parse"
)


def write(folder, name, *lines, end="\n"):
    path = folder / name
    path.write_bytes(end.join(lines + ("",)).encode("utf-8"))
    return path


def read(task_name, folder, stem, names=(), skip=False):
    task = get_task(task_name)
    source = require_source(str(folder), stem, ROW_FILES)
    bad_rows = BadRows(skip)
    test = stem.startswith("test")
    labels = (CLASSIFICATION, names) if test and names else discover_labels(task, source, names)
    rows = read_split(task, source, *labels, bad_rows, test=test)
    return [tuple(row)[:3] for row in rows]


# --- GLUE's layouts -----------------------------------------------------------------------------------------

OFFICIAL = {
    "CoLA": (["src\t0\t*\tfoxes the", "src\t1\t\tthe fox"], [("foxes the", None, 0), ("the fox", None, 1)]),
    "SST-2": (["sentence\tlabel", "good fox \t1", "bad\t0"], [("good fox ", None, 1), ("bad", None, 0)]),
    "MRPC": (
        ["\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String", '1\t7\t8\t" A fox\ta fox'],
        [('" A fox', "a fox", 1)],
    ),
    "STS-B": (
        [
            "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
            "0\tg\tf\ty\t1\ts\ts\ta\tb\t3.250",
        ],
        [("a", "b", 3.25)],
    ),
    "QQP": (
        ["id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "5\t1\t2\tWhy?\tHow?\t0"],
        [("Why?", "How?", 0)],
    ),
    "QNLI": (
        ["index\tquestion\tsentence\tlabel", "0\tWho?\tA fox.\tnot_entailment"],
        [("Who?", "A fox.", 1)],
    ),
    "RTE": (["index\tsentence1\tsentence2\tlabel", "0\tA\tB\tentailment"], [("A", "B", 0)]),
    "WNLI": (["index\tsentence1\tsentence2\tlabel", "0\tA\tB\t1"], [("A", "B", 1)]),
    "MNLI": (
        [
            NLI_HEAD + "\tsentence1\tsentence2\tlabel1\tgold_label",
            "0\tp\tq\tg\tx\tx\tx\tx\tA\tB\tneutral\tcontradiction",
        ],
        [("A", "B", 2)],
    ),
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("task_name", OFFICIAL)
def test_official_training_files(tmp_path, task_name, end):
    lines, rows = OFFICIAL[task_name]
    write(tmp_path, "train.tsv", *lines, end=end)
    assert read(task_name, tmp_path, "train") == rows


def test_mnli_has_two_dev_sets_with_more_columns(tmp_path):
    head = NLI_HEAD + "\tsentence1\tsentence2\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label"
    row = "0\tp\tq\tg\tx\tx\tx\tx\t{}\tB\tneutral\tneutral\tneutral\tentailment\tneutral\tneutral"
    write(tmp_path, "dev_matched.tsv", head, row.format("one"))
    write(tmp_path, "dev_mismatched.tsv", head, row.format("two"))
    assert read("MNLI", tmp_path, "dev_matched") == [("one", "B", 1)]
    assert read("MNLI", tmp_path, "dev_mismatched") == [("two", "B", 1)]


@pytest.mark.parametrize(
    "task_name, header, line, row",
    [
        ("CoLA", "index\tsentence", "0\tthe fox", ("the fox", None, None)),
        ("SST-2", "index\tsentence", "0\tthe fox", ("the fox", None, None)),
        ("MRPC", "index\t#1 ID\t#2 ID\t#1 String\t#2 String", "0\t1\t2\ta\tb", ("a", "b", None)),
        ("QQP", "id\tquestion1\tquestion2", "0\ta\tb", ("a", "b", None)),
    ],
)
def test_test_files_have_no_labels(tmp_path, task_name, header, line, row):
    write(tmp_path, "test.tsv", header, line)
    assert read(task_name, tmp_path, "test") == [row]


def test_quotation_marks_and_odd_line_separators_are_data(tmp_path):
    lines = ['"open', "a\u2028b", "c\rd", 'say ""x""', ""]
    write(tmp_path, "train.tsv", "sentence\tlabel", *[f"{line}\t1" for line in lines])
    assert [row[0] for row in read("SST-2", tmp_path, "train")] == lines


def test_last_line_may_lack_its_end_and_blank_lines_do_not_count(tmp_path):
    path = write(tmp_path, "train.tsv", "sentence\tlabel", "", "a\t1", "b\t0")
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    task, source = get_task("SST-2"), find_source(str(tmp_path), "train", ROW_FILES)
    rows = list(read_split(task, source, *discover_labels(task, source), BadRows()))
    assert [(row.text, row.line_number) for row in rows] == [("a", 3), ("b", 4)]
    assert abs(count_rows(source) - 3) <= 1


# --- bad input ----------------------------------------------------------------------------------------------


def test_malformed_row_is_named_or_counted(tmp_path):
    path = write(tmp_path, "train.tsv", "sentence\tlabel", "good\t1", "torn", "a\tb\t1")
    with open(path, "ab") as file:
        file.write(b"caf\xe9\t1\nlast\t0\n")
    with pytest.raises(
        UserError, match="train.tsv, line 3: 1 tab-separated fields instead of 2; --skip_bad_rows"
    ):
        read("SST-2", tmp_path, "train")
    task, source, bad_rows = (
        get_task("SST-2"),
        find_source(str(tmp_path), "train", ROW_FILES),
        BadRows(skip=True),
    )
    rows = list(read_split(task, source, *discover_labels(task, source), bad_rows))
    assert (
        [row.text for row in rows] == ["good", "last"] and bad_rows.count == 3 and "line 3" in bad_rows.first
    )


@pytest.mark.parametrize("skip", [False, True])
def test_label_outside_the_map_is_an_error_and_never_skipped(tmp_path, skip):
    write(tmp_path, "train.tsv", "sentence\tlabel", "a\t1", "b\t2")
    with pytest.raises(UserError, match="line 3: the label '2' is none of negative, positive"):
        read("SST-2", tmp_path, "train", skip=skip)


def test_labels_match_a_name_or_an_index():
    names = ("entailment", "not_entailment")
    found = [CLASSIFICATION.parse_label(value, names, "x") for value in ("not_entailment", "0", 1)]
    assert found == [1, 0, 1]
    assert CLASSIFICATION.parse_label("1", ("1", "2"), "x") == 0  # a name goes before an index
    assert [CLASSIFICATION.parse_label(value, names, "x") for value in ("1.0", 0.0, "0.00")] == [1, 0, 0]
    for value in ("2", "-1", -1, "", "1.5", True, "²"):
        with pytest.raises(UserError, match="x: the label"):
            CLASSIFICATION.parse_label(value, names, "x")
    assert [REGRESSION.parse_label(value, (), "x") for value in ("2.5", 3, -1.5)] == [2.5, 3.0, -1.5]
    for value in ("nan", "inf", "high", "", True, float("nan")):
        with pytest.raises(UserError, match="is not a number"):
            REGRESSION.parse_label(value, (), "x")


def test_a_pair_that_the_annotators_did_not_agree_on_is_a_malformed_row(tmp_path):
    write(tmp_path, "train.tsv", "sentence1\tsentence2\tgold_label", "a\tb\t-", "c\td\tneutral")
    with pytest.raises(
        UserError, match="line 2: the label is -, which says .* did not agree .*; --skip_bad_rows"
    ):
        read("MNLI", tmp_path, "train")
    assert read("MNLI", tmp_path, "train", skip=True) == [("c", "d", 1)]


def test_a_row_that_nobody_labelled_is_a_malformed_row(tmp_path):
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": ""}, {"text": "c", "label": "y"}]
    json_lines(tmp_path, "train.jsonl", *rows)
    with pytest.raises(UserError, match="line 2: the label is empty or missing; --skip_bad_rows"):
        read("custom", tmp_path, "train")
    task, source = get_task("custom"), find_source(str(tmp_path), "train", ROW_FILES)
    assert discover_labels(task, source, bad_rows=BadRows(True)) == (CLASSIFICATION, ("x", "y"))


def test_missing_column_lists_those_there_are(tmp_path):
    write(tmp_path, "train.tsv", "text\tlabel", "a\t1")
    write(tmp_path, "train.tsv", "review\tlabel", "a\t1")
    with pytest.raises(
        UserError, match="no column sentence, which SST-2 needs .*; its columns are review, label"
    ):
        read("SST-2", tmp_path, "train")


def test_missing_empty_and_ambiguous_files(tmp_path):
    with pytest.raises(UserError, match="not a folder"):
        require_source(str(tmp_path / "nowhere"), "train", ROW_FILES)
    write(tmp_path, "other.tsv", "x")
    with pytest.raises(UserError, match="no dev set; looked for dev.tsv.*it holds other.tsv"):
        require_source(str(tmp_path), "dev", ROW_FILES)
    assert find_source(str(tmp_path), "test", ROW_FILES) is None
    (tmp_path / "train.tsv").write_bytes(b"")
    with pytest.raises(UserError, match="train.tsv is empty"):
        require_source(str(tmp_path), "train", ROW_FILES)
    write(tmp_path, "train.tsv", "sentence\tlabel")
    with pytest.raises(UserError, match="holds no rows"):
        read("SST-2", tmp_path, "train")
    write(tmp_path, "train.jsonl", "{}")
    with pytest.raises(UserError, match="several files could be the train set"):
        require_source(str(tmp_path), "train", ROW_FILES)


# --- JSON lines ---------------------------------------------------------------------------------------------


def json_lines(folder, name, *rows):
    return write(folder, name, *[json.dumps(row, ensure_ascii=False) for row in rows])


def test_own_data_takes_its_labels_from_the_training_file(tmp_path):
    json_lines(
        tmp_path,
        "train.jsonl",
        {"text": "中", "label": "no"},
        {"text": "a\tb", "text_pair": "c", "label": "maybe"},
    )
    assert read("custom", tmp_path, "train") == [("中", None, 1), ("a\tb", "c", 0)]
    assert read("custom", tmp_path, "train", names=("no", "maybe")) == [("中", None, 0), ("a\tb", "c", 1)]


def test_own_whole_number_labels_are_sorted_by_value(tmp_path):
    json_lines(tmp_path, "train.jsonl", *[{"text": "a", "label": label} for label in (10, 9, -1)])
    labels = discover_labels(get_task("custom"), find_source(str(tmp_path), "train", ROW_FILES))
    assert labels == (CLASSIFICATION, ("-1", "9", "10"))


def test_own_numbers_with_a_decimal_point_make_a_regression(tmp_path):
    json_lines(tmp_path, "train.jsonl", {"text": "a", "label": 1}, {"text": "b", "label": 0.5})
    assert discover_labels(get_task("custom"), find_source(str(tmp_path), "train", ROW_FILES)) == (
        REGRESSION,
        (),
    )
    assert read("custom", tmp_path, "train") == [("a", None, 1.0), ("b", None, 0.5)]


@pytest.mark.parametrize(
    "labels, message",
    [
        (("a", 1), "of another kind"),
        ((0.5, "a"), "of another kind"),
        (("a", None), "the label is empty or missing; --skip_bad_rows"),
        (("1.5", "high"), "of another kind"),
        (("a", True), "must be a string or a number"),
        (("a", "a"), "two or more different labels"),
    ],
)
def test_own_labels_that_make_no_task(tmp_path, labels, message):
    json_lines(tmp_path, "train.jsonl", *[{"text": "x", "label": label} for label in labels])
    with pytest.raises(UserError, match=message):
        read("custom", tmp_path, "train")


@pytest.mark.parametrize(
    "line, message",
    [
        ("no json", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ('{"label": "a"}', '"text" is missing'),
        ('{"text": 3, "label": "a"}', '"text" is missing or no string'),
        ('{"text": "x", "text_pair": 1}', "no string"),
        ('{"text": "\\ud83d", "label": "a"}', "surrogate"),
        ('{"text": "x", "label": "\\ud83d"}', "label holds half a surrogate"),
        pytest.param("[" * 100_000, "not a JSON object", id="deep"),
    ],
)
def test_malformed_json_lines(tmp_path, line, message):
    write(tmp_path, "train.jsonl", '{"text": "x", "label": "a"}', line)
    with pytest.raises(UserError, match=f"train.jsonl, line 2: .*{message}"):
        read("custom", tmp_path, "train", names=("a", "b"))
    assert read("custom", tmp_path, "train", names=("a", "b"), skip=True) == [("x", None, 0)]


def test_json_lines_for_a_glue_task(tmp_path):
    json_lines(
        tmp_path,
        "validation.jsonl",
        {"text": "a", "text_pair": "b", "label": "neutral"},
        {"text": "a", "text_pair": "b", "label": 2},
    )
    # A plain name serves, for want of the official one.
    assert [row[2] for row in read("MNLI", tmp_path, "dev_matched")] == [1, 2]
    assert find_source(str(tmp_path), "dev_mismatched", ROW_FILES) is None
    with pytest.raises(UserError, match="one text a row"):
        read("SST-2", tmp_path, "dev")
    json_lines(tmp_path, "train.jsonl", {"text": "a", "label": "neutral"})
    with pytest.raises(UserError, match='"text_pair" is missing'):
        read("MNLI", tmp_path, "train")


def test_labels_are_for_own_data_only(tmp_path):
    write(tmp_path, "train.tsv", "sentence\tlabel", "a\t1")
    with pytest.raises(UserError, match="SST-2 has the labels negative, positive"):
        read("SST-2", tmp_path, "train", names=("bad", "good"))


def test_test_rows_have_labels_all_or_none(tmp_path):
    json_lines(tmp_path, "test.jsonl", {"text": "x"}, {"text": "y", "label": None})
    assert read("custom", tmp_path, "test", names=("a", "b")) == [("x", None, None), ("y", None, None)]
    json_lines(tmp_path, "test.jsonl", {"text": "x", "label": "b"}, {"text": "y"})
    with pytest.raises(UserError, match="line 2: a label is missing"):
        read("custom", tmp_path, "test", names=("a", "b"))
    json_lines(tmp_path, "test.jsonl", {"text": "x", "label": -1}, {"text": "y", "label": -1})
    assert [row[2] for row in read("custom", tmp_path, "test", names=("a", "b"))] == [None, None]
    assert [row[2] for row in read("custom", tmp_path, "test", names=("1", "-1"))] == [1, 1]


def test_own_tsv_may_have_one_text_or_two(tmp_path):
    write(tmp_path, "train.tsv", "text\tlabel", "fox\tno", "run\tyes")
    assert read("custom", tmp_path, "train") == [("fox", None, 0), ("run", None, 1)]
    write(tmp_path, "train.tsv", "label\ttext_pair\ttext", "no\tfox\trun", "yes\tthe\tfox")
    assert read("custom", tmp_path, "train") == [("run", "fox", 0), ("fox", "the", 1)]
    write(tmp_path, "train.tsv", "text\tclass", "fox\tno")
    with pytest.raises(UserError, match="no column label, which custom needs; its columns are text, class"):
        read("custom", tmp_path, "train")


# --- parquet ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "task_name, columns",
    [
        ("CoLA", ("sentence",)),
        ("SST-2", ("sentence",)),
        ("MRPC", ("sentence1", "sentence2")),
        ("STS-B", ("sentence1", "sentence2")),
        ("QQP", ("question1", "question2")),
        ("MNLI", ("premise", "hypothesis")),
        ("QNLI", ("question", "sentence")),
        ("RTE", ("sentence1", "sentence2")),
        ("WNLI", ("sentence1", "sentence2")),
    ],
)
def test_hugging_face_parquet(tmp_path, task_name, columns):
    pyarrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    from pyarrow import parquet

    mismatch = {"MNLI": "_matched"}.get(task_name, "")
    for part in range(2):
        table = {name: [f"{name} {part}"] for name in columns} | {"label": [part], "idx": [part]}
        parquet.write_table(
            pyarrow.table(table), tmp_path / f"validation{mismatch}-0000{part}-of-00002.parquet"
        )
    parquet.write_table(
        pyarrow.table({name: ["x"] for name in columns} | {"label": [-1]}),
        tmp_path / f"test{mismatch}-00000-of-00001.parquet",
    )
    assert read(task_name, tmp_path, "dev" + mismatch) == [
        (f"{columns[0]} {part}", f"{columns[1]} {part}" if len(columns) == 2 else None, part)
        for part in range(2)
    ]
    assert [row[2] for row in read(task_name, tmp_path, "test" + mismatch)] == [None]
    assert count_rows(find_source(str(tmp_path), "dev" + mismatch, ROW_FILES)) == 2


def test_damaged_parquet_and_missing_columns(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    from pyarrow import parquet

    path = tmp_path / "train-00000-of-00001.parquet"
    path.write_bytes(b"PAR1 no parquet")
    with pytest.raises(UserError, match="not a parquet file or is damaged"):
        read("SST-2", tmp_path, "train")
    parquet.write_table(pyarrow.table({"review": ["a"], "label": [0]}), path)
    with pytest.raises(UserError, match="no column sentence"):
        read("SST-2", tmp_path, "train")
    parquet.write_table(pyarrow.table({"sentence": ["a", None], "label": [0, 1]}), path)
    with pytest.raises(UserError, match="row 2: a text is missing"):
        read("SST-2", tmp_path, "train")


def test_parquet_without_pyarrow_names_the_requirements_file(tmp_path, monkeypatch):
    import sys

    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        UserError, match="train.parquet needs pyarrow, .*: pip install -r requirements-convert.txt"
    ):
        read("SST-2", tmp_path, "train")
