"""Tags of tokens: rows by hand, entity metrics as seqeval 1.2.2 gives them in strict mode."""

import os

import numpy as np
import pytest

from src import metrics
from src.data.readers.files import require_source
from src.data.readers.rows import BadRows, Row
from src.data.readers.split import read_split
from src.data.tokenization import Tokenizer
from src.errors import UserError
from src.examples import Examples, Origin, offsets_of
from src.kinds import TAGGING
from src.kinds.tagging import entities_of
from src.tasks import get_task
from src.vocabulary import read_vocabulary
from tests.texts import printed

TAGS = TAGGING.tags(("city", "name"))  # O, then B, I, E and S of either
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "anna",
    "##s",
    "in",
    "new",
    "york",
    ".",
    "北",
    "京",
    "v",
    "##s",
]


def encode(text, entities, longest=16):
    """(tags of the row, the `Examples`, how many were cut); entities as (start, end, index of the type)."""
    tokenizer = Tokenizer(VOCABULARY, True)
    examples, cut = TAGGING.encode(tokenizer, [Row(text, None, entities, 1)], longest)
    names = ["-" if tag < 0 else TAGS[tag] for tag in examples.labels]
    return names, examples, cut


# --- rows ---------------------------------------------------------------------------------------------------


def test_entities_become_bioes_tags_of_their_tokens():
    text = "Anna in New  York."
    tags, examples, cut = encode(text, ((0, 4, 1), (8, 17, 0)))
    assert tags == ["-", "S-name", "O", "B-city", "E-city", "O", "-"] and cut == 0
    words = [text[start:end] for start, end in examples.origin.spans[1:-1]]
    assert words == ["Anna", "in", "New", "York", "."]
    assert examples.origin.spans[[0, -1]].tolist() == [[-1, -1]] * 2
    assert TAGGING.kept_answers(examples) == 2


def test_every_wordpiece_of_an_entity_has_a_tag_even_one_that_straddles_its_border():
    assert encode("annas", ((0, 5, 1),))[0] == ["-", "B-name", "E-name", "-"]
    assert encode("vs北京", ((1, 4, 0),))[0] == ["-", "O", "B-city", "I-city", "E-city", "-"]
    assert encode("anna北", ((2, 5, 0),))[0] == ["-", "B-city", "E-city", "-"]  # "na北" begins inside a token


def test_what_the_cut_leaves_of_an_entity_is_untagged_and_the_entity_is_counted_as_lost():
    entities = ((0, 4, 1), (8, 16, 0))
    tags, examples, cut = encode("Anna in New York.", entities, longest=5)
    assert tags == ["-", "S-name", "O", "-", "-"] and cut == 1
    assert TAGGING.count_answers(entities) - TAGGING.kept_answers(examples) == 1


def test_texts_without_labels_have_no_tags_and_second_texts_are_refused():
    assert encode("anna", ())[0] == ["-", "O", "-"]
    tokenizer = Tokenizer(VOCABULARY, True)
    assert TAGGING.encode(tokenizer, [Row("anna", None, None, 1)], 8)[0].columns == {}
    assert "no second text" in TAGGING.pair_fault("new") and TAGGING.pair_fault(None) is None


def test_labels_are_the_types_indices_and_unknown_types_are_refused():
    assert TAGGING.parse_label(((0, 4, "name"), (5, 6, "city")), TAGS, "f") == ((0, 4, 1), (5, 6, 0))
    with pytest.raises(UserError, match="f, line 2: the entity type 'film' is none of city, name"):
        TAGGING.parse_label(((0, 4, "film"),), TAGS, "f, line 2")
    with pytest.raises(UserError, match="no list of entities"):
        TAGGING.parse_label("name", TAGS, "f")


@pytest.mark.parametrize(
    "values,words",
    [(np.float32([0, 1]), "fractional"), ([-1, -1], "no tags"), ([0, 9], "0 to 9"), ([-2, 0], "-2")],
)
def test_records_of_other_tags_are_refused(values, words):
    tags = np.asarray(values)
    examples = Examples(tags, tags, offsets_of([len(tags)]), {TAGGING.columns[0]: tags})
    with pytest.raises(UserError, match=words):
        TAGGING.check_labels(examples, TAGS, "eval")


# --- metrics ------------------------------------------------------------------------------------------------


def tagged(labels, seed, rows=60):
    """(right tags as `Examples`, logits) of rows between -1s; some of either's tags are random, so that many
    sequences are ill-formed.
    """
    random = np.random.default_rng(seed)
    prefixes, right = labels[1 : 1 + len({name[0] for name in labels[1:]})], []
    while len(right) < rows * 12:
        length, kind = random.integers(1, 5), random.integers(0, 3)
        base = 1 + len(prefixes) * kind
        if len(prefixes) == 2:
            run = [base] + [base + 1] * (length - 1)
        else:
            run = [base + 3] if length == 1 else [base] + [base + 1] * (length - 2) + [base + 2]
        right += run + [0] * random.integers(0, 3)
    right = np.array(right[: rows * 12])
    right, found = (
        np.where(random.random(len(right)) < 0.15, random.integers(0, len(labels), len(right)), right)
        for _ in range(2)
    )
    right = right.reshape(rows, 12)
    right[:, [0, -1]] = -1
    ids = np.zeros(rows * 12, np.int32)
    examples = Examples(
        ids, ids, offsets_of([12] * rows), {TAGGING.columns[0]: right.ravel().astype(np.int32)}
    )
    return examples, np.eye(len(labels), dtype=np.float32)[found]


KINDS = ("x", "y-z", "w")
BIO = ("O", *(f"{prefix}-{kind}" for kind in KINDS for prefix in "BI"))
NAMES = ("entity_precision", "entity_recall", "entity_f1", "entity_macro_f1")
# seqeval is no dependency: it is compared with where it is installed, and these are its numbers.
SEQEVAL = {
    "IOBES": (
        [0.622807017544, 0.550387596899, 0.584362139918, 0.582208045366],
        [0.649572649573, 0.571428571429, 0.608, 0.608333333333],
        [0.624060150376, 0.624060150376, 0.624060150376, 0.624573248103],
    ),
    "IOB2": (
        [0.524096385542, 0.497142857143, 0.510263929619, 0.510733384263],
        [0.542553191489, 0.554347826087, 0.548387096774, 0.546094197609],
        [0.542553191489, 0.536842105263, 0.539682539683, 0.539662875474],
    ),
}


def seqevals(seqeval, scheme, examples, logits, labels):
    """The same four numbers by seqeval itself."""
    right, found = (
        [[labels[tag] for tag in row] for row in tags.reshape(-1, 12)[:, 1:-1]]
        for tags in (examples.labels, logits.argmax(axis=1))
    )
    given = {"mode": "strict", "scheme": getattr(seqeval.scheme, scheme), "zero_division": 0}
    return [
        float(function(right, found, average=average, **given))
        for function, average in (
            (seqeval.metrics.precision_score, "micro"),
            (seqeval.metrics.recall_score, "micro"),
            (seqeval.metrics.f1_score, "micro"),
            (seqeval.metrics.f1_score, "macro"),
        )
    ]


@pytest.mark.parametrize("scheme,labels", [("IOBES", TAGGING.tags(KINDS)), ("IOB2", BIO)])
def test_entity_metrics_are_seqevals_on_well_formed_and_ill_formed_tags(scheme, labels):
    for seed in range(3):
        examples, logits = tagged(labels, seed)
        values = metrics.score(NAMES, TAGGING, logits, examples, labels)
        found = [values[name] for name in NAMES]
        np.testing.assert_allclose(found, SEQEVAL[scheme][seed], rtol=1e-9)
        try:
            import seqeval.metrics
            import seqeval.scheme
        except ImportError:
            continue
        np.testing.assert_allclose(found, seqevals(seqeval, scheme, examples, logits, labels), rtol=1e-9)


def test_accuracy_counts_tokens_that_have_a_tag():
    labels = np.int32([-1, 0, 4, 0, -1])
    logits = np.eye(9, dtype=np.float32)[[3, 0, 4, 4, 3]]
    examples = Examples(labels, labels, offsets_of([5]), {TAGGING.columns[0]: labels})
    assert metrics.score(("accuracy",), TAGGING, logits, examples, TAGS)["accuracy"] == pytest.approx(2 / 3)
    assert metrics.chance_level("accuracy", examples) == pytest.approx(2 / 3)
    assert metrics.chance_level("entity_f1", examples) == 0.0


def test_no_entity_at_all_scores_nothing():
    labels = np.zeros(4, np.int32)
    examples = Examples(labels, labels, offsets_of([4]), {TAGGING.columns[0]: labels})
    logits = np.eye(9, dtype=np.float32)[labels]
    assert set(metrics.score(NAMES, TAGGING, logits, examples, TAGS).values()) == {0.0}


def test_entities_end_with_their_row():
    tags = np.array([1, 2, 2, 3])  # B I | I E of one type
    assert entities_of(tags, np.array([0]), TAGS).tolist() == [[0, 4]]
    assert entities_of(tags, np.array([0, 2]), TAGS).tolist() == []


@pytest.mark.parametrize(
    "method,first",
    [("auto", "entity_f1"), ("f1", "entity_f1"), ("mf1", "entity_macro_f1"), ("accuracy", "accuracy")],
)
def test_assessment_methods_of_tags(method, first):
    assert metrics.choose((), method, TAGGING, 9)[0] == first


def test_binary_f1_is_none_of_tags():
    with pytest.raises(
        UserError, match="bf1 does not fit a task of 9 tags of tokens; use one of entity_f1, .*, mf1"
    ):
        metrics.choose((), "bf1", TAGGING, 9)


# --- answers ------------------------------------------------------------------------------------------------


def test_answers_are_entities_with_their_characters_a_line_each():
    texts = [Row("Anna in New York.", None, None, 1), Row("new", None, None, 2)]
    examples, _ = TAGGING.encode(Tokenizer(VOCABULARY, True), texts, 16)
    tags = ["S-name", "S-name", "O", "B-city", "E-city", "O", "O", "B-city", "O", "O"]
    logits = np.zeros((len(tags), 9), np.float32)
    logits[np.arange(len(tags)), [TAGS.index(tag) for tag in tags]] = np.log(8)  # probability 8 / 16
    assert printed(TAGGING, logits, examples, texts, TAGS) == [
        [("name", "0", "4", "Anna", "0.5000"), ("city", "8", "16", "New York", "0.5000")],
        [("-",)],
    ]
    name, city = {"type": "name", "start": 0, "end": 4}, {"type": "city", "start": 8, "end": 16}
    half = {"probability": pytest.approx(0.5)}
    assert TAGGING.outcomes(logits, examples, texts, TAGS) == [
        {"entities": [{**name, "text": "Anna", **half}, {**city, "text": "New York", **half}]},
        {"entities": []},
    ]


def test_a_model_whose_classes_are_no_tags_is_refused():
    row = Examples(np.zeros(1, np.int32), np.zeros(1, np.int32), offsets_of([1]))
    row = Examples(
        row.input_ids, row.segment_ids, row.offsets, {}, Origin(np.zeros(1, int), np.int32([[0, 1]]))
    )
    with pytest.raises(UserError, match="'LABEL_0' is no tag"):
        printed(TAGGING, np.zeros((1, 2)), row, [Row("a", None, None, 1)], ("LABEL_0", "LABEL_1"))


# --- real rows ----------------------------------------------------------------------------------------------

SHARED = os.path.join(os.path.dirname(__file__), "../../../shared")


@pytest.mark.skipif(not os.path.exists(os.path.join(SHARED, "data/clue")), reason="needs ../shared")
def test_the_tags_of_cluener_give_its_entities_back_but_where_a_wordpiece_straddles_a_border():
    task, bad_rows = get_task("CLUENER"), BadRows()
    source = require_source(os.path.join(SHARED, "data/clue/cluener"), "dev", task.source.formats)
    rows = list(read_split(task, source, TAGGING, task.labels, bad_rows))
    tokenizer = Tokenizer(read_vocabulary(os.path.join(SHARED, "vocab/bert-base-chinese-vocab.txt")), True)
    examples, cut = TAGGING.encode(tokenizer, rows, task.max_seq_length)
    assert cut == 0 and not bad_rows.notes
    found, spans = set(), examples.origin.spans
    for first, after in entities_of(examples.labels, examples.offsets[:-1], task.labels):
        row = int(np.searchsorted(examples.offsets, first, side="right")) - 1
        found.add((row, int(spans[first, 0]), int(spans[after - 1, 1]), (examples.labels[first] - 1) // 4))
    right = {(row, *entity) for row, item in enumerate(rows) for entity in item.label}
    assert len(found) == len(right) > 3000
    wrong = right - found
    assert len(wrong) <= 0.002 * len(right)
    for row, start, end, _ in wrong:
        tokens = spans[examples.offsets[row] : examples.offsets[row + 1]]
        assert any(a < border < b for a, b in tokens for border in (start, end))
