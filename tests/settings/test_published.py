"""Settings of the published pages are read as they are; what has no place in a command is named."""

import re
from pathlib import Path

import pytest
import yaml

from src.errors import UserError
from src.settings.command_line import CommandLine
from src.settings.commands import COMMANDS
from src.settings.keys import Keys, types_of
from src.settings.network import QuantConfig
from src.settings.parsing import parse, to_yaml
from src.settings.stage import AdamWeightDecayConfig
from src.settings.tools import (
    EvaluateConfig,
    EvaluateExportedConfig,
    ExportConfig,
    PostprocessConfig,
    PreprocessConfig,
)
from src.settings.training import FinetuneConfig, GeneralDistillConfig, TaskDistillConfig, TernaryConfig
from src.settings.yaml_file import read_yaml
from tests.helpers import refuses
from tests.published_files import FILES

HELD = {"enable_profiling", "folder_name_under_zip_file"}  # with the values of the files nothing is lost


@pytest.fixture
def path(tmp_path):
    """A YAML file with a text."""

    def write(text):
        (tmp_path / "file.yaml").write_text(text)
        return str(tmp_path / "file.yaml")

    return write


@pytest.fixture
def read(path):
    """Settings and notices of a command from a YAML file's text and further arguments."""
    return lambda config_class, text, *arguments: parse(
        config_class, ["--config_path", path(text), *arguments]
    )


@pytest.fixture
def sorted_out(path):
    """(a command's own settings in a YAML file's text, nested, the notices): `parse` takes longer."""

    def run(config_class, text):
        notices = []
        return read_yaml(path(text), Keys(config_class), notices), notices

    return run


def said(config_class, *arguments):
    """The notices of a command line; `parse` takes longer."""
    notices = []
    CommandLine(Keys(config_class), notices).tidy(arguments)
    return notices


def refused(read, *arguments):
    with pytest.raises(UserError) as error:
        read(*arguments)
    assert "\n" not in str(error.value)
    return error


def aside(notices):
    """What the one notice of it says is left aside; "" without one."""
    lines = [line for line in notices if ": left aside: " in line]
    assert len(lines) <= 1
    return lines[0].partition(": left aside: ")[2] if lines else ""


def is_known(key, config_class, notices):
    """Whether a file's key is a setting of a command, an old name of one, or left aside by name."""
    old = any(line.partition(" is read as")[0].partition(".")[0] == key for line in notices)
    return key in types_of(config_class) or old or bool(re.search(rf"\b{key}\b", aside(notices)))


# --- the published files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, length, vocabulary, end",
    [
        ("td_config_sst2", 64, 30522, 0.0),
        ("td_config_qnli", 128, 30522, 0.0),
        ("td_config_mnli", 128, 30522, 0.0),
        ("td_config_15cls", 128, 21128, 1e-14),
        ("td_config_ner", 128, 21128, 1e-14),
    ],
)
def test_task_distillation_reads_its_published_file(read, name, length, vocabulary, end):
    settings, notices = read(TaskDistillConfig, FILES[name], "--task_name", "x", "--device_target", "CPU")
    assert (settings.task_name, settings.device_target, settings.task_type) == ("x", "CPU", "classification")
    assert (
        settings.do_train is True
        and settings.enable_data_sink is True
        and settings.dataset_type == "tfrecord"
    )
    assert (settings.td_phase1_epoch_size, settings.td_phase2_epoch_size, settings.save_ckpt_step) == (
        10,
        3,
        100,
    )
    for phase, rate, scale in ((settings.phase1_cfg, 5e-5, 256), (settings.phase2_cfg, 2e-5, 65536)):
        assert (phase.batch_size, phase.loss_scale_value, phase.scale_window) == (32, scale, 50)
        assert phase.optimizer_cfg.AdamWeightDecay == AdamWeightDecayConfig(
            learning_rate=rate, end_learning_rate=end, weight_decay=1e-4
        )
    for network, width, layers in (
        (settings.td_teacher_net_cfg, 768, 12),
        (settings.td_student_net_cfg, 384, 4),
    ):
        assert (network.seq_length, network.vocab_size, network.hidden_size) == (length, vocabulary, width)
        assert (network.num_hidden_layers, network.compute_type) == (layers, "float16")
        assert network.hidden_act is None  # gelu: either form, so the checkpoint's own
    left = aside(notices)
    for key in ("num_labels", "description", "ckpt_file", "file_name", "file_format", "hidden_act"):
        assert key in left
    assert ("onnx_path" in left) == ("onnx_path" in FILES[name])
    assert "phase1_cfg" not in left and "dtype" not in left  # float32 is what is done


def test_general_distillation_reads_its_published_file(read):
    settings, notices = read(GeneralDistillConfig, FILES["gd_config"])
    assert (settings.epoch_size, settings.save_ckpt_step, settings.seed, settings.distribute) == (
        3,
        100,
        7,
        False,
    )
    assert (settings.gd_cfg.batch_size, settings.gd_cfg.scale_window) == (32, 1000)
    assert settings.gd_cfg.optimizer_cfg.AdamWeightDecay == AdamWeightDecayConfig(
        learning_rate=5e-5, end_learning_rate=1e-14, weight_decay=1e-4
    )
    assert (settings.gd_teacher_net_cfg.num_hidden_layers, settings.gd_student_net_cfg.hidden_size) == (
        12,
        384,
    )
    old = [line for line in notices if " is read as " in line]
    assert len(old) == 6 and any("seed1 is read as seed" == line for line in old)
    assert aside(notices).startswith("description (")


def test_ternary_training_reads_published_settings(read):
    settings, notices = read(TernaryConfig, FILES["ternary"])
    assert settings.quantization_cfg == QuantConfig(
        embedding_bits=2,
        weight_bits=2,
        weight_clip_value=3.0,
        activation_bits=8,
        activation_clip_value=2.5,
        rest_bits=8,
    )
    assert settings.dropout == {
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "classifier_dropout": 0.1,
    }
    assert (settings.train_cfg.batch_size, settings.train_cfg.max_grad_norm, settings.eval_batch_size) == (
        16,
        1,
        32,
    )
    assert settings.intermediate_distill and not settings.is_lgt_fit and settings.seed == 1
    assert settings.compute_type == "float32"
    assert (settings.student_net_cfg.hidden_size, settings.teacher_net_cfg.num_hidden_layers) == (768, 6)
    left = aside(notices)
    for key in ("file_name", "ckpt_file", "num_labels", "task_cfg", "description"):
        assert key in left
    assert "gradient_cfg" not in left and "eval_cfg" not in left


@pytest.mark.parametrize("config_class", COMMANDS, ids=lambda item: item.__name__)
@pytest.mark.parametrize("name", FILES)
def test_no_command_loses_a_key_of_a_published_file_in_silence(sorted_out, config_class, name):
    _, notices = sorted_out(config_class, FILES[name])
    assert any("3 YAML documents; only the first one counts" in line for line in notices)
    for key in yaml.safe_load(FILES[name].partition("---\n")[0]):
        assert key in HELD or is_known(key, config_class, notices), key


@pytest.mark.parametrize("path", sorted(Path("td_config").glob("*.yaml")) + [Path("gd_config.yaml")], ids=str)
def test_our_recipes_serve_export_too(path):
    notices = []
    read_yaml(str(path), Keys(ExportConfig), notices)
    for key in yaml.safe_load(path.read_text()):
        assert is_known(key, ExportConfig, notices), key


def test_every_command_of_the_repository_is_among_those_that_share_files():
    scripts = "\n".join(path.read_text() for path in Path(".").glob("*.py"))
    used = set(re.findall(r"(?:with_settings|read_settings|parse)\((\w+Config)\b", scripts))
    assert used == {command.__name__ for command in COMMANDS}


# --- what is left aside, and what is not --------------------------------------------------------------------


@pytest.mark.parametrize(
    "config_class, text, left",
    [
        (ExportConfig, "load_teacher_ckpt_path: t\n", "load_teacher_ckpt_path (of other commands)"),
        (ExportConfig, "phase1_cfg:\n  batch_size: 8\n", "phase1_cfg (of other commands)"),
        (ExportConfig, "phase1_cfg.batch_size: 8\n", "phase1_cfg (of other commands)"),
        (ExportConfig, "common_cfg:\n  AdamWeightDecay:\n    eps: 1\n", "common_cfg (of other commands)"),
        (ExportConfig, "phase1_cfg:\ntd_teacher_net_cfg: {}\n", "phase1_cfg, td_teacher_net_cfg (of other"),
        (
            ExportConfig,
            "td_teacher_net_cfg:\n  dtype: mstype.float16\n",
            "td_teacher_net_cfg (of other commands)",
        ),
        (TaskDistillConfig, "batch_size: 8\nepoch_size: 2\n", "batch_size, epoch_size (of other commands)"),
        (
            TaskDistillConfig,
            "batch_size: 8\nlabels: [a]\n",
            "batch_size, labels (of other commands); for batch_size, did you mean eval_cfg.batch_size or",
        ),
        (
            TernaryConfig,
            "batch_size: 8\n",
            "batch_size (of other commands); for batch_size, did you mean train_",
        ),
        (TaskDistillConfig, "seed1: 1\nseed2: 2\n", "seed2 (seed, published as seed1, draws everything)"),
        (GeneralDistillConfig, "labels: [a, b]\n", "labels (of other commands)"),
        (
            TernaryConfig,
            "eval_cfg: {batch_size: 8, eval_step: 3}\n",
            "eval_cfg.eval_step (of other commands)",
        ),
    ],
)
def test_settings_of_other_commands_are_named_and_left_aside(sorted_out, config_class, text, left):
    own, notices = sorted_out(config_class, text + "config_path: ''\n")
    assert aside(notices).startswith(left)
    assert "phase1_cfg" not in own and own["config_path"] == ""


@pytest.mark.parametrize("config_class", [ExportConfig, TaskDistillConfig, TernaryConfig])
@pytest.mark.parametrize(
    "text, key, hint",
    [
        ("load_techer_ckpt_path: x\n", "load_techer_ckpt_path", "did you mean load_teacher_ckpt_path?"),
        ("phase1_cfg:\n  batchsize: 8\n", "phase1_cfg.batchsize", "did you mean phase1_cfg.batch_size?"),
        ("common_cfg:\n  batchsize: 8\n", "common_cfg.batchsize", "did you mean"),
        ("td_student_net_cfg:\n  layers: 8\n", "td_student_net_cfg.layers", ";"),
        ("numlabels: 3\n", "numlabels", ";"),
    ],
)
def test_a_key_that_no_command_knows_is_an_error(sorted_out, config_class, text, key, hint):
    refuses(refused(sorted_out, config_class, text), f"unknown setting '{key}'", hint)


def test_the_command_line_takes_no_settings_of_other_commands():
    with pytest.raises(UserError) as error:
        parse(ExportConfig, ["--ckpt_file", "x", "--td_phase1_epoch_size", "3"])
    refuses(error, "unknown setting 'td_phase1_epoch_size'")


@pytest.mark.parametrize(
    "config_class, text, key, value",
    [
        (EvaluateExportedConfig, "onnx_path: m.onnx\n", "model_file", "m.onnx"),
        (EvaluateExportedConfig, "eval_data_dir: d\ntrain_data_dir: t\n", "data_dir", "d"),
        (EvaluateExportedConfig, "eval_cfg: {batch_size: 8}\n", "batch_size", 8),
        (EvaluateConfig, "eval_data_dir: d\n", "data_dir", "d"),
        (EvaluateConfig, "eval_cfg: {batch_size: 8}\n", "batch_size", 8),
        (PreprocessConfig, "eval_data_dir: d\n", "data_dir", "d"),
        (PreprocessConfig, "result_path: r\n", "output_dir", "r"),
        (PostprocessConfig, "result_path: r\n", "result_dir", "r"),
        (TernaryConfig, "modelarts_data_dir: d\n", "data_path", "d"),
        (TernaryConfig, "epoch_num: 4\n", "epoch_size", 4),
        (TernaryConfig, "logging_step: 4\n", "log_step", 4),
    ],
)
def test_old_names_of_a_command(sorted_out, config_class, text, key, value):
    own, notices = sorted_out(config_class, text)
    assert own[key] == value
    assert any(f" is read as {key}" in line for line in notices)


@pytest.mark.parametrize("second, fine", [(100, True), (200, False)])
def test_two_spellings_may_say_the_same(read, second, fine):
    text = f"save_ckpt_step: 100\nsave_checkpoint_step: {second}\n"
    if fine:
        assert read(TaskDistillConfig, text)[0].save_ckpt_step == 100
    else:
        refuses(refused(read, TaskDistillConfig, text), "are two spellings of one setting", "save_ckpt_step")


def test_published_terms_of_the_layers(read):
    settings, _ = read(TernaryConfig, "is_att_fit: true\nis_rep_fit: false\n")
    assert settings.train_cfg.attention_loss and not settings.train_cfg.hidden_loss and settings.fits_layers
    neither, _ = read(TernaryConfig, "is_att_fit: false\nis_rep_fit: false\n")
    assert not neither.fits_layers


# --- settings without a place -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key, holds, other, wrong",
    [
        ("input_mask_from_dataset", "True", None, "False"),
        ("token_type_ids_from_dataset", "True", None, "False"),
        ("enable_fused_layernorm", "False", "True", None),
        ("dtype", "mstype.float32", "mstype.float16", None),
        ("do_quant", "False", None, "True"),
    ],
)
@pytest.mark.parametrize(
    "config_class, section",
    [
        (TaskDistillConfig, "td_student_net_cfg"),
        (GeneralDistillConfig, "bert_student_net_cfg"),
        (FinetuneConfig, "net_cfg"),
    ],
)
def test_published_settings_of_networks(sorted_out, config_class, section, key, holds, other, wrong):
    name = f"{section}.{key}"
    assert aside(sorted_out(config_class, f"{section}:\n  {key}: {holds}\n")[1]) == ""
    assert aside(said(config_class, f"--{name}", holds)) == ""
    if other:
        assert aside(sorted_out(config_class, f"{section}:\n  {key}: {other}\n")[1]).startswith(name)
        assert aside(said(config_class, f"--{name}={other}")).startswith(name)
    if wrong:
        refuses(refused(sorted_out, config_class, f"{section}:\n  {key}: {wrong}\n"), f"{name} is {wrong}")
        refuses(refused(said, config_class, f"--{name}", wrong), f"command line: {name} is '{wrong}'")


@pytest.mark.parametrize(
    "text, words",
    [
        ("enable_profiling: True\n", "give profile_steps"),
        ("gradient_cfg: {clip_type: 0}\n", "scaled to a norm"),
    ],
)
def test_what_cannot_be_had_is_refused(sorted_out, text, words):
    refuses(refused(sorted_out, TernaryConfig, text), words)


@pytest.mark.parametrize("key", ["cls_dropout_prob", "classifier_dropout"])
def test_dropout_of_the_classifier_has_its_published_name_too(read, key):
    for arguments in ([f"--{key}", "0.3"], [f"--student_net_cfg.{key}", "0.3"]):
        if arguments[0] != "--student_net_cfg.classifier_dropout":
            assert parse(TernaryConfig, arguments)[0].dropout["classifier_dropout"] == 0.3
    assert TernaryConfig().dropout["classifier_dropout"] is None
    settings = read(TaskDistillConfig, f"td_student_net_cfg:\n  {key}: 0.3\n")[0]
    assert settings.td_student_net_cfg.given() == {"classifier_dropout": 0.3}
    with pytest.raises(UserError) as error:
        parse(TernaryConfig, [f"--{key}", "1"])
    refuses(error, "classifier_dropout: must be")


def test_do_quant_is_about_activations_alone(read):
    two = QuantConfig(embedding_bits=2, weight_bits=2, rest_bits=8)
    for text in ("do_quant: False\n", "student_net_cfg:\n  do_quant: False\n"):
        assert read(TernaryConfig, text)[0].quantization_cfg == two
    assert parse(TernaryConfig, ["--do_quant", "false"])[0].quantization_cfg == two
    assert parse(TernaryConfig, ["--quantization", "none"])[0].quantization_cfg == QuantConfig()


def test_do_quant_says_so_in_the_help(capsys):
    with pytest.raises(SystemExit):
        parse(TernaryConfig, ["--help_all"])
    assert "Quantize the activations, as on the published pages" in " ".join(capsys.readouterr().out.split())


def test_gelu_is_a_checkpoints_own_form_in_published_networks_only(read):
    network = "td_student_net_cfg:\n  hidden_act: gelu\n"
    assert read(TaskDistillConfig, network)[0].td_student_net_cfg.hidden_act == "gelu"
    settings, notices = read(TaskDistillConfig, network + "  compute_type: mstype.float16\n")
    assert settings.td_student_net_cfg.hidden_act is None and "hidden_act (gelu is either form" in aside(
        notices
    )
    relu = network.replace("gelu", "relu") + "  compute_type: mstype.float16\n"
    assert read(TaskDistillConfig, relu)[0].td_student_net_cfg.hidden_act == "relu"


def test_settings_of_an_earlier_version_are_read(read):
    """A run's config.yaml held these."""
    text = to_yaml(parse(TernaryConfig, ["--compute_type", "float32"])[0]) + "train_batch_size: null\n"
    settings, notices = read(TernaryConfig, text)
    assert settings.compute_type == "float32" and notices == []
    old = "td_student_net_cfg: {dtype: float32, hidden_size: 32}\n"
    assert read(TaskDistillConfig, old)[0].td_student_net_cfg.hidden_size == 32
