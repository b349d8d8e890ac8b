"""What `--help` of every command shows, and in what order."""

import re
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from src.errors import UserError
from src.settings import groups, paths
from src.settings.commands import COMMANDS, SCRIPTS
from src.settings.defaults import chosen
from src.settings.help import shown_of
from src.settings.keys import types_of
from src.settings.parsing import parse
from src.settings.tools import EvaluateConfig, ExportConfig, PredictConfig, ReportConfig
from src.settings.training import FinetuneConfig, GeneralDistillConfig, TaskDistillConfig, TernaryConfig

ROOT = Path(__file__).resolve().parents[2]
TRAINING = (FinetuneConfig, GeneralDistillConfig, TaskDistillConfig, TernaryConfig)


@pytest.fixture
def printed(capsys, monkeypatch):
    def run(config_class, *arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            parse(config_class, list(arguments), script="x.py")
        assert caught.value.code == 0
        return capsys.readouterr().out

    monkeypatch.setenv("COLUMNS", "118")
    return run


def leaves(config_class):
    return {key for key, kind in types_of(config_class).items() if not is_dataclass(kind)}


def keys_of(text):
    return re.findall(r"^  --([\w.]+)", text, re.MULTILINE)


def titles_of(text):
    return re.findall(r"^(\w.*):$", text, re.MULTILINE)


def by_title(text):
    """{title: keys} of a help."""
    parts = re.split(r"^(\w.*):$", text, flags=re.MULTILINE)
    return {title: keys_of(part) for title, part in zip(parts[1::2], parts[2::2])}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_help_is_short_and_begins_with_what_one_needs(printed, command):
    text = printed(command, "--help")
    lines, titles = text.splitlines(), titles_of(text)
    assert len(lines) < 120 and max(map(len, lines)) <= 118
    first = "RUN ..." if command is ReportConfig else "--config_path FILE"
    assert lines[0] == f"usage: python x.py {first} --KEY VALUE ..."
    assert not [line for line in lines[1:] if line.endswith("...") and line.startswith("  --")]
    assert titles[0] == groups.NEEDED and [title for title in groups.GROUPS if title in titles] == titles
    for line in lines:  # a key is one line, which says something
        assert not line.startswith("  --") or re.fullmatch(r"  --[\w.]+ \S+  +\S.{6,}", line), line
    assert printed(command, "-h") == text


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_help_all_has_every_key_once_with_all_that_is_said_of_it(printed, command):
    text = printed(command, "--help_all")
    keys = keys_of(text)
    assert len(keys) == len(set(keys)) and set(keys) == leaves(command)
    assert set(keys_of(printed(command, "--help"))) <= set(keys)
    words = " ".join(text.split())
    for item in shown_of(command, parse(command, [])[0]):
        assert item.says and item.says in words


@pytest.mark.parametrize("command", TRAINING, ids=lambda command: command.__name__)
def test_a_training_command_shows_task_paths_epochs_batch_rate_and_output_first(printed, command):
    keys = by_title(printed(command, "--help"))[groups.NEEDED]
    words = ["data_dir", "epoch_size", "batch_size", "AdamWeightDecay.learning_rate", "output_dir"]
    places = [max(n for n, key in enumerate(keys) if key.endswith(word)) for word in words]
    assert places == sorted(places) and keys[0] == "config_path" and keys[-1] == "output_dir"
    assert any(key.endswith(("ckpt_path", "model_dir")) for key in keys)
    assert "task_name" == keys[1] or command is GeneralDistillConfig


def test_sections_are_groups_of_their_own(printed):
    groups_of = by_title(printed(TaskDistillConfig, "--help"))
    assert groups_of["Phase 1"][0] == "phase1_cfg.gradient_accumulation_steps"
    assert "phase2_cfg.temperature" in groups_of["Phase 2"]
    assert "td_student_net_cfg.num_hidden_layers" in groups_of["Student network"]
    assert {"Device", "ModelArts"} == set(list(groups_of)[-2:]) and "Teacher network" not in groups_of
    assert "quant_cfg.weight_bits" in by_title(printed(TernaryConfig, "--help"))["Quantization"]
    everything = by_title(printed(TaskDistillConfig, "--help_all"))
    assert "td_teacher_net_cfg.hidden_act" in everything["Teacher network"]


def test_every_group_is_used_and_settings_stand_where_they_belong(printed):
    found = {command: by_title(printed(command, "--help_all")) for command in COMMANDS}
    assert {title for titles in found.values() for title in titles} == set(groups.GROUPS)
    general = found[GeneralDistillConfig]
    assert {"save_ckpt_step", "save_ckpt_path"} <= set(general["Run and log"])
    assert "train_steps" in general[groups.NEEDED]
    assert {"data_dir", "task_name"} <= set(found[PredictConfig][groups.NEEDED])
    distils = [command for command in COMMANDS if "teacher_cache_gb" in leaves(command)]
    assert set(distils) == {TaskDistillConfig, TernaryConfig}
    titled = [(key, title) for titles in found.values() for title, keys in titles.items() for key in keys]
    for name in ("config_path", "version_2_with_negative", "schema_dir"):  # of several commands
        assert len({title for key, title in titled if key == name}) == 1
    for command in COMMANDS:  # a path is shown as one
        keys = leaves(command) & {*paths.DATA, *paths.CHECKPOINTS, *paths.OUTPUTS}
        assert not [key for key in keys if re.search(rf"^  --{key} TEXT", printed(command, "--help"), re.M)]


@pytest.mark.parametrize(
    "given, words",
    [
        ("--mindir_weights packed", ("mindir_weights", "ONNX", "--file_format MINDIR")),
        ("--mindir_weights float --file_format WEB", ("mindir_weights", "WEB")),
        ("--onnx_weights int8 --file_format MINDIR", ("onnx_weights", "MINDIR", "--file_format ONNX or WEB")),
        ("--onnx_layout huggingface --file_format SAFETENSORS", ("onnx_layout", "--file_format ONNX")),
        ("--web_runtime x.tgz", ("web_runtime", "--file_format WEB")),
        ("--onnx_weights int8 --file_format WEB", None),
        ("--mindir_weights float --file_format MINDIR", None),
        ("--onnx_weights auto --mindir_weights auto --file_format AIR", None),
    ],
)
def test_a_setting_of_another_format_is_refused(given, words):
    if words is None:
        assert parse(ExportConfig, given.split())[0].file_format in given
        return
    with pytest.raises(UserError) as caught:
        parse(ExportConfig, given.split())
    assert all(word in str(caught.value) for word in words)


def test_a_line_has_the_default_and_the_choices(printed):
    text = printed(TernaryConfig, "--help")
    assert re.search(r"^  --epoch_size 3 +Epochs\.$", text, re.MULTILINE)
    assert re.search(r"^  --quant_cfg.weight_bits 2 ", text, re.MULTILINE)  # as the preset has it
    assert "--quantization ternary" in text and "--resume false" in text and "--task_name TEXT" in text
    assert re.search(r"--bucket_boundaries 16,32,64,128,192,256,384 +Padded lengths in tokens", text)
    assert "--padding auto" in text and "auto|none|static|dynamic: Loss scaling" in text
    assert "--text TEXT" in printed(PredictConfig, "--help")
    assert "Softmax temperature of the soft cross-entropy" in text


def test_a_text_that_looks_like_the_flag_is_a_text():
    assert parse(PredictConfig, ["--text=--help"])[0].text == "--help"
    assert parse(PredictConfig, ["--text", "-h"])[0].text == "-h"


def test_a_start_names_only_what_differs(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "task_name: SST-2\nphase1_cfg: {batch_size: 32}\ntd_student_net_cfg: {hidden_size: 64}\n"
    )
    arguments = [
        "--config_path",
        str(recipe),
        "--bucket_boundaries",
        "16,32",
        "--td_student_net_cfg.hidden_size",
        "64",
    ]
    lines = chosen(parse(TaskDistillConfig, arguments)[0])
    assert "config.yaml" in lines[0] and set(lines[1:]) == {
        f"  config_path: {recipe}",
        "  task_name: SST-2",
        "  td_student_net_cfg.hidden_size: 64",
        "  bucket_boundaries: 16,32",
    }


def test_a_preset_is_no_difference_but_for_itself():
    assert chosen(parse(TernaryConfig, [])[0])[1:] == []
    assert chosen(parse(TernaryConfig, ["--quantization", "q8bert"])[0])[1:] == ["  quantization: q8bert"]
    lines = chosen(
        parse(TernaryConfig, ["--quant_cfg.weight_bits", "4", "--quant_cfg.weight_quantizer", "minmax"])[0]
    )
    assert lines[1:] == ["  quant_cfg.weight_bits: 4", "  quant_cfg.weight_quantizer: minmax"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_table_of_scripts_is_what_the_scripts_say(script):
    text = (ROOT / f"{script}.py").read_text(encoding="utf-8")
    assert re.findall(r"(?:with_settings|read_settings|parse)\((\w+Config)", text) == [
        SCRIPTS[script].__name__
    ]


def started(code, program):
    """A Python without MindSpore that was told to run a program and imports `src`."""
    first = f"import sys; sys.modules['mindspore'] = None; sys.argv = {program!r}; "
    return subprocess.run([sys.executable, "-c", first + code], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("flag", ["--help", "--help_all", "-h"])
def test_help_comes_before_the_program_loads_what_it_needs(flag):
    done = started("import src; print('too late')", ["x/train.py", "--seed", "1", flag])
    assert done.returncode == 0 and done.stderr == "" and "too late" not in done.stdout
    assert done.stdout.startswith("usage: python train.py") and "--train_cfg.batch_size 32" in done.stdout


@pytest.mark.parametrize(
    "program", [["pytest", "--help"], ["predict.py", "--text=-h"], ["predict.py", "--text", "-h"]]
)
def test_what_asks_for_no_help_of_ours_gets_none(program):
    assert started("import src; print('goes on')", program).stdout == "goes on\n"


def test_a_reader_of_the_help_may_go():
    done = subprocess.run(
        f"{sys.executable} train.py --help | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout.count("\n") == 1 and "Traceback" not in done.stderr


def test_every_mark_is_one_of_the_known_ones():
    for command in COMMANDS:
        for item in shown_of(command, command()):
            assert item.group in groups.GROUPS
    assert EvaluateConfig.GROUP in groups.GROUPS
