"""The Ascend 310 chain, preprocess.py to postprocess.py, on a tiny model; its score is NumPy's."""

import json
import os
import shutil
import subprocess
import sys
import types

import mindspore as ms
import pytest

import infer_mindir
import postprocess
import preprocess
import run_eval_onnx
from tests.commands import refused_by, says
from tests.deployed import accuracy
from tests.helpers import ROOT, run_script, teachable, write_info, write_split


@pytest.fixture(scope="module")
def inputs(task, tmp_path_factory):
    """What preprocess.py writes for the MINDIR; not to be changed."""
    folder = tmp_path_factory.mktemp("chain") / "pre"
    with pytest.MonkeyPatch.context() as patch:
        given = [*task.flags, "--seq_length", "14", "--output_dir", str(folder)]
        patch.setattr(sys, "argv", ["preprocess.py", *given])
        preprocess.main()
    return folder


@pytest.fixture
def chain(inputs, mindir_file, tmp_path):
    """(flags of infer_mindir.py, flags of postprocess.py, copies of everything to be spoilt)."""
    shutil.copytree(inputs, tmp_path / "pre")
    for path in (mindir_file, f"{mindir_file}.json"):
        shutil.copy(path, tmp_path)
    folder = ("--input_dir", tmp_path / "pre")
    infer = ("--model_file", tmp_path / "m.mindir", *folder, "--output_dir", tmp_path / "results")
    return infer, ("--task_name", "SST-2", *folder, "--result_dir", tmp_path / "results")


def test_mindir_through_the_chain(task, mindir_file, chain, tmp_path, capsys):
    assert sorted(os.listdir(mindir_file.parent)) == ["m.mindir", "m.mindir.json", "vocab.txt"]
    out = run_script(run_eval_onnx, capsys, "--model_file", mindir_file, *task.flags)
    assert accuracy(out) == pytest.approx(task.accuracy, abs=1e-6)
    infer, post = chain
    says(run_script(infer_mindir, capsys, *infer), "21 rows", "batch of 8")
    out = run_script(postprocess, capsys, *post)
    assert accuracy(out) == pytest.approx(task.accuracy, abs=1e-6) and out.strip().endswith("21 rows")
    told = json.loads(run_script(postprocess, capsys, *post, "--json", "true"))
    assert told == {"task": "SST-2", "accuracy": pytest.approx(task.accuracy, abs=1e-6), "rows": 21}

    results = tmp_path / "results"
    with open(results / "row_0000003.bin", "ab") as file:
        file.write(b"1234")
    says(refused_by(postprocess, capsys, *post), "row_0000003.bin", "3 values", "not 2")
    os.remove(results / "row_0000003.bin")
    says(refused_by(postprocess, capsys, *post), "20 result files", "21 rows")
    says(refused_by(postprocess, capsys, "--task_name", "MRPC", *post[2:]), "SST-2", "MRPC")


def test_rows_too_long_for_the_model_are_told_before_anything_is_written(task, tmp_path, capsys):
    given = (*task.flags, "--seq_length", "8", "--output_dir", tmp_path / "pre")
    says(refused_by(preprocess, capsys, *given), "12 tokens", "--seq_length 12")
    assert os.listdir(tmp_path) == []


def test_mnlis_mismatched_set_is_written_where_it_is_asked_for(tmp_path, capsys):
    labels = ("entailment", "neutral", "contradiction")
    for split, rows in (("eval", 5), ("eval_mm", 3)):
        write_split(tmp_path / "mnli", split, teachable(rows, 3))
    write_info(tmp_path / "mnli", "MNLI", labels=labels)
    flags = ("--task_name", "MNLI", "--data_dir", tmp_path, "--seq_length", 14)
    flags += ("--output_dir", tmp_path / "pre")
    out = run_script(preprocess, capsys, *flags)
    says(out, "only the eval rows are written; others: --split eval_mm", "done: 5 rows")
    says(run_script(preprocess, capsys, *flags, "--split", "eval_mm"), "done: 3 rows")
    assert json.loads((tmp_path / "pre" / "rows.json").read_text())["split"] == "eval_mm"
    for file in (tmp_path / "mnli").glob("eval_mm*"):
        file.unlink()
    says(refused_by(preprocess, capsys, *flags, "--split", "eval_mm"), "split: ", "has no eval_mm rows")


def test_a_mindir_and_its_description_belong_together(chain, tmp_path, capsys):
    infer, _ = chain
    model, description = tmp_path / "m.mindir", tmp_path / "m.mindir.json"
    says(refused_by(infer_mindir, capsys, *infer, "--device_target", "Ascend"), "Ascend", "CPU")
    values = json.loads(description.read_text())
    for changes, words in (
        ({"vocab_sha256": "0" * 64}, ("another vocabulary",)),
        ({"batch_size": -1}, ("m.mindir.json is not the description", "batch_size must be a whole number")),
        ({"problem_type": "regression"}, ("with 2 outputs",)),
        ({"vocab_size": "many"}, ("vocab_size", "export.py did not write it")),
    ):
        description.write_text(json.dumps({**values, **changes}))
        says(refused_by(infer_mindir, capsys, *infer), *words)
    description.write_text(json.dumps(values))
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    says(refused_by(infer_mindir, capsys, *infer), "m.mindir is damaged", "checksum")


def test_rows_that_the_model_was_not_made_for_are_refused(chain, tmp_path, capsys):
    infer, post = chain
    rows = tmp_path / "pre" / "rows.json"
    info = json.loads(rows.read_text())
    for changes, words in (
        ({"largest_token_id": 40}, ("token id 40", "vocabulary of 40")),
        ({"largest_segment_id": 2}, ("type_vocab_size of 2",)),
        ({"task_name": "QNLI"}, ("SST-2", "QNLI")),
        ({"labels": ["positive", "negative"]}, ("negative, positive", "positive, negative")),
        ({"kind": "regression", "num_labels": 1, "labels": []}, ("2 output(s)", "regression")),
    ):
        rows.write_text(json.dumps({**info, **changes}))
        says(refused_by(infer_mindir, capsys, *infer), *words)
    for changes in ({"rows": "21"}, {"rows": 0}, {"seq_length": None}, {"largest_token_id": True}):
        rows.write_text(json.dumps({**info, **changes}))
        for program, arguments in ((infer_mindir, infer), (postprocess, post)):
            said = refused_by(program, capsys, *arguments)
            says(said, f"rows.json: {next(iter(changes))} must be a whole number")
    older = {name: value for name, value in info.items() if name != "kind"}
    rows.write_text(json.dumps({**older, "regression": False}))
    says(refused_by(infer_mindir, capsys, *infer), "rows.json lacks kind", "run preprocess.py again")


class StandInLite(types.ModuleType):
    """mindspore_lite, as far as it is used here, with MindSpore's own graph behind it."""

    class ModelType:
        MINDIR = "MINDIR"

    class Context:
        def __init__(self):
            self.target, self.ascend = [], types.SimpleNamespace()

    class Tensor:
        def __init__(self, values=None):
            self.values = values

        def set_data_from_numpy(self, values):
            self.values = values

        def get_data_to_numpy(self):
            return self.values

    class Model:
        def build_from_file(self, path, kind, context):
            if (
                kind != "MINDIR"
                or context.target != ["ascend"]
                or vars(context.ascend) != {"device_id": 3, "precision_mode": "enforce_origin"}
            ):
                raise RuntimeError(f"{kind} {context.target} {vars(context.ascend)}")
            self.graph = ms.nn.GraphCell(ms.load(path))

        def get_inputs(self):
            return [StandInLite.Tensor() for _ in range(3)]

        def predict(self, inputs):
            return [StandInLite.Tensor(self.graph(*(ms.Tensor(item.values) for item in inputs)).asnumpy())]


def test_inference_uses_mindspore_lite_where_it_is_installed(task, chain, capsys, monkeypatch):
    infer, post = chain
    monkeypatch.setitem(sys.modules, "mindspore_lite", StandInLite("mindspore_lite"))
    run_script(infer_mindir, capsys, *infer, "--device_target", "Ascend", "--device_id", "3")
    assert accuracy(run_script(postprocess, capsys, *post)) == pytest.approx(task.accuracy, abs=1e-6)
    says(
        refused_by(infer_mindir, capsys, *infer, "--device_target", "Ascend"),
        "MindSpore Lite cannot load it on Ascend",
        "'device_id': 0",
    )


def test_inference_and_score_need_no_mindspore():
    program = "import sys, infer_mindir, postprocess; sys.exit('mindspore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def launcher(*arguments):
    """The command line of the launcher."""
    return ["bash", os.path.join(ROOT, "scripts", "run_infer_310.sh"), *arguments]


def test_the_310_launcher_runs_the_chain_on_cpu(task, mindir_file, tmp_path):
    command = launcher(str(mindir_file), task.data, "", "auto", "SST-2", "auto", "y")
    environment = {**os.environ, "PYTHON": sys.executable, "DEVICE_TARGET": "CPU"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=environment)
    assert accuracy(done.stdout) == accuracy((tmp_path / "acc.log").read_text())
    assert accuracy(done.stdout) == pytest.approx(task.accuracy, abs=1e-6)


def test_the_310_launcher_runs_the_three_programs_in_order(tmp_path):
    (tmp_path / "m.mindir.json").write_text('{"seq_length": 14}')
    command = launcher("m.mindir", "my data", "", "auto", "SST-2", "auto")
    environment = {**os.environ, "PYTHON": sys.executable, "DRY_RUN": "1"}
    done = subprocess.run(
        [*command, "y", "3"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    first, second, third = done.stdout.strip().splitlines()
    says(first, "preprocess.py", "--task_name SST-2", r"my\ data", "--seq_length 14")
    says(second, "infer_mindir.py", "--device_target Ascend", "--device_id 3")
    says(third, "postprocess.py", "--assessment_method auto")
    lite = tmp_path / "lite"  # a Python with MindSpore Lite alone
    lite.write_text(
        '#!/bin/bash\n[ "$1$3" != -cmindspore ] || exit 1\n[[ "$1$3" != -c?* ]] || exit 0\nexec '
        f'{sys.executable} "$@"\n'
    )
    lite.chmod(0o755)
    environment["PYTHON"] = str(lite)
    done = subprocess.run(
        [*command, "n"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    first, second = done.stdout.strip().splitlines()
    says(first, f"{lite} -u ", "infer_mindir.py")
    says(second, "postprocess.py")
    done = subprocess.run(
        [*command, "perhaps"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and "NEED_PREPROCESS" in done.stderr
