"""Paths that break tools: links, bytes that are no UTF-8, devices; and what is written beside a file."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open

from src import files
from src.data.texts import read_texts
from src.errors import UserError, command
from src.files import (
    _HOST,
    ROOT,
    make_folder,
    plain_path,
    replacing,
    replacing_folder,
    replacing_together,
    sweep,
    working_folder,
    write_json,
    write_safetensors,
    write_text,
)
from src.json_file import read_json
from tests.helpers import refuses

LATIN = os.fsdecode("café".encode("latin-1"))


@pytest.fixture(params=["there", "not there yet"])
def linked(request, tmp_path):
    """(link, what it leads to)."""
    target, link = tmp_path / "big disk" / "out", tmp_path / "out"
    if request.param == "there":
        target.mkdir(parents=True)
        (target / "old.txt").write_text("old")
    link.symlink_to(target)
    return link, target


def test_a_linked_folder_is_replaced_where_it_lies_and_the_link_stays(linked):
    link, target = linked
    for text in ("one", "two"):
        with replacing_folder(str(link)) as folder:
            write_text(os.path.join(folder, "new.txt"), text)
    assert link.is_symlink() and os.readlink(link) == str(target)
    assert os.listdir(target) == ["new.txt"] and (target / "new.txt").read_text() == "two"
    assert os.listdir(target.parent) == ["out"] and sorted(os.listdir(link.parent)) == ["big disk", "out"]


def test_a_failure_leaves_the_linked_folder_as_it_was(linked):
    link, target = linked
    before = os.listdir(target) if target.exists() else None
    with pytest.raises(ValueError), replacing_folder(str(link)):
        raise ValueError
    assert link.is_symlink() and (os.listdir(target) if target.exists() else None) == before


def test_files_are_written_in_a_linked_folder(linked):
    link, target = linked
    make_folder(str(link))
    write_text(str(link / "a" / "b.txt"), "text")
    assert (target / "a" / "b.txt").read_text() == "text" and link.is_symlink()


@pytest.mark.parametrize("there", [True, False])
def test_a_linked_file_is_replaced_where_it_lies_and_the_link_stays(tmp_path, there):
    target, link = tmp_path / "there" / "results.json", tmp_path / "results.json"
    target.parent.mkdir()
    if there:
        target.write_text("old")
    link.symlink_to("there/results.json")
    write_json(str(link), {"a": 1})
    assert os.readlink(link) == "there/results.json" and json.loads(target.read_text()) == {"a": 1}
    with replacing_together(str(link)) as path:
        write_text(path, "new")
    assert os.readlink(link) == "there/results.json" and target.read_text() == "new"
    assert os.listdir(target.parent) == ["results.json"]


@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_what_is_no_ordinary_file_is_not_replaced(tmp_path, kind):
    path = "/dev/null" if kind == "device" else str(tmp_path / kind)
    {"device": str, "pipe": os.mkfifo, "folder": os.mkdir}[kind](path)
    for writing in (replacing, replacing_together):
        with pytest.raises(UserError) as error, writing(path):
            pass
        refuses(error, path, "no ordinary file")
    assert os.path.exists(path) and not os.path.isfile(path)


def test_a_file_and_what_belongs_to_it_take_their_places_together(tmp_path):
    for generation in ("one", "two"):
        with replacing_together(str(tmp_path / "m_graph.mindir")) as path:
            write_text(path, generation)
            write_text(path + ".json", generation)
            write_text(os.path.join(os.path.dirname(path), "m_variables", f"data_{generation}"), generation)
    assert sorted(os.listdir(tmp_path)) == ["m_graph.mindir", "m_graph.mindir.json", "m_variables"]
    assert os.listdir(tmp_path / "m_variables") == ["data_two"]
    with pytest.raises(ValueError), replacing_together(str(tmp_path / "m_graph.mindir")) as path:
        write_text(path, "three")
        raise ValueError
    assert (tmp_path / "m_graph.mindir").read_text() == "two" and len(os.listdir(tmp_path)) == 3


@pytest.mark.parametrize("name", ["run #1 (50%25)", "what?", "a[1]*", "é 电影", "a;b&c", "new\nline"])
def test_a_utf8_path_stays_as_it_is(tmp_path, name, monkeypatch):
    assert plain_path(str(tmp_path / name / "x")) == str(tmp_path / name / "x")
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    assert plain_path("x.onnx") == "x.onnx"


@pytest.mark.parametrize("below", ["", "deep er/"])
def test_another_path_is_reached_by_a_link(tmp_path, monkeypatch, below):
    folder = tmp_path / LATIN / below
    folder.mkdir(parents=True)
    for path in (str(folder / "new.bin"), "new.bin"):
        monkeypatch.chdir(folder)
        plain = plain_path(path)
        plain.encode("utf-8")
        with open(plain, "w") as file:
            file.write("new")
        assert (folder / "new.bin").read_text() == "new"
        assert os.path.samefile(plain, folder / "new.bin")
    with pytest.raises(UserError) as error:
        plain_path(str(folder / f"{LATIN}.onnx"))
    refuses(error, "this file's name is not UTF-8 text", "rename it")


def test_json_keeps_a_path_of_any_bytes(tmp_path):
    path = str(tmp_path / "x.json")
    write_json(path, {"path": f"/data/{LATIN}", "text": "电影"})
    assert read_json(path, "it") == {"path": f"/data/{LATIN}", "text": "电影"}
    assert os.fsencode(read_json(path, "it")["path"]) == b"/data/caf\xe9"
    with open(path, encoding="utf-8") as file:
        assert "电影" in file.read()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_stream_shows_every_text(encoding):
    program = (
        "from src.errors import UserError, command\n@command\ndef main():\n"
        f"    print('好 é', {LATIN!r})\n    raise UserError('坏 ' + {LATIN!r})\nmain()"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 2 and done.stdout.count(b"\n") == 1 and done.stderr.count(b"\n") == 1
    assert rb"caf\udce9" in done.stdout and rb"caf\udce9" in done.stderr and b"Traceback" not in done.stderr
    assert ("好" if encoding == "utf-8" else r"\u597d").encode() in done.stdout


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_a_closed_stream_is_no_fault(monkeypatch, closed):
    monkeypatch.setattr(sys, closed, None)
    assert command(lambda: print("text", file=getattr(sys, closed)))() is None


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n\r\n", "\n \t\n", "\n\u3000\n\n"])
def test_blank_lines_at_the_end_of_a_file_of_texts_are_no_texts(tmp_path, end):
    path = tmp_path / "lines.txt"
    path.write_bytes(f"a good film\na\tb{end}".encode())
    rows = read_texts(False, False, str(path))
    assert [(row.text, row.text_pair) for row in rows] == [("a good film", None), ("a", "b")]


def test_blank_lines_elsewhere_are_left_out_which_is_said(tmp_path, capsys):
    path = tmp_path / "lines.txt"
    path.write_text("a\n\nb\tc\n \t \n\u3000\nd\n")
    rows = read_texts(False, False, str(path))
    assert [(row.text, row.text_pair, row.line_number) for row in rows] == [
        ("a", None, 1), ("b", "c", 3), ("d", None, 6)
    ]  # fmt: skip
    assert f"3 blank line(s) of {path} are left out, line 2 the first of them" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("lines.txt", "\n", "holds no text"),
        ("lines.txt", "", "holds no text"),
        ("lines.txt", "a\n\tb\n", "lines.txt, line 2: a text is empty"),
        ("rows.jsonl", "", "holds no text"),
        ("rows.jsonl", '{"text": "a"}\n{"text": " "}\n', "rows.jsonl, line 2: a text is empty"),
        ("rows.jsonl", '{"text": "a"}\nb\n', "line 2: not a JSON object"),
        ("rows.json", '[{"text": "a"}]', 'rows.json: its object has no list "data"'),
        ("rows.json", '{\n"text": "a"\n}', "an object a line in a .jsonl file"),
        ("rows.json", "plain words", "rows.json is not JSON"),
        ("rows.json", "", "holds no text"),
        ("rows.json", '{"data": 3}', 'no list "data"'),
        ("rows.jsonl", '{"body": "a"}\n', "texts are called question and context, or text"),
    ],
)
def test_files_without_texts_are_refused(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UserError) as error:
        read_texts(False, False, str(path))
    refuses(error, words)


@pytest.mark.parametrize(
    "line, text, pair",
    [
        ('{"text": "a", "label": "x"}', "a", None),
        ('{"text": "a", "text_pair": "b", "label": 3}', "a", "b"),
        ('{"sentence": "\u65b0\u95fb", "label": "108", "label_desc": "news_edu"}', "\u65b0\u95fb", None),
        ('{"sentence1": "a", "sentence2": "b"}', "a", "b"),
        ('{"question": "who?", "context": "he did"}', "who?", "he did"),
        ('{"text": "\u5f20\u4e09", "label": {"name": {"\u5f20\u4e09": [[0, 1]]}}}', "\u5f20\u4e09", None),
        ('{"text": "Anna", "entities": [[0, 4, "name"]]}', "Anna", None),
    ],
)
def test_rows_of_json_lines_give_their_texts(tmp_path, line, text, pair):
    for name in ("rows.jsonl", "rows.json"):
        path = tmp_path / name
        path.write_text(f"{line}\n{line}\n", encoding="utf-8")
        rows = read_texts(False, False, str(path))
        assert [(row.text, row.text_pair, row.label) for row in rows] == [(text, pair, None)] * 2


@pytest.mark.parametrize("indent", [None, 1])
def test_squads_files_and_tagged_words_give_their_texts(tmp_path, indent):
    questions = [{"id": "q1", "question": "who?"}, {"id": "q2", "question": "when?", "answers": []}]
    squad = {"version": "v2.0", "data": [{"paragraphs": [{"context": "he did", "qas": questions}]}]}
    (tmp_path / "dev.json").write_text(json.dumps(squad, indent=indent))
    (tmp_path / "rows.conll").write_text("Anna B-name\nleft O\n\nYork B-city\n")
    (tmp_path / "words.conll").write_text("Anna\nleft\n\nYork\n")
    for name, expected in (
        ("dev.json", [("who?", "he did"), ("when?", "he did")]),
        ("rows.conll", [("Anna left", None), ("York", None)]),
        ("words.conll", [("Anna left", None), ("York", None)]),
    ):
        rows = read_texts(False, False, str(tmp_path / name))
        assert [(row.text, row.text_pair) for row in rows] == expected


@pytest.mark.parametrize(
    "umask, file_mode, folder_mode", [(0o022, 0o644, 0o755), (0o077, 0o600, 0o700), (0o002, 0o664, 0o775)]
)
def test_everything_gets_the_mode_that_the_users_umask_wants(
    tmp_path, monkeypatch, umask, file_mode, folder_mode
):
    monkeypatch.setattr(files, "_UMASK", umask)
    write_text(str(tmp_path / "a.txt"), "x")
    write_safetensors(str(tmp_path / "b"), {"x": np.zeros(2)}, {})
    with replacing_folder(str(tmp_path / "c")) as folder:
        os.mkdir(os.path.join(folder, "d"), 0o700)
        os.close(os.open(os.path.join(folder, "d", "e"), os.O_CREAT, 0o400))
    with replacing_together(str(tmp_path / "f")) as path:
        os.close(os.open(path, os.O_CREAT, 0o600))
    found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert found == {**dict.fromkeys("cd", folder_mode), **dict.fromkeys(("a.txt", "b", "e", "f"), file_mode)}


def test_the_same_weights_and_words_are_the_same_bytes(tmp_path):
    """The library writes the words in an order of chance."""
    words = {"format": "a", "version": "4", "layout": '{"b": "名\\n"}', "sha256": "", "config": "c"}
    for number in range(9):
        write_safetensors(str(tmp_path / f"{number}"), {"x": np.arange(3.0), "a": np.ones(2)}, words)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    with safe_open(tmp_path / "0", "numpy") as file:
        assert file.metadata() == words and file.get_tensor("x").tolist() == [0, 1, 2]


# --- killed processes ---------------------------------------------------------------------------------------


def killed(job):
    """Run `job` in a process that it kills."""
    process = multiprocessing.get_context("fork").Process(target=job)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def killed_at_rename(number, job):
    """Run `job` in a process that is killed before its rename of that number, from 1."""

    def run():
        renames = iter(range(1, 99))
        real = {name: getattr(os, name) for name in ("rename", "replace")}

        def renaming(name):
            def rename(*paths):
                if next(renames) == number:
                    kill()
                real[name](*paths)

            return rename

        for name in real:
            setattr(os, name, renaming(name))
        job()

    killed(run)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_folder_is_there_whenever_its_writer_is_killed(tmp_path, number):
    model = tmp_path / "model"
    model.mkdir()
    (model / "old").write_text("a finished model")

    def write():
        with replacing_folder(str(model)) as folder:
            write_text(os.path.join(folder, "new"), "another")

    killed_at_rename(number, write)
    sweep(str(tmp_path))
    assert contents(tmp_path) in ({"model/old": "a finished model"}, {"model/new": "another"})
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("number", range(1, 7))
def test_the_folder_beside_a_file_is_there_whenever_its_writer_is_killed(tmp_path, number):
    def write(text):
        with replacing_together(str(tmp_path / "m_graph.mindir")) as path:
            write_text(path, text)
            write_text(os.path.join(os.path.dirname(path), "m_variables", "data"), text)

    write("one")
    killed_at_rename(number, lambda: write("two"))
    sweep(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["m_graph.mindir", "m_variables"]
    assert os.listdir(tmp_path / "m_variables") == ["data"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_folder_comes_back_where_its_successor_cannot_take_its_place(tmp_path, monkeypatch, error):
    model, rename = tmp_path / "model", os.rename
    model.mkdir()
    (model / "old").write_text("old")

    def fails(old, new):
        if old.endswith("model") and new == str(model) and ".writing" in old:
            raise error
        rename(old, new)

    with pytest.raises(error), replacing_folder(str(model)) as folder:
        write_text(os.path.join(folder, "new"), "new")
        monkeypatch.setattr(os, "rename", fails)
    assert contents(tmp_path) == {"model/old": "old"} and os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize("writing", [replacing, replacing_together, replacing_folder])
def test_the_next_process_that_writes_sweeps_out_what_killed_ones_left(tmp_path, writing):
    def write(end):
        with writing(str(tmp_path / "x")) as path:
            write_text(os.path.join(path, "x") if writing is replacing_folder else path, "x")
            end()

    for _ in range(2):
        killed(lambda: write(kill))
    assert len(os.listdir(tmp_path)) == 1
    write(lambda: None)
    assert os.listdir(tmp_path) == ["x"]


def test_what_another_machine_writes_is_swept_out_after_a_week_and_what_a_link_leads_to_never(tmp_path):
    """Locks of a network's folders can be each machine's own."""
    folder, theirs = tmp_path / "folder", tmp_path / "theirs"
    theirs.mkdir(), folder.mkdir()
    (theirs / "x").write_text("theirs")
    (folder / f".replaced-abcdefgh-{_HOST}").symlink_to(theirs)
    new, old = (folder / f".writing-{name}-elsewhere" for name in ("abcdefgh", "ijklmnop"))
    new.mkdir(), old.mkdir()
    os.utime(old, (1e9, 1e9))
    sweep(str(folder))
    assert sorted(os.listdir(folder)) == sorted([f".replaced-abcdefgh-{_HOST}", new.name])
    assert os.listdir(theirs) == ["x"]


def test_a_folder_that_cannot_be_put_back_waits_to_be_swept(tmp_path, monkeypatch):
    write_text(str(tmp_path / "x" / "a"), "old")
    real = os.rename

    def failing(source, target):
        if os.path.basename(os.path.dirname(source)).startswith((".writing-", ".replaced-")):
            raise OSError(errno.EIO, "Input/output error")
        real(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError), replacing_folder(str(tmp_path / "x")) as path:
        write_text(os.path.join(path, "a"), "new")
    monkeypatch.undo()
    sweep(str(tmp_path))
    assert os.listdir(tmp_path) == ["x"] and (tmp_path / "x" / "a").read_text() == "old"


def test_what_others_write_or_own_is_not_swept_out(tmp_path):
    mine = [".writing-notes", ".writing-x.txt", ".replaced-", "a.writing-12345678-x", ".writing"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    reading, writing = multiprocessing.Pipe()

    def hold():
        with replacing(str(tmp_path / "theirs")) as path:
            # As MindSpore does: under a name of its own, then renamed over ours.
            write_text(os.path.splitext(path)[0] + ".tmp", "theirs")
            writing.send("written")
            writing.recv()
            os.replace(os.path.splitext(path)[0] + ".tmp", path)
            writing.send("renamed")
            writing.recv()

    process = multiprocessing.get_context("fork").Process(target=hold, daemon=True)
    process.start()
    for expected in ("written", "renamed"):
        assert reading.poll(60) and reading.recv() == expected
        write_text(str(tmp_path / f"ours {expected}"), "ours")
        sweep(str(tmp_path))
        reading.send("go on")
    process.join()
    assert process.exitcode == 0
    expected = {**dict.fromkeys(mine, "mine"), "ours written": "ours", "ours renamed": "ours"}
    assert contents(tmp_path) == {**expected, "theirs": "theirs"}


def test_a_folder_that_is_swept_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    real, made = os.open, []

    def swept_before(path, *further, **options):
        if ".writing-" in os.path.basename(path) and not made:
            made.append(path)
            os.rmdir(path)
        return real(path, *further, **options)

    monkeypatch.setattr(os, "open", swept_before)
    with working_folder(str(tmp_path)) as folder:
        assert os.path.isdir(folder) and made and folder != made[0]
    assert os.listdir(tmp_path) == []
