"""The templated corpus: repeatable, split without overlap, balanced, and readable by the rest of the
program.
"""

import re
from collections import Counter

import pytest

from src.data import synthetic
from src.data.readers.files import require_source
from src.data.readers.labels import discover_labels
from src.data.readers.rows import BadRows
from src.data.readers.split import read_split
from src.data.tokenization import Tokenizer
from src.errors import UserError
from src.sources import ROW_FILES
from src.tasks import get_task
from src.vocabulary import is_lower_case, read_vocabulary


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    synthetic.write_corpus(str(folder), 2000, 400, seed=3)
    return folder


def rows_of(folder, name):
    lines = (folder / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "sentence\tlabel"
    return [tuple(line.split("\t")) for line in lines[1:]]


def test_train_and_dev_have_their_sizes_both_labels_and_no_common_sentence(corpus):
    train, dev = rows_of(corpus, "train"), rows_of(corpus, "dev")
    assert (len(train), len(dev)) == (2000, 400)
    assert len({text for text, _ in train + dev}) == 2400
    assert Counter(label for _, label in train + dev) == {"0": 1200, "1": 1200}
    assert 0.4 < sum(label == "1" for _, label in dev) / 400 < 0.6


def test_dev_words_are_train_words(corpus):
    known = {word for text, _ in rows_of(corpus, "train") for word in text.split()}
    assert {word for text, _ in rows_of(corpus, "dev") for word in text.split()} <= known


def test_the_seed_decides_every_file(corpus, tmp_path):
    synthetic.write_corpus(str(tmp_path / "same"), 2000, 400, seed=3)
    synthetic.write_corpus(str(tmp_path / "other"), 2000, 400, seed=4)
    for name in ("train.tsv", "dev.tsv", "vocab.txt"):
        assert (tmp_path / "same" / name).read_bytes() == (corpus / name).read_bytes()
    assert (tmp_path / "other" / "train.tsv").read_bytes() != (corpus / "train.tsv").read_bytes()


def test_the_vocabulary_holds_every_word_and_spells_any_other(corpus):
    tokens = read_vocabulary(str(corpus / "vocab.txt"))
    assert tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(set(tokens)) == len(tokens) and is_lower_case(tokens)
    tokenizer = Tokenizer(tokens, True)
    texts = [text for text, _ in rows_of(corpus, "train")]
    for text, ids in zip(texts, tokenizer.token_ids(texts)):
        # BERT's own splitting takes 's apart; all other words are one token each
        assert [tokens[index] for index in ids] == text.replace("'s", "' s").split()
    (unseen,) = tokenizer.token_ids(["Zyzzyva, 42!"])
    assert tokens.index("[UNK]") not in unseen


def test_the_readers_take_it_as_sst2(corpus):
    task = get_task("SST-2")
    source, bad = require_source(str(corpus), "dev", ROW_FILES), BadRows(False)
    read = list(read_split(task, source, *discover_labels(task, source, (), bad), bad))
    assert [(row.text, str(row.label)) for row in read] == rows_of(corpus, "dev")


def test_no_single_word_gives_the_label_away(corpus):
    """Each word's share of positive sentences stays away from 0 and 1, so that counting words is not
    enough.
    """
    positive, total = Counter(), Counter()
    for text, label in rows_of(corpus, "train"):
        for word in set(text.split()):
            total[word] += 1
            positive[word] += label == "1"
    shares = {word: positive[word] / count for word, count in total.items() if count >= 30}
    assert len(shares) > 150
    assert min(shares.values()) > 0.1 and max(shares.values()) < 0.9


@pytest.mark.parametrize(
    "text, label",
    [
        (r"\b(was|were|seemed) (good|great|lovely|superb) [.!]$", "1"),
        (r"\b(was|were) (not|never) (good|great|lovely|superb) [.!]$", "0"),
        (r"\b(was|were) (not|never) (bad|awful|dull|weak) [.!]$", "1"),
        (r", (but|yet) .*\b(was|were|seemed) (bad|awful|dull|weak) [.!]$", "0"),
    ],
)
def test_the_last_opinion_is_the_label(text, label):
    found = [
        str(given) for sentence, given in synthetic.sentences(20000, seed=0) if re.search(text, sentence)
    ]
    assert found and set(found) == {label}


@pytest.mark.parametrize(
    "train, dev, named", [(0, 5, "train_rows"), (5, 0, "dev_rows"), (10**9, 5, "train_rows")]
)
def test_impossible_sizes_are_refused_by_name(tmp_path, train, dev, named):
    with pytest.raises(UserError, match=named):
        synthetic.write_corpus(str(tmp_path), train, dev, seed=0)
