"""A corpus to rows: what is read, how it is packed, and that neither processes nor interruptions change a
byte.
"""

import bz2
import collections
import fcntl
import gzip
import html
import io
import json
import lzma
import os
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest

import prepare_data
from src.data import corpus
from src.data.corpus import CorpusReader, Document, Packer, Recipe, WordTokenizer, find_files, split_sentences
from src.data.readers import BadRows
from src.data.records import DatasetInfo, find_split, read_records
from src.data.synthetic import sentences, vocabulary
from src.data.tokenization import Tokenizer
from src.errors import UserError
from src.tasks import get_task
from tests.data.test_tokenization import TRICKY
from tests.data.test_tokenization import VOCABULARY as TRICKY_VOCABULARY
from tests.helpers import refuses

PAIRS = sentences(600, seed=1)
TEXTS = [text for text, _ in PAIRS]
VOCABULARY = vocabulary(PAIRS)
CLS, SEP, MASK = (VOCABULARY.index(token) for token in ("[CLS]", "[SEP]", "[MASK]"))
DOCUMENTS = [TEXTS[start : start + 12] for start in range(0, len(TEXTS), 12)]


def recipe(**changes):
    return Recipe(
        **{
            "max_seq_length": 64,
            "short_seq_prob": 0.0,
            "next_sentence": True,
            "dupe_factor": 1,
            "masked_lm_prob": 0.0,
            "seed": 3,
            **changes,
        }
    )


def plain(documents=DOCUMENTS):
    return "\n\n".join("\n".join(lines) for lines in documents) + "\n"


def read(*inputs, skip=False, piece_bytes=1 << 20):
    """(documents' texts, lines read, `BadRows`)."""
    bad_rows = BadRows(skip)
    reader = CorpusReader(find_files([str(path) for path in inputs]), bad_rows, piece_bytes)
    return [document.text for document in reader.documents()], reader.lines, bad_rows


def sentences_of(text):
    return [line.strip() for line in split_sentences(text).split("\n") if line.strip()]


def pack(changes, documents=DOCUMENTS):
    """[(tokens of the first text, of the second one or None, label or None)] of one block, and its
    `Packed`.
    """
    packed = Packer(VOCABULARY, True, recipe(**changes)).pack(
        0, [Document("\n".join(lines), False) for lines in documents]
    )
    data, rows = packed.examples, []
    for row, (start, end) in enumerate(zip(data.offsets[:-1], data.offsets[1:])):
        ids, segments = data.input_ids[start:end].tolist(), data.segment_ids[start:end].tolist()
        first = ids.index(SEP)
        assert (
            ids[0] == CLS and ids[-1] == SEP and segments == [0] * (first + 1) + [1] * (len(ids) - first - 1)
        )
        assert (
            ids.count(CLS) == 1
            and ids.count(SEP) == (1 if data.labels is None else 2)
            and len(ids) <= changes.get("max_seq_length", 64)
        )
        rows.append(
            (
                ids[1:first],
                None if data.labels is None else ids[first + 1 : -1],
                None if data.labels is None else data.labels[row],
            )
        )
    return rows, packed


def tokens_of(documents):
    """The token ids of each document, sentence after sentence."""
    tokenizer = Tokenizer(VOCABULARY, True)
    return [[token for ids in tokenizer.token_ids(lines) for token in ids] for lines in documents]


def inside(part, whole):
    """Whether `part` is a run of `whole` (lists of int)."""
    return f" {' '.join(map(str, part))} " in f" {' '.join(map(str, whole))} "


# --- reading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packed", [bytes, gzip.compress, bz2.compress, lzma.compress], ids=["plain", "gz", "bz2", "xz"]
)
@pytest.mark.parametrize("form", ["text", "doc", "json"])
def test_every_form_gives_the_same_documents(tmp_path, form, packed):
    documents = [*DOCUMENTS, ["a < b & c", 'said "so"'], ["été 中国"]]
    if form == "text":
        text = "\ufeff\n\n" + plain(documents).replace("\n\n", "\n \t\r\n\n").replace("\n", "\r\n", 5)
    elif form == "doc":
        text = "".join(
            f'<doc id="{number}" url="u" title="A &amp; {number}">\nA &amp; {number}\n\n'
            + html.escape("\n\n".join(lines))
            + "\n</doc>\n\n"
            for number, lines in enumerate(documents)
        )
    else:
        text = "".join(
            json.dumps(
                {
                    "id": str(number),
                    "title": f"T{number}",
                    "text": html.escape(f"T{number}\n" + "\n".join(lines)),
                }
            )
            + "\n"
            for number, lines in enumerate(documents)
        )
    path = tmp_path / "corpus"  # without an ending: the first bytes tell
    path.write_bytes(packed(text.encode()))
    found, lines, _ = read(path)
    assert [sentences_of(document) for document in found] == documents
    assert lines == text.count("\n")


def test_folders_are_walked_in_order_without_hidden_files(tmp_path):
    for name in ("b/two", "b/.hidden", "a/one", ".git/three", "c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"from {name}")
    (tmp_path / "empty").write_text("")
    assert read(tmp_path)[0] == ["from a/one", "from b/two", "from c"]
    assert read(tmp_path / "c", tmp_path / "b")[0] == ["from c", "from b/two"]
    assert [file.name for file in find_files([str(tmp_path / "c"), str(tmp_path)])] == [
        "c",
        "a/one",
        "b/two",
        "c",
    ]


def test_long_documents_and_lines_are_cut_into_pieces(tmp_path):
    long, words = "\n".join(TEXTS), " ".join(TEXTS)
    for name, text in (
        ("text", f"one\n\n{long}\n\n{words}\n\n{'ü' * 5000}\n\nlast"),
        ("json", "\n".join(json.dumps({"text": text}) for text in ("one", long, words, "ü" * 5000, "last"))),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
        found = list(CorpusReader(find_files([str(tmp_path / name)]), BadRows(), 1024).documents())
        wholes = []
        for document in found:
            assert len(document.text.encode()) <= 1024
            if document.continues:
                wholes[-1] += document.text
            else:
                wholes.append(document.text)
        assert [whole.strip("\n") for whole in wholes] == ["one", long, words, "ü" * 5000, "last"] and len(
            found
        ) > 50
        assert all(document.text.endswith("\n") for document in found[1:10])


def tar_of(content):
    """A tar archive of one file."""
    buffer, member = io.BytesIO(), tarfile.TarInfo("wiki/a")
    member.size = len(content)
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data, message",
    [
        (b"fine\n\nb\xffd\n", "corpus, line 3: not UTF-8 text"),
        (gzip.compress(b"fox " * 9999)[:40], "corpus is truncated or damaged"),
        (gzip.compress(os.urandom(9999))[:5000], "corpus is truncated or damaged"),
        (lzma.compress(os.urandom(9999))[:5000], "corpus is truncated or damaged"),
        (b"\x28\xb5\x2f\xfd rest", "compressed with zstd"),
        (b"BZh9 nonsense", "corpus is truncated or damaged"),
        (b'{"text": "fox"}\n{"title": 1}\n', "corpus, line 2: not a JSON object"),
        (b'{"text": "fox"}\n["text"]\n', "corpus, line 2: not a JSON object"),
        (b'{"text": "\\ud800"}', "corpus, line 1: not a JSON object"),
        (b'<doc id="1" title="a">\nfox\n</doc>\nstray\n', "corpus, line 4: text outside"),
        (b"", "corpus is empty"),
        (b'<doc id="1">\nfox\n<doc id="2">\nfox\n</doc>\n', "corpus, line 3: a <doc> before the </doc>"),
        (
            b'<doc id="1">\nfox\n</doc>\n<doc id="2">\nfox\n',
            "corpus, line 4: a <doc> without </doc>; the file is cut off",
        ),
        (bz2.compress(b'<mediawiki xmlns="x">\n<page>'), "corpus is XML, as a Wikipedia dump is; extract"),
        (b'\n<?xml version="1.0"?>', "corpus is XML"),
        (b'[\n{"text": "fox"}]', "corpus is one JSON array"),
        (gzip.compress(tar_of(b"fox")), "corpus is a tar archive"),
    ],
    ids=[
        "not UTF-8",
        "gz cut at once",
        "gz cut",
        "xz cut",
        "zstd",
        "no bz2",
        "no text",
        "a list",
        "half a pair",
        "stray",
        "empty",
        "unclosed",
        "doc cut",
        "dump",
        "XML",
        "array",
        "tar",
    ],
)
def test_bad_input(tmp_path, data, message):
    (tmp_path / "corpus").write_bytes(data)
    with pytest.raises(UserError) as error:
        read(tmp_path / "corpus")
    refuses(error, message)


def test_a_link_to_a_folder_is_left_out_and_named(tmp_path, capsys):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a").write_text("fox\n")
    (tmp_path / "corpus" / "b").symlink_to(tmp_path)
    assert [file.name for file in find_files([str(tmp_path / "corpus")])] == ["a"]
    assert f"{tmp_path}/corpus/b is a link to a folder and is left out" in capsys.readouterr().out


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError) as error:
        find_files([str(tmp_path / "pipe")])
    refuses(error, "pipe is neither a file nor a folder")


def test_a_json_line_too_long_to_hold_is_a_bad_row(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "_LONGEST_JSON", 64)
    (tmp_path / "a").write_text('{"text": "one"}\n{"text": "' + "x" * 200 + '"}\n{"text": "two"}\n')
    with pytest.raises(UserError) as error:
        read(tmp_path / "a")
    refuses(error, "a, line 2: a JSON line of more than")
    found, lines, bad_rows = read(tmp_path / "a", skip=True)
    assert (found, lines, bad_rows.count) == (["one", "two"], 3, 1)


def test_bad_lines_are_skipped_on_demand(tmp_path):
    (tmp_path / "a").write_bytes(b"one\nb\xffd\ntwo\n\nb\xffd\n\nthree\n")
    (tmp_path / "b").write_bytes(b'{"text": "four"}\nnot so\n')
    found, lines, bad_rows = read(tmp_path, skip=True)
    assert (
        found == ["one\ntwo\n", "three\n", "four"]
        and lines == 9
        and bad_rows.count == 3
        and "a, line 2" in bad_rows.first
    )


# --- sentences and tokens -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, expected",
    [
        ("One sentence a line stays one", 1),
        ("It rained. We left! Why? Because.", 4),
        ("Dr. J. R. Smith met Mrs. Lee. They talked.", 2),
        ("He lives in the U.S. Army base, e.g. No. 5 on St. Ann.", 1),
        ('"Stop!" He ran. (Really.) "Yes."', 4),
        ("It cost 3.5 coins. 20 left.", 2),
        ("see the end. then more", 1),
        ("我来了。你好！“走吧？”他说。", 4),
        ("Wait... Then it went.", 2),
        ("a\nbee. C\n\nd", 4),
    ],
)
def test_sentences(text, expected):
    found = sentences_of(text)
    assert len(found) == expected and "".join("".join(found).split()) == "".join(text.split())


@pytest.mark.parametrize("lower_case", [True, False])
def test_remembered_words_have_the_tokenizers_ids(lower_case, monkeypatch):
    chooser = random.Random(0)
    characters = (
        "aAxX foxFOX.,\u00e9\u0301\u4e2d\u3002!?'-\u2019\t\r\u00a0\u0000\ud55c\U0001f600\x1c\x85\u2028\u226e"
        + "the quick runs "
    )
    texts = TRICKY + ["".join(chooser.choices(characters, k=chooser.randint(0, 60))) for _ in range(500)]
    texts = [text.replace("\n", " ") for text in texts]
    tokenizer = Tokenizer(TRICKY_VOCABULARY, lower_case)
    monkeypatch.setattr(corpus, "_BATCH_WORDS", 50)
    monkeypatch.setattr(corpus, "_MOST_WORDS", 100)
    words = WordTokenizer(tokenizer)
    for _ in range(2):  # first unseen, then partly remembered
        found = words.encode([Document(text, False) for text in texts])
        expected = [ids for ids in tokenizer.token_ids(texts) if ids]
        starts = found.bounds[found.documents].tolist()
        assert [found.tokens[start:end].tolist() for start, end in zip(starts[:-1], starts[1:])] == expected


# --- packing ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [8, 20, 64])
def test_single_texts_hold_every_token_once_in_order(length):
    rows, packed = pack({"next_sentence": False, "max_seq_length": length})
    remaining = collections.Counter(tuple(first) for first, _, _ in rows)
    for document in tokens_of(DOCUMENTS):  # walk through each document: some row must continue it, everywhere
        at = 0
        while at < len(document):
            row = next(
                row
                for row in (tuple(document[at : at + size]) for size in range(length - 2, 0, -1))
                if remaining[row]
            )
            remaining[row] -= 1
            at += len(row)
    assert not +remaining and packed.examples.labels is None
    assert packed.tokens == sum(map(len, tokens_of(DOCUMENTS))) == sum(len(first) for first, _, _ in rows)
    assert packed.documents == len(DOCUMENTS) and packed.sentences == len(TEXTS)
    assert packed.cut == sum(len(ids) > length - 2 for ids in Tokenizer(VOCABULARY, True).token_ids(TEXTS))


def test_single_texts_are_as_long_as_whole_sentences_allow():
    tokenizer = Tokenizer(VOCABULARY, True)
    expected = []
    for lines in DOCUMENTS:
        row = []
        for ids in tokenizer.token_ids(lines):
            if len(row) + len(ids) > 62:
                expected.append(row)
                row = []
            row = row + ids
        expected.append(row)
    rows, _ = pack({"next_sentence": False})
    assert sorted(first for first, _, _ in rows) == sorted(expected)


def test_next_texts_follow_and_random_ones_are_of_another_document():
    documents, counts = tokens_of(DOCUMENTS), collections.Counter()
    rows, _ = pack({"dupe_factor": 5, "max_seq_length": 200})
    for first, second, label in rows:
        homes = [number for number, whole in enumerate(documents) if inside(first, whole)]
        assert first and second and homes
        if label == 0:
            assert (
                any(inside(first + second, documents[number]) for number in homes)
                or len(first) + len(second) == 197
            )
        else:
            assert any(
                inside(second, whole) for number, whole in enumerate(documents) if number not in homes[:1]
            )
        counts[label] += 1
    assert (
        set(counts) == {0, 1} and 0.4 < counts[1] / len(rows) < 0.75
    )  # over half: what is left at an end is often one sentence


def test_a_random_text_is_never_of_the_same_document():
    rows, _ = pack({"dupe_factor": 20}, [["good " * 5] * 30, ["bad " * 5] * 30])
    labels = {(first[0] == second[0], int(label)) for first, second, label in rows}
    assert labels == {(True, 0), (False, 1)}
    pieces = [Document("the " * 300, False), Document("the " * 300, True), Document("good " * 9, False)]
    packed = Packer(VOCABULARY, True, recipe(dupe_factor=20)).pack(0, pieces)
    data = packed.examples
    for start, end, label in zip(data.offsets[:-1], data.offsets[1:], data.labels):
        assert (len(set(data.input_ids[start:end].tolist())) == 3) == (label == 0)
    assert packed.documents == 2


def test_a_lone_document_is_packed_too():
    rows, _ = pack({}, DOCUMENTS[:1])
    assert all(inside(second, tokens_of(DOCUMENTS)[0]) for _, second, _ in rows) and len(rows) > 2
    assert pack({}, [["fox"]])[0][0][1] == tokens_of([["fox"]])[0]
    assert pack({"masked_lm_prob": 0.1}, [["\x07"], []])[0] == []


def test_long_pairs_lose_tokens_at_either_end():
    rows, _ = pack({"max_seq_length": 24, "dupe_factor": 10})
    full = [(first, second) for first, second, _ in rows if len(first) + len(second) == 21]
    starts = {tuple(ids[:4]) for ids in Tokenizer(VOCABULARY, True).token_ids(TEXTS)}
    share = np.mean([tuple(first[:4]) in starts for first, _ in full])
    assert len(full) > 500 and 0.2 < share < 0.95


def test_short_sequences():
    assert {len(first) for first, _, _ in pack({"next_sentence": False, "max_seq_length": 8})[0]} <= set(
        range(1, 7)
    )
    documents = [["good"] * 200] * 300
    rows, _ = pack({"next_sentence": False, "short_seq_prob": 0.3}, documents)
    # Rows of one document are of one length, but for its last one.
    full = collections.Counter(len(first) for first, _, _ in rows)[62]
    assert full % 3 == 0 and 0.6 < full / (3 * 300) < 0.8
    short = [len(first) for first, _, _ in rows if len(first) not in (62, 200 - 3 * 62)]
    assert min(short) <= 4 and max(short) >= 58
    assert len(pack({"next_sentence": False, "short_seq_prob": 0.0}, documents)[0]) == 4 * 300


def test_masking():
    rows, packed = pack({"next_sentence": False})
    masked = pack({"next_sentence": False, "masked_lm_prob": 0.15, "dupe_factor": 1})[1].examples
    before, after = packed.examples.input_ids, masked.input_ids
    assert np.array_equal(packed.examples.offsets, masked.offsets)
    special = (before == CLS) | (before == SEP)
    changed, is_mask = before != after, after == MASK
    assert not changed[special].any()
    wanted = np.maximum(1, np.rint(packed.examples.lengths * 0.15)).sum()
    assert np.count_nonzero(is_mask) == pytest.approx(0.8 * wanted, rel=0.1)
    assert np.count_nonzero(changed & ~is_mask) == pytest.approx(0.1 * wanted, rel=0.3)
    assert np.add.reduceat(is_mask, packed.examples.offsets[:-1]).max() <= np.rint(64 * 0.15)


def test_rows_are_shuffled_and_depend_on_seed_and_block():
    documents = [Document("\n".join(lines), False) for lines in DOCUMENTS]
    packs = [
        Packer(VOCABULARY, True, recipe(seed=seed)).pack(number, documents).examples.input_ids.tobytes()
        for seed, number in ((1, 0), (1, 0), (2, 0), (1, 1))
    ]
    assert packs[0] == packs[1] and len(set(packs)) == 3


# --- the program --------------------------------------------------------------------------------------------


def small_blocks(monkeypatch):
    """With --shard_mb 1, shards of three blocks of 2 kB of text."""
    for name, value in (("_MIB", 6 << 10), ("_LARGEST_BLOCK", 2 << 10), ("_SMALLEST_BLOCK", 2 << 10)):
        monkeypatch.setattr(corpus, name, value)


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A folder with a corpus of several shards; the vocabulary is beside it."""
    small_blocks(monkeypatch)
    (tmp_path / "raw").mkdir()
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    (tmp_path / "raw" / "a").write_text(plain(DOCUMENTS[:30]))
    (tmp_path / "raw" / "b").write_bytes(gzip.compress(plain(DOCUMENTS[30:]).encode()))
    return tmp_path / "raw"


def prepare(raw, *more, out="out", workers=1):
    prepare_data.main(
        [
            "--task_name",
            "GD",
            "--input",
            str(raw),
            "--vocab_file",
            str(raw.parent / "vocab.txt"),
            "--output_dir",
            str(raw.parent / out),
            "--num_workers",
            str(workers),
            "--max_seq_length",
            "32",
            "--shard_mb",
            "1",
            *more,
        ]
    )
    return raw.parent / out / "gd"


def test_only_one_process_writes_into_a_folder(raw, capsys):
    folder = raw.parent / "out" / "gd"
    folder.mkdir(parents=True)
    other = os.open(folder, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert f"another prepare_data.py is writing {folder}" in refused(capsys, raw) and not os.listdir(folder)
    os.close(other)
    assert "dataset.json" in os.listdir(prepare(raw))


def refused(capsys, raw, *more, **options):
    with pytest.raises(SystemExit) as ended:
        prepare(raw, *more, **options)
    message = capsys.readouterr().err
    assert ended.value.code == 2 and message.count("\n") == 1
    return message


def contents_of(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def rows_of(folder):
    """Sorted (ids, segments, label) of a folder's rows."""
    data = read_records(*find_split(str(folder), "train"))
    return sorted(
        (data.input_ids[start:end].tolist(), data.segment_ids[start:end].tolist(), int(label))
        for start, end, label in zip(data.offsets[:-1], data.offsets[1:], data.labels)
    )


def test_text_to_records(raw, capsys):
    folder = prepare(raw)
    files = sorted(name for name in os.listdir(folder) if name.endswith(".mindrecord"))
    info = DatasetInfo.load(str(folder))
    assert len(files) > 3 and files[0] == "train-00000.mindrecord" and info.splits["train"]["files"] == files
    assert (info.task_name, info.labels, info.max_seq_length, info.do_lower_case) == ("gd", (), 32, True)
    blocks = list(corpus.read_blocks(find_files([str(raw)]), BadRows(), 2 << 10))
    packer = Packer(VOCABULARY, True, recipe(max_seq_length=32, short_seq_prob=0.1, seed=42))
    expected = []
    for block in blocks:
        data = packer.pack(block.number, block.documents).examples
        expected += [
            (data.input_ids[start:end].tolist(), data.segment_ids[start:end].tolist(), int(label))
            for start, end, label in zip(data.offsets[:-1], data.offsets[1:], data.labels)
        ]
    assert rows_of(folder) == sorted(expected) and info.splits["train"]["rows"] == len(expected)
    assert (
        sum(info.splits["train"]["length_histogram"].values()) == len(expected)
        and info.splits["train"]["labelled"]
    )
    out = capsys.readouterr().out
    assert f"corpus: {len(DOCUMENTS)} documents, {len(TEXTS)} sentences" in out and "lines/s" in out
    assert out.splitlines()[-1].endswith(
        f"next: python run_general_distill.py --data_dir {folder} --load_teacher_ckpt_path TEACHER"
    )
    with pytest.raises(UserError, match="unknown task 'gd'"):
        get_task(info.task_name)


def test_without_labels(raw):
    folder = prepare(raw, "--next_sentence", "false")
    assert set(read_records(*find_split(str(folder), "train")).labels.tolist()) == {-1}
    assert not DatasetInfo.load(str(folder)).splits["train"]["labelled"]


def test_neither_workers_nor_interruptions_change_a_byte(raw, monkeypatch, capsys):
    expected = contents_of(prepare(raw, out="one"))
    assert contents_of(prepare(raw, out="two", workers=2)) == expected
    folder, finished = raw.parent / "three" / "gd", []

    def stop_after_two(shards, number, original=corpus.ShardFolder.shard):
        if len(finished) == 2:
            raise KeyboardInterrupt
        finished.append(number)
        return original(shards, number)

    monkeypatch.setattr(corpus.ShardFolder, "shard", stop_after_two)
    with pytest.raises(SystemExit) as ended:
        prepare(raw, out="three", workers=2)
    assert (
        ended.value.code == 130
        and len(list(folder.glob("*.mindrecord"))) == 2
        and not (folder / "dataset.json").exists()
    )
    monkeypatch.undo()
    small_blocks(monkeypatch)
    (folder / ".writing-killed").mkdir()  # what a killed run leaves
    (folder / ".writing-killed" / "train-00002.mindrecord").write_text("half")
    capsys.readouterr()
    prepare(raw, out="three")
    assert contents_of(folder) == expected and "has 2 finished shards; continuing" in capsys.readouterr().out
    (folder / "train-00001.mindrecord").unlink()  # lost later
    prepare(raw, out="three")
    assert contents_of(folder) == expected
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    capsys.readouterr()
    prepare(raw, out="three")
    assert "is complete" in capsys.readouterr().out
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_tfrecord(raw):
    pytest.importorskip("tensorflow")
    folder = prepare(raw, "--dataset_type", "tfrecord", out="tf")
    assert len(list(folder.glob("train-*.tf_record"))) > 3 and (folder / "schema.json").exists()
    assert rows_of(folder) == rows_of(prepare(raw))


def test_another_plan_is_refused(raw, capsys):
    prepare(raw)
    assert "was begun with seed 42, now it is 43" in refused(capsys, raw, "--seed", "43")
    assert "was begun with max_seq_length 32, now it is 40" in refused(capsys, raw, "--max_seq_length", "40")
    (raw / "c").write_text("more")
    assert 'was begun with inputs[2] null, now it is "c, 4 bytes, ' in refused(capsys, raw)
    (raw / "c").unlink()
    text = (raw / "a").read_text()
    (raw / "a").write_text(text.swapcase())  # of the same length
    assert "was begun with inputs[0]" in refused(capsys, raw)
    (raw / "a").write_text(text)
    assert "is complete" in (prepare(raw), capsys.readouterr().out)[1]


@pytest.mark.parametrize(
    "more, message",
    [
        (["--data_dir", "x"], "data_dir does not apply to task_name GD"),
        (["--labels", "a,b"], "labels does not apply"),
        (["--input", "absent"], "input: absent does not exist"),
        (["--input", ""], "input: an empty path does not exist"),
        (["--max_seq_length", "7"], "max_seq_length 7 leaves no room"),
        (["--short_seq_prob", "2"], "short_seq_prob"),
        (["--task_name", "SST-2", "--data_dir", "x"], "input does not apply to task_name SST-2"),
        (["--output_dir", ""], "output_dir is needed"),
    ],
)
def test_bad_settings(raw, capsys, more, message):
    assert message in refused(capsys, raw, *more) and not (raw.parent / "out").exists()


def test_bad_corpora_and_folders(raw, capsys):
    assert "lies inside the input" in refused(capsys, raw, "--output_dir", str(raw / "inside"))
    (raw / "b").write_bytes((raw / "b").read_bytes()[:-200])
    assert "b is truncated or damaged" in refused(capsys, raw)
    for path in raw.iterdir():
        path.write_text(" \n\n")
    assert "holds no text" in refused(capsys, raw, out="blank")
    (raw.parent / "other" / "gd").mkdir(parents=True)
    (raw.parent / "other" / "gd" / "notes.txt").write_text("keep me")
    assert "other/gd holds notes.txt and is no earlier result" in refused(capsys, raw, out="other")
    (raw.parent / "vocab.txt").write_text(
        "\n".join(token for token in VOCABULARY if token != "[MASK]") + "\n"
    )
    assert "has no [MASK]" in refused(capsys, raw, "--masked_lm_prob", "0.15")
