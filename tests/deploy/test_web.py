"""The page for the browser: what export.py writes, where its runtime comes from, and the page in Chromium."""

import functools
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import export
import predict
from src.data.tokenization import Tokenizer
from src.deploy import web, web_runtime
from src.deploy.exports import next_step
from src.deploy.onnx_model import choose_form, write_onnx
from src.errors import UserError
from src.kinds import CLASSIFICATION, REGRESSION, SPAN, TAGGING
from src.settings.network import QuantConfig
from src.tasks import TASK_NAMES, get_task
from tests.commands import refused_by, says
from tests.deploy.conftest import run_export
from tests.helpers import TOKENS, our_description, our_weights, refuses, run_script

SCRIPT, LOADER, WASM = web_runtime._FILES
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
QUIET = [*QUIET.split(), "--disable-component-update", "--disable-sync"]


def package(version="1.22.0", **changes):
    """{name: bytes} of a made-up runtime; a change to None leaves a file out."""
    banner = f"/*!\n * ONNX Runtime Web v{version}\n */\n".encode()
    files = {SCRIPT: banner, LOADER: b"loader", WASM: b"\0asm" * 100}
    return {name: data for name, data in {**files, **changes}.items() if data is not None}


def as_folder(path, files):
    path.mkdir(parents=True)
    for name, data in files.items():
        (path / name).write_bytes(data)


def as_archive(path, files, prefix="package/dist/"):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


# --- the runtime --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["", "dist", f"node_modules/{web_runtime.PACKAGE}/dist", "package.tgz"])
def test_a_runtime_is_taken_from_a_folder_or_an_archive(tmp_path, where):
    given = tmp_path / "given"
    if where.endswith(".tgz"):
        given = tmp_path / where
        as_archive(given, {**package(), "../../escaped": b"x", "ort.all.js": b"x"})
    else:
        as_folder(given / where, package())
    assert web_runtime.write_runtime(str(tmp_path / "runtime"), str(given)) == "1.22.0"
    assert sorted(os.listdir(tmp_path / "runtime")) == sorted(web_runtime.FILES)
    assert gzip.decompress((tmp_path / "runtime" / "ort.wasm.gz").read_bytes()) == package()[WASM]
    assert not list(tmp_path.rglob("escaped"))


def _linked(path):
    with tarfile.open(path, "w:gz") as archive:
        for name in web_runtime._FILES:
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(member)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "does not hold"),
        (lambda path: as_folder(path, package(**{WASM: None})), "does not hold"),
        (lambda path: as_folder(path, package("1.18.0")), "is ONNX Runtime Web 1.18.0, older than 1.19"),
        (lambda path: as_folder(path, package(**{SCRIPT: b"x"})), "does not say which version"),
        (lambda path: path.write_bytes(b"no archive"), "is no .tgz"),
        (lambda path: path.write_bytes(b""), "is no .tgz"),
        (lambda path: as_archive(path, package(), "dist/"), "does not hold package/dist/"),
        (lambda path: as_archive(path, package(**{LOADER: None})), f"does not hold package/dist/{LOADER}"),
        (_linked, "does not hold package/dist/"),
    ],
)
def test_a_runtime_that_is_none_is_one_line(tmp_path, make, words):
    given = tmp_path / "given"
    make(given)
    with pytest.raises(UserError) as caught:
        web_runtime.write_runtime(str(tmp_path / "runtime"), str(given))
    refuses(caught, "web_runtime: ", "given", words, "--web_runtime PATH")
    assert not (tmp_path / "runtime").exists()


@pytest.mark.parametrize(
    "npm, words",
    [
        (None, "npm is not installed"),
        ("echo npm error 404 no such version >&2; exit 1", "npm error 404"),
        ("sleep 60", "did not answer"),
    ],
)
def test_without_npms_package_one_line_says_what_to_give(tmp_path, monkeypatch, npm, words):
    if npm:
        (tmp_path / "npm").write_text(f"#!/bin/sh\n{npm.replace('sleep', 'exec sleep')}\n")
        (tmp_path / "npm").chmod(0o755)
    monkeypatch.setattr(web_runtime, "_SECONDS", 0.3 if npm == "sleep 60" else 60)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if npm else str(tmp_path))
    with pytest.raises(UserError) as caught:
        web_runtime.write_runtime(str(tmp_path / "runtime"), "")
    refuses(caught, words, "npm pack onnxruntime-web@", "--web_runtime PATH")


# --- the folder ---------------------------------------------------------------------------------------------


def test_only_a_folder_of_its_own_is_replaced(tmp_path):
    web.check_own(str(tmp_path / "new"))
    (tmp_path / "index.html").write_text("my own site")
    with pytest.raises(UserError) as caught:
        web.check_own(str(tmp_path))
    refuses(caught, "file_name", "no page.json", "another folder")
    (tmp_path / "page.json").write_text("{}")
    web.check_own(str(tmp_path))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError) as caught:
        web.check_own(str(tmp_path))
    refuses(caught, "file_name", "notes.txt", "another folder")


ONE_TEXT = {"CoLA", "SST-2", "TNEWS", "CLUENER"}


@pytest.mark.parametrize("name", TASK_NAMES)
def test_the_form_has_the_fields_of_the_task(name):
    expected = {get_task(name).kind: "never" if name in ONE_TEXT else "always"}
    if name == "custom":  # one's own rows are of any kind
        expected = {CLASSIFICATION: "maybe", REGRESSION: "maybe", TAGGING: "never", SPAN: "always"}
    for kind, fields in expected.items():
        outputs = 1 if kind == REGRESSION else 2
        description = replace(our_description(), labels=(), outputs=outputs, kind=kind, task_name=name)
        assert web.second_text(description) == fields


@pytest.mark.parametrize("accents", [None, True, False])
@pytest.mark.parametrize("lower_case", [True, False])
def test_page_json_says_how_text_is_written(lower_case, accents):
    description = replace(our_description(), task_name="custom", strip_accents=accents)
    page = web.page_settings(description, lower_case)
    assert (page["lower_case"], page["strip_accents"]) == (lower_case, accents)


def test_export_writes_the_page(task, tmp_path, capsys):
    as_folder(tmp_path / "given", package())
    given = ("--file_format", "WEB", "--web_runtime", tmp_path / "given")
    path = tmp_path / "page"
    as_folder(path, {"page.json": b"an older page", "model.onnx": b"and its model"})
    run_export("--ckpt_file", task.ternary, "--file_name", path, *given)
    out = capsys.readouterr().out
    says(
        out,
        "bit for bit",
        "ONNX Runtime Web 1.22.0",
        f"python -m http.server --directory {path} 8000, then open",
    )
    own = {*os.listdir(web.PAGE), "model.onnx", "vocab.txt", "page.json", "runtime"}
    assert set(os.listdir(path)) == own and "index.html" in own
    page = json.loads((path / "page.json").read_text())
    assert (page["task"], page["kind"], page["labels"]) == (
        "SST-2",
        "classification",
        ["negative", "positive"],
    )
    assert page["longest"] == 32 and page["bytes"]["model"] == (path / "model.onnx").stat().st_size
    folder = shutil.copytree(task.ternary, tmp_path / "bare")
    (folder / "vocab.txt").unlink()
    line = refused_by(export, capsys, "--ckpt_file", folder, "--file_name", tmp_path / "no", *given)
    says(line, "ckpt_file", "vocab.txt", "page")
    assert not (tmp_path / "no").exists()


# --- the page in a browser ----------------------------------------------------------------------------------

SENTENCES = [
    ("word1 word2", None),
    ("word3", "word4 word5"),
    ("Word6, WORD7!", None),
    ("w\u00f3rd8 word9\u0301", None),
    ("word1 word1 word1 word10", "word11"),
    ("word12 \u4e2d word13 \U0001f600", None),
    ("word14\u200bword1", "word2\u00a0word3"),
    ("word5 " * 30, None),
    ("word6 " * 5, "word7 " * 9),
    ('<b>word9</b> & "word8"', None),
]


def ternary_folder(path, runtime):
    """A page with a ternary network of random weights; three labels, one or two texts, rows of 10 tokens."""
    quantization = QuantConfig(activation_bits=8, activation_quantizer="dynamic", activation_clip_value=0.0)
    description = replace(our_description(), quantization=quantization, task_name="custom")
    weights = {
        name: 0.3 * np.clip(np.round(value), -1, 1) if value.ndim == 2 and "classifier" not in name else value
        for name, value in our_weights(3).items()
    }
    form, _ = choose_form("auto", weights, description)
    assert form == "ternary"
    shutil.copytree(runtime, path / "runtime")
    write_onnx(str(path / "model.onnx"), weights, description, form)
    web.write_page(str(path), description, TOKENS, True)


class Handler(SimpleHTTPRequestHandler):
    """Serves the page and takes what the driver posts."""

    def do_POST(self):
        self.server.posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.done.set()

    def log_message(self, *parts):
        """Say nothing."""


def in_chromium(folder, profile, seconds=240):
    """What web_driver.html posts from a folder that is served to a headless browser."""
    handler = functools.partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.done = threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/web_driver.html"
        command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", address]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        browser = subprocess.Popen(command, start_new_session=True, **quiet)
        try:
            assert server.done.wait(seconds), "the page did not answer"
        finally:
            os.killpg(browser.pid, signal.SIGTERM)
            browser.wait()
            server.shutdown()
        return server.posted


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_ten_sentences_in_chromium_are_answered_as_predict_does(tmp_path, monkeypatch, capsys):
    """With the runtime in WEB_RUNTIME, a path as for --web_runtime, or the one that npm has kept."""
    monkeypatch.setenv("npm_config_offline", "true")  # what is not there is told at once, not waited for
    try:
        web_runtime.write_runtime(str(tmp_path / "runtime"), os.environ.get("WEB_RUNTIME", ""))
    except UserError as error:
        pytest.skip(f"{error}, as WEB_RUNTIME here")
    folder = tmp_path / "page"
    folder.mkdir()
    ternary_folder(folder, tmp_path / "runtime")
    shutil.copy(Path(__file__).with_name("web_driver.html"), folder)
    (folder / "sentences.json").write_text(json.dumps(SENTENCES))
    posted = in_chromium(folder, tmp_path / "profile")
    assert "error" not in posted, posted
    assert posted["title"] == "custom" and "MB" in posted["facts"]
    for (text, pair), shown in zip(SENTENCES, posted["shown"]):
        given = ("--text", text, *(("--text_pair", pair) if pair else ()))
        out = run_script(predict, capsys, "--model", folder / "model.onnx", *given)
        label, probability, *_ = out.splitlines()[-1].split("\t")
        assert shown["headline"] == shown["names"][0] == label and len(shown["names"]) == 3
        shares = [float(share.split("\u00a0")[0]) for share in shown["shares"]]
        # Both round to 8 bits in steps of the row's own range: the last float bit of one decides some codes.
        assert shares[0] == pytest.approx(100 * float(probability), abs=0.5)
        assert sum(shares) == pytest.approx(100, abs=0.2)
        time, *notices = shown["times"]
        assert " ms" in time.replace("\u00a0", " ")
        long = len(Tokenizer(TOKENS, True).token_ids([f"{text} {pair or ''}"])[0]) > 10 - (3 if pair else 2)
        assert notices == (["Longer than 10 tokens: cut."] if long else [])


@pytest.mark.parametrize(
    "file_format, kind, words",
    [
        ("ONNX", TAGGING, "run_eval_onnx.py --model_file 'out/a page/model.onnx' --task_name SST-2"),
        ("ONNX", TAGGING, "; next: python predict.py --model 'out/a page/model.onnx' --text ...;"),
        ("MINDIR", SPAN, "predict.py --model 'out/a page/model.onnx' --question ... --context ...;"),
        ("SAFETENSORS", SPAN, "; next: python predict.py --model 'out/a page/model.onnx' --question"),
        ("WEB", CLASSIFICATION, "python -m http.server --directory 'out/a page' 8000"),
        ("AIR", CLASSIFICATION, ""),
    ],
)
def test_an_export_says_what_to_do_with_its_file(file_format, kind, words):
    model = SimpleNamespace(description=SimpleNamespace(head_kind=kind), vocabulary=TOKENS)
    said = next_step("out/a page/model.onnx", file_format, model, "SST-2")
    assert words in said and bool(said) is bool(words)
    model.vocabulary = None  # predict.py would refuse it
    assert "predict.py" not in next_step("out/a page/model.onnx", file_format, model, "SST-2")
