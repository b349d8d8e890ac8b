"""The command lines of the published TinyBERT, TernaryBERT and Q8BERT pages, as they stand there.

A launcher is run by the shell that the page names with DRY_RUN=1, which prints what it would start. That, and
what a page starts in Python, is parsed here with the settings of its entry script. Nothing is trained.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from src.settings.parsing import parse
from src.settings.tools import (
    EvaluateConfig,
    EvaluateExportedConfig,
    ExportConfig,
    InferConfig,
    PostprocessConfig,
    PreprocessConfig,
)
from src.settings.training import GeneralDistillConfig, TaskDistillConfig, TernaryConfig
from tests.launchers import clean_environment, rank_table, server, write_program
from tests.launchers import device as rank_device

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = {
    "run_general_distill.py": GeneralDistillConfig,
    "run_task_distill.py": TaskDistillConfig,
    "train.py": TernaryConfig,
    "eval.py": EvaluateConfig,
    "export.py": ExportConfig,
    "run_eval_onnx.py": EvaluateExportedConfig,
    "preprocess.py": PreprocessConfig,
    "infer_mindir.py": InferConfig,
    "postprocess.py": PostprocessConfig,
}
GD = {"config_path": "gd_config.yaml"}
STS = {"task_name": "sts-b", "device_target": "Ascend"}
FOLDERS = {"teacher_model_dir": "/home/xxx/model_dir/", "student_model_dir": "/home/xxx/model_dir/"}
INFER = [("preprocess.py", {"data_dir": "../data"}), ("infer_mindir.py", {"device_id": 1}), "postprocess.py"]

# (command, what it comes to: the entry scripts in their order, each with settings that it must have)
TINYBERT = [
    ("bash scripts/run_standalone_gd.sh", [("run_general_distill.py", GD)]),
    (
        "bash scripts/run_distributed_gd_ascend.sh 8 1 {hccl}",
        [("run_general_distill.py", {**GD, "distribute": True, "device_num": 8, "epoch_size": 1})] * 8,
    ),
    (
        "bash scripts/run_distributed_gd_gpu.sh 8 1 /path/data/ /path/schema.json /path/teacher.ckpt",
        [
            (
                "run_general_distill.py",
                {
                    "device_target": "GPU",
                    "data_dir": "/path/data/",
                    "schema_dir": "/path/schema.json",
                    "load_teacher_ckpt_path": "/path/teacher.ckpt",
                },
            )
        ]
        * 9,
    ),
    *(
        (
            f"bash scripts/run_standalone_td.sh td_config/td_config_{name}.yaml",
            [("run_task_distill.py", {"task_name": task})],
        )
        for name, task in (
            ("sst2", "SST-2"),
            ("mnli", "MNLI"),
            ("qnli", "QNLI"),
            ("15cls", "TNEWS"),
            ("ner", "CLUENER"),
        )
    ),
    (
        "python run_general_distill.py --distribute false --epoch_size 1 --device_num 1 --device_id 0 "
        "--device_target Ascend --do_shuffle true --enable_data_sink true "
        "--data_sink_steps 1 --save_ckpt_path out "
        "--load_teacher_ckpt_path teacher.ckpt --save_checkpoint_step 1000 --max_ckpt_num 1 --data_dir data "
        "--schema_dir schema.json --dataset_type tfrecord --train_steps 100",
        [("run_general_distill.py", {"save_ckpt_step": 1000, "enable_data_sink": True, "train_steps": 100})],
    ),
    (
        "python run_task_distill.py --device_target GPU --do_train true "
        "--do_eval true --td_phase1_epoch_size 10 "
        "--td_phase2_epoch_size 3 --device_id 0 --do_shuffle true "
        "--enable_data_sink true --save_ckpt_step 1000 "
        "--max_ckpt_num 1 --data_sink_steps 1 --load_teacher_ckpt_path t.ckpt --load_gd_ckpt_path gd.ckpt "
        "--train_data_dir train --eval_data_dir "
        "eval --task_type classification "
        "--task_name SST-2 --schema_dir schema.json --dataset_type tfrecord --assessment_method acc",
        [("run_task_distill.py", {"td_phase2_epoch_size": 3, "assessment_method": "acc"})],
    ),
    (
        "python run_general_distill.py --enable_modelarts=True --config_path=../../gd_config.yaml "
        "--data_dir=data --data_url=/cache --train_url=/out",
        [("run_general_distill.py", {"enable_modelarts": True, "data_dir": "data"})],
    ),
    (
        "python export.py --ckpt_file a.ckpt --task_name SST-2 --file_name 'sst2_tinybert' "
        '--file_format "ONNX"',
        [("export.py", {"file_name": "sst2_tinybert", "file_format": "ONNX"})],
    ),
    (
        "bash scripts/run_infer_310.sh {mindir} ../data schema.json tfrecord SST-2 accuracy y 1",
        [INFER[0], INFER[1], ("postprocess.py", {"assessment_method": "accuracy"})],
    ),
    (
        "python export.py --ckpt_file a.ckpt --task_name SST-2 --file_name 'sst2_tinybert' "
        '--file_format "ONNX" '
        "--config_path td_config/td_config_sst2.yaml",
        [("export.py", {"task_name": "SST-2", "file_format": "ONNX"})],
    ),
    (
        "python export.py --ckpt_file ./a.ckpt --file_name SST-2 --file_format MINDIR "
        "--config_path ./td_config/td_config_sst2.yaml",
        [("export.py", {"task_name": "SST-2"})],
    ),
    (
        "python export.py --enable_modelarts=True --ckpt_file=./a.ckpt --file_name=tinybert_sst2 "
        "--file_format=MINDIR --config_path=../../td_config/td_config_sst2.yaml",
        [("export.py", {"enable_modelarts": True})],
    ),
    *(
        (
            f"bash scripts/run_eval_onnx.sh td_config/td_config_{name}.yaml",
            [("run_eval_onnx.py", {"task_name": task})],
        )
        for name, task in (("sst2", "SST-2"), ("mnli", "MNLI"), ("qnli", "QNLI"))
    ),
    (
        "bash scripts/run_eval_onnx.sh td_config/td_config_sst2.yaml --onnx_path m.onnx --eval_data_dir D",
        [("run_eval_onnx.py", {"model_file": "m.onnx", "data_dir": "D"})],
    ),
    (
        "python preprocess.py --eval_data_dir=D --dataset_type=tfrecord --result_path=./preprocess_Result/ "
        "--task_name sts-b",
        [("preprocess.py", {"data_dir": "D"})],
    ),
    (
        "python train.py --data_dir data --model_dir models --task_name mnli --output_dir output "
        "--learning_rate 2e-5 --num_train_epochs 3 --weight_bits 2 --input_bits 8 --pred_distill "
        "--intermediate_distill --save_fp_model --save_quantized_model",
        [("train.py", {"task_name": "mnli", "epoch_size": 3, "teacher_model_dir": "models"})],
    ),
    (
        "python train.py --task_name mrpc --model_type quant_bert --model_name_or_path td_config "
        "--output_dir OUT --evaluate_during_training --data_dir MRPC --do_lower_case",
        [("train.py", {"quantization": "q8bert", "student_model_dir": "td_config"})],
    ),
    (
        "python train.py --model_path OUT --task_name mrpc --model_type quant_bert --output_dir OUT "
        "--data_dir MRPC --do_lower_case --overwrite_output_dir",
        [("train.py", {"model_path": "OUT"})],
    ),
]
TERNARYBERT = [
    (
        "sh scripts/run_train.sh sts-b GPU T S D 3",
        [("train.py", {"device_target": "GPU", "device_id": 3, "student_model_dir": "S", "data_dir": "D"})],
    ),
    ("sh scripts/run_train.sh sts-b GPU T S D", [("train.py", {"device_target": "GPU", "device_id": 0})]),
    (
        "bash scripts/run_standalone_train_ascend.sh sts-b Ascend 2 T S D",
        [("train.py", {**STS, "device_id": 2, "teacher_model_dir": "T", "data_dir": "D"})],
    ),
    (
        "bash scripts/run_standalone_train_ascend.sh sts-b Ascend T S D",
        [("train.py", {**STS, "teacher_model_dir": "T", "data_dir": "D"})],
    ),
    (
        "bash scripts/run_standalone_eval_ascend.sh sts-b Ascend 0 M D",
        [("eval.py", {**STS, "model_dir": "M", "data_dir": "D"})],
    ),
    ("sh scripts/run_eval.sh sts-b GPU M D", [("eval.py", {"device_target": "GPU", "model_dir": "M"})]),
    (
        "python train.py --task_name='sts-b' --device_target=\"Ascend\" "
        "--teacher_model_dir='/home/xxx/model_dir/' "
        "--student_model_dir='/home/xxx/model_dir/' --data_dir='/home/xxx/data_dir/'",
        [("train.py", {**STS, **FOLDERS, "data_dir": "/home/xxx/data_dir/"})],
    ),
    (
        "python train.py --device_target GPU --do_eval true --epoch_size 3 --device_id 0 --do_shuffle true "
        "--enable_data_sink true --save_ckpt_step 50 --eval_ckpt_step 50 "
        "--max_ckpt_num 50 --data_sink_steps 1 "
        "--teacher_model_dir T --student_model_dir S --data_dir D --output_dir ./ --task_name sts-b "
        "--dataset_type tfrecord --seed 1 --train_batch_size 16 --eval_batch_size 32",
        [("train.py", {"eval_ckpt_step": 50, "max_ckpt_num": 50, "seed": 1})],
    ),
    (
        "python train.py --enable_modelarts True --data_dir data "
        "--student_model_dir data/weight/student_model "
        "--teacher_model_dir data/weight/teacher_model --data_url /in --train_url /out",
        [("train.py", {"enable_modelarts": True, "student_model_dir": "data/weight/student_model"})],
    ),
    (
        "python eval.py --task_name='sts-b' --device_target=\"Ascend\" "
        "--model_dir='/home/xxx/model_dir/' --data_dir='/home/xxx/data_dir/'",
        [("eval.py", {**STS, "model_dir": "/home/xxx/model_dir/"})],
    ),
    (
        "python eval.py --device_target GPU --device_id 0 --model_dir M --data_dir D --task_name qnli "
        "--dataset_type tfrecord --batch_size 32",
        [("eval.py", {"task_name": "qnli", "batch_size": 32, "dataset_type": "tfrecord"})],
    ),
    (
        "python export.py --task_name sts-b --file_name ternarybert "
        "--ckpt_file ./output/sts-b/eval_model.ckpt",
        [("export.py", {"ckpt_file": "./output/sts-b/eval_model.ckpt"})],
    ),
    (
        "bash scripts/run_infer_310.sh {mindir} ../data tfrecord sts-b pearsonr y 1",
        [INFER[0], INFER[1], ("postprocess.py", {"assessment_method": "pearsonr"})],
    ),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{placeholder: path} of what a launcher looks into."""
    folder = tmp_path_factory.mktemp("published")
    table = rank_table(server("10.0.0.1", *(rank_device(number, number) for number in range(8))))
    (folder / "hccl.json").write_text(json.dumps(table))
    (folder / "m.mindir.json").write_text('{"seq_length": 64}')
    return {"hccl": folder / "hccl.json", "mindir": folder / "m.mindir", "folder": folder}


def printed(command, cwd=ROOT, **environment):
    """The command lines that a launcher prints with DRY_RUN=1, in the shell that the command names."""
    environment = clean_environment(DRY_RUN="1", PYTHON=sys.executable, **environment)
    done = subprocess.run(shlex.split(command), cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def started(line):
    """(entry script, its arguments) of a command line."""
    words = shlex.split(line)
    place = next(place for place, word in enumerate(words) if os.path.basename(word) in SETTINGS)
    arguments = [word for word in words[place + 1 :] if not re.match(r"\d?>", word)]
    return os.path.basename(words[place]), arguments


def same(value, expected):
    """Whether a setting has its value; of a path in the repository the end is enough."""
    return value == expected or (isinstance(value, str) and value == str(ROOT / str(expected)))


@pytest.mark.parametrize(
    "command, expected",
    [*TINYBERT, *TERNARYBERT],
    ids=[re.sub(r"[^\w.]+", "-", command)[:60] for command, _ in [*TINYBERT, *TERNARYBERT]],
)
def test_a_published_command_comes_to_our_settings(files, monkeypatch, command, expected):
    monkeypatch.chdir(ROOT)
    command = command.format(**files)
    lines = [command] if command.startswith("python ") else printed(command)
    assert [started(line)[0] for line in lines] == [script for script, _ in expected]
    for line, (script, values) in zip(lines, expected):
        settings, _ = parse(SETTINGS[script], started(line)[1])
        for key, value in values.items():
            assert same(getattr(settings, key), value), (key, getattr(settings, key))


# --- launchers without arguments, and under other shells ----------------------------------------------------

VALUES = {
    "run_train.sh": ("train.py", {"teacher_model_dir": "a b", "student_model_dir": "S#1", "data_dir": "D"}),
    "run_eval.sh": ("eval.py", {"model_dir": "a b", "data_dir": "D"}),
}


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
@pytest.mark.parametrize("script", VALUES)
def test_without_arguments_the_values_at_the_top_of_the_file_count(tmp_path, shell, script):
    if not shutil.which(shell):
        pytest.skip(f"no {shell}")
    (entry, values), copy = VALUES[script], tmp_path / "check out"
    shutil.copytree(ROOT / "scripts", copy / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "requirements.txt", copy)
    text = (copy / "scripts" / script).read_text()
    for name, value in {**values, "task_name": "mnli", "device_target": "CPU"}.items():
        text, count = re.subn(rf'^{name}=".*"$', f'{name}="{value}"', text, flags=re.MULTILINE)
        assert count == 1, name
    (copy / "scripts" / script).write_text(text)
    (line,) = printed(f"{shell} scripts/{script}", cwd=copy)
    name, arguments = started(line)
    assert name == entry
    arguments = [word for word in arguments if not word.endswith("ternary_config.yaml")]
    settings, _ = parse(SETTINGS[entry], [word for word in arguments if word != "--config_path"])
    expected = {**values, "task_name": "mnli", "device_target": "CPU"}
    assert {key: getattr(settings, key) for key in expected} == expected


def refused(command, cwd=ROOT, **environment):
    """The one line of a launcher that refuses."""
    done = subprocess.run(
        command, cwd=cwd, env=clean_environment(**environment), capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1, done
    return done.stderr


@pytest.mark.parametrize(
    "script, name", [("run_train.sh", "teacher_model_dir"), ("run_eval.sh", "model_dir")]
)
def test_values_that_nobody_has_set_are_named(script, name):
    said = refused(["sh", f"scripts/{script}"], PYTHON=sys.executable)
    assert said.startswith(
        f"error: {name} is empty: set it at the top of scripts/{script}, or give arguments"
    )


@pytest.mark.parametrize("script", ["run_train.sh", "run_eval.sh"])
def test_a_device_without_the_folders_is_one_line(script):
    said = refused(["bash", f"scripts/{script}", "sts-b", "GPU", "1", "M"], PYTHON=sys.executable)
    assert "are needed after TASK_NAME" in said


STARTED = [path for path in sorted((ROOT / "scripts").glob("*.sh")) if os.access(path, os.X_OK)]


@pytest.mark.parametrize("script", STARTED, ids=lambda path: path.name)
def test_every_launcher_starts_itself_again_under_bash_or_says_that_there_is_none(tmp_path, script):
    """In a shell that is not bash, with a bash that only notes what it is given, and with none."""
    dash = shutil.which("dash")
    if not dash:
        pytest.skip("no dash")
    (tmp_path / "dirname").symlink_to(shutil.which("dirname"))
    said = refused([dash, script, "a  b", "$c"], tmp_path, PATH=str(tmp_path))
    assert said == f"error: {script} is written for bash, which is not on the PATH here; install bash\n"
    write_program(tmp_path / "bash", f'#!{dash}\nprintf "<%s>" "$@"\n')
    done = subprocess.run(
        [dash, script, "a  b", "$c"], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"<{script}><a  b><$c>", "")


def test_a_settings_file_stands_for_the_arguments_of_the_onnx_evaluation(tmp_path):
    (tmp_path / "own file.yaml").write_text("task_name: SST-2\nmodel_file: m.onnx\ndata_dir: D\n")
    script = ROOT / "scripts" / "run_eval_onnx.sh"
    (line,) = printed(f"sh {script} 'own file.yaml' --batch_size 8", cwd=tmp_path)
    name, arguments = started(line)
    assert (name, arguments) == ("run_eval_onnx.py", ["--config_path", "own file.yaml", "--batch_size", "8"])
    said = refused(["sh", script, "a.yaml", "--config_path", "b.yaml"], tmp_path, PYTHON=sys.executable)
    assert "given twice" in said


# --- what the pages name ------------------------------------------------------------------------------------

NAMED = (
    "ms_and_tf_checkpoint_transfer_tools.py",
    "run_standalone_gd.py",
    "run_distribute_gd.py",
    "run_general_task.py",
    "create_pretraining_data.py",
    "run_classifier.py",
    "run_train.sh",
    "run_eval.sh",
    "run_standalone_train_ascend.sh",
    "run_standalone_eval_ascend.sh",
    "run_distributed_gd_ascend.sh",
    "run_distributed_gd_gpu.sh",
    "run_standalone_td.sh",
    "run_eval_onnx.sh",
    "run_infer_310.sh",
    "quant_task_glue.py",
    "quant_task_squad.py",
    "data_augmentation.py",
    "task_distill.py",
    "pregenerate_training_data.py",
    "nlp_architect",
    "LOG*/log.txt",
    "hccl_tools.py",
    "config.py",
    "mindspore_hub_conf.py",
    "ascend310_infer",
    "data_transfer.py",
)


@pytest.mark.parametrize("name", NAMED)
def test_a_search_for_a_published_name_finds_what_is_ours(name):
    page = (ROOT / "docs" / "coming-from-published.md").read_text(encoding="utf-8")
    assert f"`{name}" in page or f"{name}`" in page or f"{name} " in page
