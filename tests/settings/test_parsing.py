"""Settings from defaults, YAML and the command line."""

import dataclasses
import re
import typing

import pytest
import yaml

from src.errors import UserError
from src.settings import parsing as settings_module
from src.settings.keys import types_of
from src.settings.network import QuantConfig
from src.settings.parsing import parse, to_yaml
from src.settings.tools import EvaluateConfig, PredictConfig, PrepareConfig
from src.settings.training import FinetuneConfig, GeneralDistillConfig, TaskDistillConfig, TernaryConfig
from tests.helpers import refuses
from tests.texts import merge_bomb, yaml_bomb


@pytest.fixture
def yaml_file(tmp_path):
    def write(text):
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        return str(path)

    return write


def settings_of(*arguments, config_class=TaskDistillConfig):
    return parse(config_class, [str(item) for item in arguments])[0]


def refused(*arguments, config_class=TaskDistillConfig):
    with pytest.raises(UserError) as error:
        settings_of(*arguments, config_class=config_class)
    assert "\n" not in str(error.value) and "Traceback" not in str(error.value)
    return error


def leaves(config_class, prefix=""):
    hints = typing.get_type_hints(config_class)
    for item in dataclasses.fields(config_class):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from leaves(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield prefix + item.name


# --- precedence ---------------------------------------------------------------------------------------------


def test_without_arguments_every_setting_is_its_default():
    assert settings_of() == TaskDistillConfig()


def test_yaml_changes_only_what_it_lists(yaml_file):
    path = yaml_file("task_name: sst-2\nphase1_cfg:\n  batch_size: 8\n")
    settings = settings_of("--config_path", path)
    expected = dataclasses.replace(
        TaskDistillConfig(),
        config_path=path,
        task_name="sst-2",
        phase1_cfg=dataclasses.replace(TaskDistillConfig().phase1_cfg, batch_size=8),
    )
    assert settings == expected


@pytest.mark.parametrize("order", [0, 1])
def test_command_line_beats_yaml_in_any_order(yaml_file, order):
    file = [
        "--config_path",
        yaml_file("seed: 1\nlog_step: 7\nphase2_cfg:\n  batch_size: 8\n  temperature: 2\n"),
    ]
    own = ["--seed", "2", "--phase2_cfg.batch_size=16"]
    settings = settings_of(*(file + own if order else own + file))
    assert (
        settings.seed,
        settings.log_step,
        settings.phase2_cfg.batch_size,
        settings.phase2_cfg.temperature,
    ) == (2, 7, 16, 2.0)


def test_a_preset_counts_less_than_what_is_given_with_it(yaml_file):
    assert settings_of(config_class=TernaryConfig).quant_cfg == QuantConfig(
        embedding_bits=2, weight_bits=2, activation_bits=8, rest_bits=8
    )
    path = yaml_file("quantization: q8bert\nquant_cfg:\n  ema_decay: 0.9\n")
    given = settings_of(
        "--config_path", path, "--quant_cfg.rest_bits", "32", config_class=TernaryConfig
    ).quant_cfg
    assert (given.weight_bits, given.activation_quantizer, given.ema_decay, given.rest_bits) == (
        8,
        "ema",
        0.9,
        32,
    )


def test_another_preset_on_the_command_line_leaves_out_what_a_file_gave_with_its_own(yaml_file):
    # As a run's config.yaml.
    saved = yaml_file(to_yaml(settings_of("--quantization", "q8bert", config_class=TernaryConfig)))
    assert settings_of("--config_path", saved, config_class=TernaryConfig).quant_cfg.weight_bits == 8
    settings, notices = parse(
        TernaryConfig,
        ["--config_path", saved, "--quantization", "ternary", "--quant_cfg.weight_clip_value", "1"],
    )
    assert settings.quant_cfg == QuantConfig(
        embedding_bits=2, weight_bits=2, activation_bits=8, rest_bits=8, weight_clip_value=1.0
    )
    assert notices == [f"quant_cfg of {saved} is left out: it is for quantization q8bert, not ternary"]
    plain = settings_of("--config_path", saved, "--quantization", "none", config_class=TernaryConfig)
    assert plain.quant_cfg == QuantConfig()


def test_published_names_of_quantization_settings_are_read(yaml_file):
    path = yaml_file("do_quant: True\ninput_bits: 4\nactivation_init: 1.5\n")
    for arguments in (["--config_path", path], ["--input_bits", "4", "--activation_init", "1.5"]):
        quant = settings_of(*arguments, config_class=TernaryConfig).quant_cfg
        assert (quant.activation_bits, quant.activation_clip_value, quant.weight_bits) == (4, 1.5, 2)


def test_a_phases_other_defaults_survive_one_nested_key(yaml_file):
    """Phase 2's own learning rate, not the optimizer class's."""
    nested = "phase2_cfg.optimizer_cfg.AdamWeightDecay"
    assert (
        settings_of(f"--{nested}.weight_decay", "0.1").phase2_cfg.optimizer_cfg.AdamWeightDecay.learning_rate
        == 2e-5
    )
    path = yaml_file("phase2_cfg:\n  optimizer_cfg:\n    AdamWeightDecay:\n      weight_decay: 0.1\n")
    optimizer = settings_of("--config_path", path).phase2_cfg.optimizer_cfg.AdamWeightDecay
    assert (optimizer.weight_decay, optimizer.learning_rate) == (0.1, 2e-5)


@pytest.mark.parametrize("config_class", [TaskDistillConfig, FinetuneConfig, EvaluateConfig, PrepareConfig])
def test_yaml_written_by_the_program_is_read_back_the_same(yaml_file, config_class):
    settings = settings_of("--task_name", "mnli", config_class=config_class)
    again = settings_of("--config_path", yaml_file(to_yaml(settings)), config_class=config_class)
    assert dataclasses.replace(again, config_path="") == settings


def test_saved_yaml_holds_nested_changes(tmp_path):
    settings = settings_of(
        "--phase1_cfg.batch_size", "5", "--bucket_boundaries", "[8, 24]", "--student_layers", "[1,3]"
    )
    (tmp_path / "config.yaml").write_text(to_yaml(settings))
    written = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert (
        written["phase1_cfg"]["batch_size"] == 5
        and written["bucket_boundaries"] == [8, 24]
        and written["student_layers"] == [1, 3]
    )
    assert settings_of("--config_path", tmp_path / "config.yaml").bucket_boundaries == (8, 24)


# --- spellings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word,value", [("True", True), ("true", True), ("TRUE", True), ("False", False), ("FALSE", False)]
)
def test_booleans_in_any_case_on_the_command_line_and_in_yaml(yaml_file, word, value):
    assert settings_of("--do_shuffle", word).do_shuffle is value
    assert settings_of("--enable_buckets=" + word).enable_buckets is value
    assert settings_of("--phase1_cfg.attention_loss", word).phase1_cfg.attention_loss is value
    path = yaml_file(f'do_shuffle: "{word}"\nphase1_cfg:\n  hidden_loss: "{word}"\n')
    assert settings_of("--config_path", path).do_shuffle is value
    assert settings_of("--config_path", path).phase1_cfg.hidden_loss is value


def test_flag_alone_means_true():
    settings = settings_of("--enable_graph_kernel", "--seed", "3", "--enable_data_sink")
    assert settings.enable_graph_kernel is True and settings.enable_data_sink and settings.seed == 3


def test_flag_in_a_section_alone_means_true(yaml_file):
    path = yaml_file("phase1_cfg:\n  attention_loss: false\n  hidden_loss: false\n")
    settings = settings_of(
        "--phase1_cfg.attention_loss", "--config_path", path, "--td_student_net_cfg.classifier_relu"
    )
    assert (
        settings.phase1_cfg.attention_loss
        and not settings.phase1_cfg.hidden_loss
        and settings.td_student_net_cfg.classifier_relu
    )
    assert settings_of("--do_lower_case", config_class=PrepareConfig).do_lower_case is True


@pytest.mark.parametrize(
    "old,new",
    [
        ("save_checkpoint_step", "save_ckpt_step"),
        ("save_checkpoint_steps", "save_ckpt_step"),
        ("td_phase1_epoch", "td_phase1_epoch_size"),
        ("max_checkpoint_num", "max_ckpt_num"),
    ],
)
def test_old_spellings_are_accepted_and_named(yaml_file, old, new):
    for arguments in ([f"--{old}", "3"], [f"--{old}=3"], ["--config_path", yaml_file(f"{old}: 3\n")]):
        settings, notices = parse(TaskDistillConfig, arguments)
        assert getattr(settings, new) == 3 and len(notices) == 1 and old in notices[0] and new in notices[0]


@pytest.mark.parametrize(
    "first,second",
    [
        ("save_checkpoint_steps", "save_ckpt_step"),
        ("save_ckpt_step", "save_checkpoint_steps"),
        ("save_checkpoint_steps", "save_ckpt_steps"),
    ],
)
def test_two_spellings_of_one_setting_are_refused(yaml_file, first, second):
    path = yaml_file(f"{first}: 5\n{second}: 7\n")
    refuses(
        refused("--config_path", path),
        path,
        f"{first} and {second} are two spellings",
        "give only save_ckpt_step",
    )
    refuses(
        refused(f"--{first}", "5", f"--{second}=7"), "command line", f"{first} and {second} are two spellings"
    )


def test_the_command_line_may_spell_a_setting_otherwise_than_the_file(yaml_file):
    path = yaml_file("save_checkpoint_steps: 5\n")
    assert settings_of("--config_path", path, "--save_ckpt_step", "7").save_ckpt_step == 7
    assert settings_of("--save_ckpt_step", "7", "--save_ckpt_step", "8").save_ckpt_step == 8


# --- given twice --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config_class, key, first, second",
    [
        (PrepareConfig, "input", "a.txt", "b.txt"),
        (PrepareConfig, "labels", "bad,good", "[bad]"),
        (TaskDistillConfig, "student_layers", "0", "1"),
        (TaskDistillConfig, "bucket_boundaries", "[8]", "8,16"),
        (TaskDistillConfig, "phase1_cfg.optimizer_cfg.AdamWeightDecay.decay_filter", "bias", "norm"),
    ],
)
def test_a_list_given_twice_is_refused(config_class, key, first, second):
    for arguments in ([f"--{key}", first, f"--{key}", second], [f"--{key}={first}", f"--{key}={second}"]):
        error = refused(*arguments, config_class=config_class)
        refuses(error, f"command line: {key} is given twice", "one list", f"--{key} a,b")
    assert parse(config_class, [f"--{key}", first, f"--{key}={first}"])[1] == []


@pytest.mark.parametrize(
    "key, first, second",
    [
        ("seed", "1", "2"),
        ("task_name", "sst-2", "mrpc"),
        ("do_shuffle", "true", "false"),
        ("phase1_cfg.batch_size", "8", "16"),
        ("td_student_net_cfg.hidden_act", "gelu", "relu"),
    ],
)
def test_of_a_setting_given_twice_the_last_one_counts_and_that_is_said(key, first, second):
    settings, notices = parse(TaskDistillConfig, [f"--{key}", first, "--log_step", "3", f"--{key}={second}"])
    assert notices == [f"command line: {key} is given twice, '{first}' and '{second}'; the last one counts"]
    assert settings == parse(TaskDistillConfig, [f"--{key}", second, "--log_step", "3"])[0]
    assert parse(TaskDistillConfig, [f"--{key}", first, f"--{key}", first])[1] == []


@pytest.mark.parametrize("turned", [False, True])
def test_a_section_and_a_key_of_it_both_count(turned):
    arguments = ['--phase1_cfg={"batch_size": 4, "attention_loss": false}', "--phase1_cfg.max_grad_norm=2"]
    settings, notices = parse(TaskDistillConfig, arguments[::-1] if turned else arguments)
    chosen = settings.phase1_cfg
    assert (chosen.batch_size, chosen.attention_loss, chosen.max_grad_norm, notices) == (4, False, 2, [])
    twice = [arguments[0], "--phase1_cfg.batch_size", "8"]
    settings, notices = parse(TaskDistillConfig, twice[1:] + twice[:1] if turned else twice)
    assert settings.phase1_cfg.batch_size == (4 if turned else 8)
    assert len(notices) == 1 and "phase1_cfg.batch_size is given twice" in notices[0]
    both = ['--phase1_cfg={"batch_size": 4}', '--phase1_cfg={"max_grad_norm": 2}']
    chosen = settings_of(*both).phase1_cfg
    assert (chosen.batch_size, chosen.max_grad_norm) == (4, 2)


def test_two_settings_files_are_refused(yaml_file):
    path = yaml_file("seed: 1\n")
    error = refused("--config_path", path, "--config_path=other.yaml")
    refuses(error, "config_path is given twice", path, "other.yaml", "give one file")


@pytest.mark.parametrize(
    "text", ["seed: 1\nseed1: 2\n", "seed1: 2\nseed: 1\n", "input_bits: 4\nquant_cfg: {activation_bits: 8}\n"]
)
def test_two_values_of_one_setting_in_a_file_are_refused(yaml_file, text):
    path = yaml_file(text)
    refuses(refused("--config_path", path, config_class=TernaryConfig), path, "two spellings of one setting")


@pytest.mark.parametrize("value", ["-1", "- 1", "-x", "--x", "a=b", "", "a b", "null", "true"])
def test_any_text_is_a_value_behind_an_equals_sign(value):
    assert settings_of(f"--text={value}", config_class=PredictConfig).text == value
    if not value.startswith("--"):
        assert settings_of("--text", value, config_class=PredictConfig).text == value


@pytest.mark.parametrize("text,value", [("5e-5", 5e-5), ("1e-4", 1e-4), ("0.001", 1e-3), ("3.0e-5", 3e-5)])
def test_learning_rates_as_people_write_them(yaml_file, text, value):
    key = "phase1_cfg.optimizer_cfg.AdamWeightDecay.learning_rate"
    path = yaml_file(f"phase1_cfg:\n  optimizer_cfg:\n    AdamWeightDecay:\n      learning_rate: {text}\n")
    for arguments in ([f"--{key}", text], ["--config_path", path]):
        assert settings_of(
            *arguments
        ).phase1_cfg.optimizer_cfg.AdamWeightDecay.learning_rate == pytest.approx(value)


def test_lists_of_words_may_be_written_with_commas():
    assert settings_of("--labels", "no, yes", config_class=PrepareConfig).labels == ("no", "yes")
    settings = settings_of("--phase1_cfg.optimizer_cfg.AdamWeightDecay.decay_filter", '["norm"]')
    assert settings.phase1_cfg.optimizer_cfg.AdamWeightDecay.decay_filter == ("norm",)


@pytest.mark.parametrize(
    "text,value",
    [("0,2,4", (0, 2, 4)), ("1", (1,)), ("0, 2", (0, 2)), ("[8,16]", (8, 16)), ("[8, 16]", (8, 16))],
)
def test_lists_of_numbers_may_be_written_with_commas(text, value):
    for arguments in (["--student_layers", text], [f"--student_layers={text}"]):
        assert settings_of(*arguments, "--seed", "3").student_layers == value


def test_lists_with_commas_in_every_command_and_section():
    assert settings_of("--bucket_boundaries", "8,16").bucket_boundaries == (8, 16)
    assert settings_of("--init_layers=0,2", config_class=FinetuneConfig).init_layers == (0, 2)
    key = "phase1_cfg.optimizer_cfg.AdamWeightDecay.decay_filter"
    for arguments in ([f"--{key}", "norm,no"], [f"--{key}=norm, no"]):
        assert settings_of(*arguments).phase1_cfg.optimizer_cfg.AdamWeightDecay.decay_filter == ("norm", "no")


@dataclasses.dataclass(frozen=True)
class Section:
    """A section with a list of numbers."""

    numbers: typing.Tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class WithSection:
    """Settings with such a section."""

    config_path: str = ""
    section: Section = dataclasses.field(default_factory=Section)


def test_lists_of_numbers_in_sections_may_be_written_with_commas():
    for arguments in (["--section.numbers", "1,2"], ["--section.numbers=1,2"]):
        assert settings_of(*arguments, config_class=WithSection).section.numbers == (1, 2)


@pytest.mark.parametrize(
    "key,text",
    [
        ("student_layers", "0,x"),
        ("student_layers", "0,-1"),
        ("bucket_boundaries", "8,"),
        ("bucket_boundaries", "0"),
        ("bucket_boundaries", "8,1.5"),
        ("bucket_boundaries", "8,nan"),
    ],
)
def test_lists_of_something_else_than_numbers_are_refused(key, text):
    refuses(refused(f"--{key}", text), f"{key}: must be ")
    refuses(refused(f"--{key}={text}"), f"{key}: must be ")


def test_what_follows_a_list_without_a_key_is_refused_as_it_was_written():
    refuses(refused("--student_layers", "0", "2"), "unrecognized arguments: 2")


def test_published_type_names_are_read(yaml_file):
    path = yaml_file("td_student_net_cfg:\n  compute_type: mstype.float16\n  dtype: mstype.float32\n")
    for arguments in (["--config_path", path], ["--td_student_net_cfg.compute_type", "mstype.float16"]):
        assert settings_of(*arguments).td_student_net_cfg.compute_type == "float16"


def test_published_yaml_of_three_documents_counts_its_first_and_says_so(yaml_file):
    path = yaml_file(
        "task_name: SST-2\nseed: 5\n---\ntask_name: help text\nseed: more help\n---\ntask_name: [SST-2, "
        "QNLI]\n"
    )
    settings, notices = parse(TaskDistillConfig, ["--config_path", path])
    assert (settings.task_name, settings.seed) == ("SST-2", 5)
    assert len(notices) == 1 and "3 YAML documents" in notices[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing but a comment\n",
        "phase1_cfg:\n",
        "eval_cfg:\n",
        "eval_cfg: {}\n",
        "phase1_cfg:\n  optimizer_cfg:\n    AdamWeightDecay:\n",
        "td_student_net_cfg:\n  hidden_size:\n",
    ],
)
def test_empty_yaml_or_section_means_the_defaults(yaml_file, text):
    path = yaml_file(text)
    assert dataclasses.replace(settings_of("--config_path", path), config_path="") == TaskDistillConfig()


# --- refusals: one line that names the key ------------------------------------------------------------------


@pytest.mark.parametrize(
    "config_class, key, hint",
    [
        (TaskDistillConfig, "num_hidden_layers", "td_student_net_cfg.num_hidden_layers?"),
        (GeneralDistillConfig, "hidden_size", "gd_student_net_cfg.hidden_size?"),
        (TernaryConfig, "num_hidden_layers", "student_net_cfg.num_hidden_layers?"),
        (FinetuneConfig, "num_hidden_layers", "net_cfg.num_hidden_layers?"),
        (FinetuneConfig, "layers", "init_layers or net_cfg.num_hidden_layers?"),
        (
            TaskDistillConfig,
            "batch_size",
            "eval_cfg.batch_size or phase1_cfg.batch_size or phase2_cfg.batch_size?",
        ),
    ],
)
def test_a_key_of_a_section_is_named_with_the_section_that_is_meant(config_class, key, hint):
    with pytest.raises(UserError) as error:
        parse(config_class, [f"--{key}", "3"])
    assert str(error.value).endswith(f"unknown setting '{key}'; did you mean {hint}")


@pytest.mark.parametrize(
    "key,hint",
    [
        ("tsk_name", "task_name"),
        ("phase1_cfg.batchsize", "phase1_cfg.batch_size"),
        ("batchsize", "batch_size"),
        ("learning_rte", "learning_rate"),
    ],
)
def test_unknown_keys_get_a_hint_from_the_command_line_and_from_yaml(yaml_file, key, hint):
    refuses(refused("--" + key, "3"), "unknown setting", key, "did you mean", hint)
    parts = key.split(".")
    text = f"{parts[0]}: 3\n" if len(parts) == 1 else f"{parts[0]}:\n  {parts[1]}: 3\n"
    path = yaml_file(text)
    refuses(refused("--config_path", path), path, "unknown setting", key, "did you mean", hint)


def test_key_like_no_other_points_to_help():
    refuses(refused("--zzzzqqq", "3"), "unknown setting 'zzzzqqq'", "--help")


@pytest.mark.parametrize(
    "key,value",
    [
        ("phase1_cfg.batch_size", "0"),
        ("phase1_cfg.batch_size", "many"),
        ("seed", "-1"),
        ("phase1_cfg.scale_factor", "1"),
        ("phase1_cfg.optimizer_cfg.AdamWeightDecay.warmup_ratio", "1.5"),
        ("phase1_cfg.optimizer_cfg.AdamWeightDecay.learning_rate", "-1e-5"),
        ("phase2_cfg.temperature", "0"),
        ("td_student_net_cfg.hidden_dropout_prob", "1.0"),
        ("data_sink_steps", "-2"),
        ("data_sink_steps", "0"),
        ("device_target", "TPU"),
        ("td_student_net_cfg.hidden_act", "swish"),
        ("do_train", "perhaps"),
        ("assessment_method", "bleu"),
        ("student_init", "zeros"),
        ("bucket_boundaries", "[0, 8]"),
        ("td_phase1_epoch_size", "1.5"),
    ],
)
def test_values_of_a_wrong_type_or_out_of_range_are_refused_by_name(yaml_file, key, value):
    refuses(refused("--" + key, value), key)
    text = value
    for part in reversed(key.split(".")):
        text = "{" + part + ": " + text + "}"
    path = yaml_file(text)
    refuses(refused("--config_path", path), path, key.split(".")[-1])


@pytest.mark.parametrize("value", [-1, 1, 100])
def test_data_sink_steps_are_a_whole_epoch_or_a_number(yaml_file, value):
    assert settings_of("--data_sink_steps", value).data_sink_steps == value
    assert settings_of("--config_path", yaml_file(f"data_sink_steps: {value}\n")).data_sink_steps == value


def test_no_data_sink_steps_are_refused_with_what_would_be_right(yaml_file):
    path = yaml_file("data_sink_steps: 0\n")
    assert str(refused("--data_sink_steps", "0").value) == "data_sink_steps: must be -1 or >= 1, not 0"
    assert str(refused("--config_path", path).value) == f"{path}: data_sink_steps: must be -1 or >= 1, not 0"


@pytest.mark.parametrize(
    "key,value,said",
    [
        ("do_train", "3", "true or false, not 3"),
        ("do_lower_case", "", "true, false or 'auto', not ''"),
        ("seed", "1.5", "a whole number, not '1.5'"),
        ("phase1_cfg.batch_size", "[1]", "a whole number, not 'list'"),
        ("phase1_cfg.loss_scale", "fixed", "one of 'auto', 'none', 'static', 'dynamic', not fixed"),
        ("td_student_net_cfg.hidden_act", "", "one of 'gelu', 'gelu_new', 'relu', not ''"),
        ("td_student_net_cfg.hidden_dropout_prob", "", "a number, not ''"),
        ("td_student_net_cfg.hidden_size", "x" * 3000, f"a whole number, not '{'x' * 79}..."),
    ],
)
def test_what_a_value_must_be_is_said_in_plain_words(key, value, said):
    assert str(refused(f"--{key}", value).value) == f"{key}: must be {said}"


@pytest.mark.parametrize("value", ["x y" * 1000, "[1]", "", "null", "-1"])
def test_no_message_speaks_of_python_or_quotes_all_that_was_given(value):
    for key in {str(kind): key for key, kind in types_of(TaskDistillConfig).items()}.values():
        try:
            settings_of(f"--{key}", value)
        except UserError as error:
            assert len(str(error)) < 500
            assert not re.search(r"<class|typing\.|Union|Expected|Not of type|value:|\(\)", str(error)), error


def number_keys():
    """A key of every type of number."""
    keys = {}
    for name, kind in types_of(TaskDistillConfig).items():
        inner = [item for item in (kind, *typing.get_args(kind)) if isinstance(item, type)]
        if any(issubclass(item, (int, float)) and item is not bool for item in inner):
            keys.setdefault(kind, name)
    return sorted(keys.values())


@pytest.mark.parametrize("key", number_keys())
@pytest.mark.parametrize("value,in_yaml", [("inf", ".inf"), ("nan", ".nan")])
def test_infinity_and_not_a_number_are_refused(yaml_file, key, value, in_yaml):
    refuses(refused(f"--{key}", value), key + ":")
    for part in reversed(key.split(".")):
        in_yaml = "{" + part + ": " + in_yaml + "}"
    path = yaml_file(in_yaml)
    refuses(refused("--config_path", path), path, key.split(".")[-1])


@pytest.mark.parametrize(
    "text,key",
    [
        ("phase1_cfg: 3\n", "phase1_cfg"),
        ("phase1_cfg: []\n", "phase1_cfg"),
        ("phase1_cfg: ''\n", "phase1_cfg"),
        ("eval_cfg: false\n", "eval_cfg"),
        ("phase1_cfg:\n  optimizer_cfg: 4\n", "phase1_cfg.optimizer_cfg"),
    ],
)
def test_sections_must_hold_keys_and_values(yaml_file, text, key):
    path = yaml_file(text)
    refuses(refused("--config_path", path), f"{path}: {key} is a section: it must hold keys and values")


def test_a_setting_is_not_a_section(yaml_file):
    path = yaml_file("seed: {a: 3}\n")
    refuses(refused("--config_path", path), f"{path}: seed is one setting, not a section")


@pytest.mark.parametrize(
    "text,key",
    [
        ("seed:\n", "seed"),
        ("seed: null\n", "seed"),
        ("do_train: ~\n", "do_train"),
        ("load_gd_ckpt_path:\n", "load_gd_ckpt_path"),
        ("student_layers:\n", "student_layers"),
        ("phase1_cfg:\n  batch_size:\n", "phase1_cfg.batch_size"),
    ],
)
def test_a_key_without_a_value_is_refused(yaml_file, text, key):
    path = yaml_file(text)
    refuses(refused("--config_path", path), f"{path}: {key} has no value", "remove the key")


@pytest.mark.parametrize(
    "text",
    [
        "phase1_cfg.batch_size: 8\nphase1_cfg:\n  max_grad_norm: 2\n",
        "phase1_cfg:\n  max_grad_norm: 2\nphase1_cfg.batch_size: 8\n",
    ],
)
def test_a_dotted_key_may_stand_beside_its_section(yaml_file, text):
    assert settings_of("--config_path", yaml_file("phase1_cfg.batch_size: 8\n")).phase1_cfg.batch_size == 8
    chosen = settings_of("--config_path", yaml_file(text)).phase1_cfg
    assert (chosen.batch_size, chosen.max_grad_norm) == (8, 2)
    path = yaml_file(text + "phase1_cfg.max_grad_norm: 3\n")
    refuses(
        refused("--config_path", path),
        path,
        "phase1_cfg.max_grad_norm stands there twice, inside the section phase1_cfg too",
    )
    path = yaml_file("phase1_cfg.batch_size: 8\nphase1_cfg: 3\n")
    refuses(refused("--config_path", path), path, "phase1_cfg is a section")


def test_yaml_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("task_name: caf\xe9\n".encode("latin-1"))
    refuses(refused("--config_path", tmp_path / "latin.yaml"), "latin.yaml is not UTF-8 text")


@pytest.mark.parametrize(
    "text,key",
    [
        ("seed: 1\ntask_name: x\nseed: 2\n", "seed"),
        ("phase1_cfg:\n  batch_size: 4\n  batch_size: 8\n", "batch_size"),
    ],
)
def test_a_key_that_stands_twice_is_refused(yaml_file, text, key):
    path = yaml_file(text)
    refuses(refused("--config_path", path), path, f"the key {key} stands there twice", "line 3")


@pytest.mark.parametrize(
    "text,words",
    [
        ('{"batch_size": null}', "phase1_cfg.batch_size has no value"),
        ("5", "phase1_cfg is a section"),
        ('{"batchsize": 4}', "did you mean phase1_cfg.batch_size?"),
        ("{", "phase1_cfg is not valid JSON"),
        ('{"batch_size": 4, "batch_size": 8}', "batch_size stands there twice"),
    ],
)
def test_sections_on_the_command_line_are_checked_as_in_a_file(text, words):
    for arguments in (["--phase1_cfg", text], ["--phase1_cfg=" + text]):
        refuses(refused(*arguments), "command line", words)
    assert settings_of("--phase1_cfg", '{"batch_size": 4}').phase1_cfg.batch_size == 4


def test_texts_stay_as_they_are_written(yaml_file):
    for word in ("True", "FALSE", "mstype.float16"):
        for arguments in (
            ["--text", word],
            [f"--text={word}"],
            ["--config_path", yaml_file(f'text: "{word}"\n')],
        ):
            assert settings_of(*arguments, config_class=PredictConfig).text == word


@pytest.mark.parametrize(
    "text,word",
    [("a: [1", "not valid YAML"), ("- 1\n- 2\n", "must hold keys and values"), ("words", "must hold")],
)
def test_broken_yaml_is_refused(yaml_file, text, word):
    path = yaml_file(text)
    refuses(refused("--config_path", path), path, word)


def test_missing_yaml_is_refused(tmp_path):
    refuses(refused("--config_path", tmp_path / "none.yaml"), "config_path", "none.yaml")


def test_required_names_the_first_empty_setting():
    with pytest.raises(UserError) as error:
        settings_module.required(
            TaskDistillConfig(task_name="x"), "task_name", "train_data_dir", "eval_data_dir"
        )
    refuses(error, "train_data_dir is needed", "--train_data_dir")


def test_version_2_with_negative_is_a_word_for_squad2():
    chosen = settings_of("--task_name", "squad", "--version_2_with_negative", config_class=PrepareConfig)
    assert chosen.task_name == "SQuAD2" and settings_of("--task_name", "squad").task_name == "squad"
    with pytest.raises(UserError) as error:
        settings_of("--task_name", "mrpc", "--version_2_with_negative", "true", config_class=EvaluateConfig)
    refuses(error, "version_2_with_negative: it is for task_name squad, not mrpc")


def test_a_question_comes_with_its_context_and_without_a_text():
    asked = settings_of("--question", "who?", "--context", "no", config_class=PredictConfig)
    assert asked.texts == ("who?", "no")
    assert settings_of("--text", "a", config_class=PredictConfig).texts == ("a", False)
    for arguments, words in (
        (("--question", "who?"), "a question needs the text it is about"),
        (("--question", "who?", "--context", "b", "--text", "a"), "text, question: give only one"),
    ):
        with pytest.raises(UserError) as error:
            settings_of(*arguments, config_class=PredictConfig).texts  # noqa: B018
        refuses(error, words)


@pytest.mark.parametrize("number", ["1" * 5000, "-" + "9" * 101, "0b" + "1" * 20000, "0x" + "f" * 200])
def test_numbers_of_thousands_of_characters_are_refused_wherever_they_stand(tmp_path, number):
    (tmp_path / "c.yaml").write_text(f"seed: {number}\n")
    given = (["--seed", number], [f"--seed={number}"], ["--config_path", str(tmp_path / "c.yaml")])
    for arguments in given:
        with pytest.raises(UserError, match="a number .*characters") as error:
            parse(TaskDistillConfig, arguments)
        assert len(str(error.value)) < 400


@pytest.mark.parametrize("text", [yaml_bomb(), merge_bomb()], ids=["lists", "merged sections"])
def test_yaml_that_is_long_without_end_by_aliases_is_one_line(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match="c.yaml.*holds more than 100,000 values"):
        parse(TaskDistillConfig, ["--config_path", str(tmp_path / "c.yaml")])


def test_yaml_that_holds_itself_is_one_line(tmp_path):
    (tmp_path / "c.yaml").write_text("phase1_cfg: &a {optimizer_cfg: *a}\n")
    with pytest.raises(UserError, match="c.yaml.*a section holds itself"):
        parse(TaskDistillConfig, ["--config_path", str(tmp_path / "c.yaml")])


def test_yaml_may_say_a_section_once_and_mean_it_twice(tmp_path):
    (tmp_path / "c.yaml").write_text(
        "phase1_cfg: &a {optimizer_cfg: {AdamWeightDecay: {learning_rate: 0.5}}}\nphase2_cfg: *a\n"
    )
    settings = parse(TaskDistillConfig, ["--config_path", str(tmp_path / "c.yaml")])[0]
    for phase in (settings.phase1_cfg, settings.phase2_cfg):
        assert phase.optimizer_cfg.AdamWeightDecay.learning_rate == 0.5


@pytest.mark.parametrize(
    "text", ["[" * 3000, "a: " + "[" * 3000, "phase1_cfg: " + "{a: " * 500 + "1" + "}" * 500]
)
def test_yaml_that_is_nested_without_end_is_one_line(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match="c.yaml.*lie more than 64 deep in one another"):
        parse(TaskDistillConfig, ["--config_path", str(tmp_path / "c.yaml")])
