"""Which files a corpus is, and their documents."""

import bz2
import gzip
import html
import io
import json
import lzma
import os
import re
import tarfile

import pytest

from src.data.corpus import documents as corpus_documents
from src.data.corpus.documents import CorpusReader
from src.data.corpus.files import find_files
from src.data.corpus.words import split_sentences
from src.data.readers.rows import BadRows
from src.errors import UserError
from tests.texts import DOCUMENTS, TEXTS, plain


def read(*inputs, skip=False, piece_bytes=1 << 20):
    """(documents' texts, lines read, `BadRows`)."""
    bad_rows = BadRows(skip)
    reader = CorpusReader(find_files([str(path) for path in inputs]), bad_rows, piece_bytes)
    return [document.text for document in reader.documents()], reader.lines, bad_rows


def sentences_of(text):
    return [line.strip() for line in split_sentences(text).split("\n") if line.strip()]


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_that_end_with_carriage_returns_only(tmp_path, form, packed):
    text = plain(DOCUMENTS)
    if form == "json":
        text = "".join(json.dumps({"text": "\n".join(lines)}) + "\n" for lines in DOCUMENTS)
    for name, content in (("unix", text), ("mac", text.replace("\n", "\r"))):
        (tmp_path / name).write_bytes(packed(content.encode()))
    unix, mac = read(tmp_path / "unix"), read(tmp_path / "mac")
    assert mac[:2] == unix[:2] and len(mac[0]) == len(DOCUMENTS)


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
    with pytest.raises(UserError, match=re.escape(message)):
        read(tmp_path / "corpus")


def test_a_link_to_a_folder_is_left_out_and_named(tmp_path, capsys):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a").write_text("fox\n")
    (tmp_path / "corpus" / "b").symlink_to(tmp_path)
    assert [file.name for file in find_files([str(tmp_path / "corpus")])] == ["a"]
    assert f"{tmp_path}/corpus/b is a link to a folder and is left out" in capsys.readouterr().out


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=re.escape("pipe is neither a file nor a folder")):
        find_files([str(tmp_path / "pipe")])


def test_a_json_line_too_long_to_hold_is_a_bad_row(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus_documents, "_LONGEST_JSON", 64)
    (tmp_path / "a").write_text('{"text": "one"}\n{"text": "' + "x" * 200 + '"}\n{"text": "two"}\n')
    with pytest.raises(UserError, match=re.escape("a, line 2: a JSON line of more than")):
        read(tmp_path / "a")
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
