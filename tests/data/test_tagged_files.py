"""TNEWS, CLUENER and own tags: what their raw files give, and what is said of bad ones."""

import json

import pytest

from src.data.readers import conll
from src.data.readers.files import require_source
from src.data.readers.labels import discover_labels
from src.data.readers.rows import BadRows
from src.data.readers.split import read_split
from src.errors import UserError
from src.kinds import CLASSIFICATION, TAGGING
from src.tasks import get_task


def write(folder, name, *lines):
    """A file of lines; dicts become JSON."""
    lines = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def read(task_name, folder, split, skip=False, given=()):
    """(rows as (text, label), class names, BadRows)."""
    task, bad_rows = get_task(task_name), BadRows(skip)
    train, source = (require_source(str(folder), stem, task.source.formats) for stem in ("train", split))
    kind, names = discover_labels(task, train, given, BadRows(skip))
    rows = read_split(task, source, kind, names, bad_rows, test=split == "test")
    return [(row.text, row.label) for row in rows], names, bad_rows


def refused(task_name, folder, split="train"):
    with pytest.raises(UserError) as error:
        read(task_name, folder, split)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(str(folder) + "/")


# --- CLUE ---------------------------------------------------------------------------------------------------


def test_tnews_takes_a_class_by_its_number_or_its_name(tmp_path):
    write(
        tmp_path,
        "train.json",
        {"label": "102", "label_desc": "news_entertainment", "sentence": "新片上映", "keywords": ""},
        {"label": 116, "sentence": "新游戏"},
        {"label": "news_story", "sentence": "老故事"},
    )
    write(tmp_path, "test.json", {"id": 0, "sentence": "谁知道", "keywords": ""})
    rows, names, _ = read("tnews", tmp_path, "train")
    assert rows == [("新片上映", 2), ("新游戏", 14), ("老故事", 0)]
    assert len(names) == 15 and names[5] == "news_house"
    assert read("TNEWS", tmp_path, "test")[0] == [("谁知道", None)]
    write(tmp_path, "train.json", {"label": "105", "sentence": "没有"})
    assert "the label '105' is none of news_story" in refused("tnews", tmp_path)


def test_cluener_gives_entities_by_inclusive_ends(tmp_path):
    label = {"name": {"小芳": [[0, 1], [6, 7]]}, "address": {"海口": [[3, 4]]}}
    write(tmp_path, "train.json", {"text": "小芳在海口等小芳", "label": label}, {"text": "无", "label": {}})
    write(tmp_path, "test.json", {"id": 7, "text": "谁"})
    rows, names, _ = read("cluener", tmp_path, "train")
    types = [name[2:] for name in names[1::4]]
    name, address = types.index("name"), types.index("address")
    assert rows == [("小芳在海口等小芳", ((0, 2, name), (3, 5, address), (6, 8, name))), ("无", ())]
    assert (
        names[:6] == ("O", "B-address", "I-address", "E-address", "S-address", "B-book") and len(names) == 41
    )
    assert read("cluener", tmp_path, "test")[0] == [("谁", None)]


def test_of_cluener_entities_inside_another_the_outermost_is_kept_and_that_is_told(tmp_path):
    label = {"company": {"海行": [[1, 2]]}, "book": {"《海行》": [[0, 3]]}}
    write(tmp_path, "train.json", {"text": "《海行》", "label": label})
    rows, names, bad_rows = read("cluener", tmp_path, "train")
    assert rows == [("《海行》", ((0, 4, 1),))] and names[5] == "B-book"
    ((what, (count, where)),) = bad_rows.notes.items()
    assert "inside another" in what and count == 1 and where.endswith("train.json, line 1")


@pytest.mark.parametrize(
    "value,words",
    [
        (
            {"text": "小芳", "label": {"name": {"小芳": [[0, 2]]}}},
            "name 0-2 is outside its text of 2 characters",
        ),
        (
            {"text": "小芳", "label": {"name": {"小芳": [[1, 0]]}}},
            "name 1-0 ends before it starts (the end is the last character)",
        ),
        (
            {"text": "小芳在", "label": {"name": {"小芳": [[1, 2]]}}},
            "name '小芳' is not at its place 1-2, where '芳在'",
        ),
        ({"text": "小芳在", "label": {"name": {"小芳": [0, 1]}}}, "no list of [start, end]"),
        ({"text": "小芳在", "label": ["name"]}, '"label" must be {type'),
        (
            {"text": "小芳在", "label": {"name": {"小芳": [[0, 1]], "芳在": [[1, 2]]}}},
            "name 0-1 and name 1-2 overlap",
        ),
        (
            {"text": "小芳", "label": {"film": {"小芳": [[0, 1]]}}},
            "the entity type 'film' is none of address",
        ),
        ({"label": {}}, '"text" is missing'),
    ],
)
def test_bad_cluener_rows_are_named(tmp_path, value, words):
    write(tmp_path, "train.json", {"text": "好", "label": {}}, value)
    message = refused("cluener", tmp_path)
    assert message.startswith("train.json, line 2: ") and any(part in message for part in words.split("|"))


# --- own tags as JSON lines ---------------------------------------------------------------------------------


def test_own_entities_make_tags_of_the_types_in_the_training_file(tmp_path):
    write(
        tmp_path,
        "train.jsonl",
        {"text": "Anna left York", "entities": [[10, 14, "place"], [0, 4, "name"]]},
        {"text": "Nobody", "entities": []},
    )
    write(tmp_path, "dev.jsonl", {"text": "York", "entities": [[0, 4, "place"]]})
    write(tmp_path, "test.jsonl", {"text": "Who"})
    rows, names, _ = read("custom", tmp_path, "train")
    assert rows == [("Anna left York", ((0, 4, 0), (10, 14, 1))), ("Nobody", ())]
    assert names == TAGGING.tags(("name", "place"))
    assert read("custom", tmp_path, "test")[0] == [("Who", None)]
    _, names, _ = read("custom", tmp_path, "dev", given=("place", "name"))
    assert names == TAGGING.tags(("place", "name"))
    write(tmp_path, "dev.jsonl", {"text": "York", "entities": [[0, 4, "town"]]})
    assert (
        refused("custom", tmp_path, "dev")
        == "dev.jsonl, line 1: the entity type 'town' is none of name, place"
    )
    write(tmp_path, "test.jsonl", {"text": "Who"}, {"text": "Who", "text_pair": "He"})
    assert refused("custom", tmp_path, "test") == (
        "test.jsonl, line 2: a text of a ner task has no second text; --skip_bad_rows skips such rows"
    )


@pytest.mark.parametrize(
    "entities,words",
    [
        ([[0, 9, "x"]], "x 0-9 is outside its text of 4 characters"),
        ([[-1, 2, "x"]], "outside"),
        ([[2, 2, "x"]], "x 2-2 ends before it starts"),
        ([[0, 3, "x"], [2, 4, "y"]], "x 0-3 and y 2-4 overlap"),
        ([[0, 1.5, "x"]], "two whole numbers and a type"),
        ([[True, 2, "x"]], "two whole numbers"),
        ([[0, 2, 7]], "a type"),
        ([[0, 2]], '[start, end, "TYPE"]'),
        ("x", '[start, end, "TYPE"]'),
    ],
)
def test_bad_own_entities_are_named_or_skipped(tmp_path, entities, words):
    write(
        tmp_path,
        "train.jsonl",
        {"text": "good", "entities": [[0, 4, "x"]]},
        {"text": "text", "entities": entities},
    )
    message = refused("custom", tmp_path)
    assert message.startswith("train.jsonl, line 2: ") and words in message
    rows, _, bad_rows = read("custom", tmp_path, "train", skip=True)
    assert [text for text, _ in rows] == ["good"] and bad_rows.count == 1


@pytest.mark.parametrize(
    "row,words",
    [
        ({"question": "who?", "context": "he", "answers": {"text": ["he"]}}, ".json file in SQuAD's layout"),
        ({"tokens": ["Anna"], "ner_tags": ["B-x"]}, "read from a .conll file, a word and its tag a line"),
        ({"text": "Anna", "tags": ["B-x"]}, "read from a .conll file, a word and its tag a line"),
        ({"body": "Anna"}, "texts are called text, or sentence1"),
    ],
)
def test_rows_as_other_programs_write_them_are_told_the_layout_that_is_read(tmp_path, row, words):
    write(tmp_path, "train.jsonl", row)
    message = refused("custom", tmp_path)
    assert message.startswith("train.jsonl, line 1: ") and words in message
    (tmp_path / "train.jsonl").unlink()
    write(tmp_path, "train.tsv", "\t".join(row), "\t".join("x" for _ in row))
    assert words.replace("texts are called text, or", "which custom needs (or") in refused("custom", tmp_path)


def test_own_rows_without_a_text_are_refused_with_file_and_line(tmp_path):
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}, {"text": " ", "label": "x"}]
    write(tmp_path, "train.jsonl", *rows)
    assert refused("custom", tmp_path).startswith("train.jsonl, line 3: the text is empty; ")
    read_rows, _, bad_rows = read("custom", tmp_path, "train", skip=True)
    assert len(read_rows) == 2 and bad_rows.count == 1
    write(tmp_path, "test.jsonl", {"text": " "})
    with pytest.raises(UserError, match="the text is empty"):
        read("custom", tmp_path, "train")
    assert read("custom", tmp_path, "test", skip=True)[0] == [(" ", None)]  # each row of it has an answer


def test_labels_and_entities_do_not_mix(tmp_path):
    row, tagged = {"text": "a", "label": "x"}, {"text": "a", "entities": [[0, 1, "x"]]}
    write(tmp_path, "train.jsonl", tagged, row)
    assert "line 2: entities are missing" in refused("custom", tmp_path)
    write(tmp_path, "train.jsonl", row, tagged)
    assert "line 2: entities are given" in refused("custom", tmp_path)
    write(tmp_path, "train.jsonl", {**row, **tagged})
    assert '"label" and "entities" are given' in refused("custom", tmp_path)
    write(tmp_path, "train.jsonl", {"sentence1": "a", "entities": [[0, 1, "x"]]})
    assert 'line 1: "sentence2" is missing' in refused("custom", tmp_path)
    write(tmp_path, "train.jsonl", {"text": "a", "entities": []})
    assert "no row has an entity" in refused("custom", tmp_path)


def test_class_names_still_need_two(tmp_path):
    write(tmp_path, "train.jsonl", {"text": "a", "label": "x"})
    with pytest.raises(UserError, match="two or more different names"):
        read("custom", tmp_path, "train", given=("x",))
    assert discover_labels(
        get_task("custom"),
        require_source(str(tmp_path), "train", get_task("custom").source.formats),
        ("x", "y"),
    ) == (CLASSIFICATION, ("x", "y"))


# --- own tags as words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tags",
    [
        "B-name O B-city I-city I-city B-city",
        "S-name O B-city I-city E-city S-city",
        "S-name O B-city M-city E-city S-city",
        "U-name O B-city I-city L-city U-city",
    ],
)
def test_words_and_tags_of_every_spelling_give_the_same_entities(tmp_path, tags):
    words = ["Anna", "likes", "New", "York", "City", "Bonn"]
    lines = [f"{word} X {tag}" for word, tag in zip(words, tags.split())]
    write(
        tmp_path, "train.conll", "-DOCSTART- X O", "", *lines, "", "  ", "Bonn\tX\tS-city", "-DOCSTART- X O"
    )
    rows, names, _ = read("custom", tmp_path, "train")
    city, name = 0, 1
    assert names == TAGGING.tags(("city", "name"))
    assert rows == [
        ("Anna likes New York City Bonn", ((0, 4, name), (11, 24, city), (25, 29, city))),
        ("Bonn", ((0, 4, city),)),
    ]


def test_a_test_file_may_have_words_alone_and_another_ending_serves(tmp_path):
    write(tmp_path, "train.txt", "Bonn S-city")
    write(tmp_path, "test.txt", "in", "Bonn")
    assert read("custom", tmp_path, "test")[0] == [("in Bonn", None)]
    write(tmp_path, "valid.txt", "in", "Bonn")
    assert "valid.txt, line 1: a word without a tag" in refused("custom", tmp_path, "dev")


@pytest.mark.parametrize(
    "words,text",
    [
        ("Anna 's home", "Anna 's home"),
        ("我 用 i P h o n e 7 。", "我用iPhone7。"),  # a character a line
        ("我 用 iPhone 7 。", "我用iPhone 7。"),  # words
        ("I . A", "I . A"),
        ("나 는 간다", "나 는 간다"),  # Korean has spaces
        ("ア メ リ カ", "アメリカ"),
    ],
)
def test_words_are_joined_as_their_language_writes_them(words, text):
    joined, places = conll.join(words.split())
    assert joined == text and [joined[start:end] for start, end in places] == words.split()


@pytest.mark.parametrize(
    "lines,words",
    [
        (["a b O", "c O"], "line 2: 2 columns instead of 3"),
        (["a"], "line 1: a word without a tag"),
        (["a O", "b I-x"], "line 2: the tag 'I-x' goes on with an entity that no B- of its type began"),
        (["a B-x", "b I-y"], "line 2: the tag 'I-y' goes on"),
        (["a S-x", "b E-x"], "line 2: the tag 'E-x' goes on"),
        (["a B-x", "", "b I-x"], "line 3: the tag 'I-x' goes on"),
        (["a Q-x"], "line 1: the tag 'Q-x' is neither O nor"),
        (["a B-"], "neither O nor"),
        (["\tO"], "line 1: the word is missing"),
    ],
)
def test_bad_word_lines_are_named_or_their_sentence_skipped(tmp_path, lines, words):
    write(tmp_path, "train.conll", *lines)
    message = refused("custom", tmp_path)
    assert message.startswith("train.conll, ") and words in message and "--skip_bad_rows" in message
    write(tmp_path, "train.conll", *lines, "", "good S-x" if len(lines[0].split()) < 3 else "good x S-x")
    rows, _, bad_rows = read("custom", tmp_path, "train", skip=True)
    assert rows[-1] == ("good", ((0, 4, 0),)) and bad_rows.count == 1


def test_a_sentence_with_a_line_that_is_no_text_is_skipped_as_a_whole(tmp_path):
    (tmp_path / "train.conll").write_bytes(b"good S-x\n\na O\n\xff O\nb O\n\ngood S-x\n")
    rows, _, bad_rows = read("custom", tmp_path, "train", skip=True)
    assert [text for text, _ in rows] == ["good", "good"] and bad_rows.count == 1
    assert "line 4: not UTF-8" in bad_rows.first
