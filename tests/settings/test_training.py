"""What the training commands' settings say together, and which of them contradict each other."""

from pathlib import Path

import pytest

from src.errors import UserError
from src.settings.network import NetConfig, QuantConfig
from src.settings.parsing import parse
from src.settings.stage import PhaseConfig
from src.settings.training import GeneralDistillConfig, TaskDistillConfig, TernaryConfig
from src.tasks import get_task
from tests.helpers import refuses


def refused(config_class, **values):
    with pytest.raises(UserError) as error:
        config_class(**values)
    return error


# --- TinyBERT's recipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, epochs, length",
    [
        ("CoLA", 50, 64),
        ("SST-2", 10, 64),  # the published repository's; the paper has 20
        ("MRPC", 20, 128),
        ("STS-B", 20, 128),
        ("QQP", 10, 128),
        ("MNLI", 10, 128),
        ("QNLI", 10, 128),
        ("RTE", 20, 128),
        ("WNLI", 20, 128),
    ],
)
def test_every_task_of_glue_has_the_papers_recipe(name, epochs, length):
    task = get_task(name)
    path = f"td_config/td_config_{task.folder.replace('-', '')}.yaml"
    settings, _ = parse(TaskDistillConfig, ["--config_path", path])
    assert (get_task(settings.task_name), task.max_seq_length) == (task, length)
    assert (settings.td_phase1_epoch_size, settings.td_phase2_epoch_size) == (epochs, 3)
    first, second = settings.phase1_cfg, settings.phase2_cfg
    assert (first.batch_size, second.batch_size) == (32, 32)
    assert first.optimizer_cfg.AdamWeightDecay.learning_rate == 5e-5
    assert second.optimizer_cfg.AdamWeightDecay.learning_rate in (1e-5, 2e-5, 3e-5)


@pytest.mark.parametrize("path", sorted(Path("td_config").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_of_a_task_and_the_kind_it_names(path):
    settings, _ = parse(TaskDistillConfig, ["--config_path", str(path)])
    task = get_task(settings.task_name)
    assert settings.task_type in ("auto", task.kind.name)
    assert settings.td_phase1_epoch_size and settings.td_phase2_epoch_size


# --- quantization-aware training ----------------------------------------------------------------------------


def test_two_different_batch_sizes_of_one_stage_are_refused():
    arguments = ["--train_batch_size", "8", "--train_cfg.batch_size", "16"]
    with pytest.raises(UserError) as error:
        parse(TernaryConfig, arguments)
    refuses(error, "train_batch_size and train_cfg.batch_size are two spellings", "give only")


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], PhaseConfig().batch_size),
        (["--train_batch_size", "8"], 8),
        (["--train_cfg.batch_size", "16"], 16),
        (["--train_batch_size", "16", "--train_cfg.batch_size", "16"], 16),
    ],
)
def test_either_name_of_the_batch_size_counts(arguments, expected):
    stage = parse(TernaryConfig, arguments)[0].train_cfg
    assert stage.batch_size == expected and stage.optimizer_cfg == PhaseConfig().optimizer_cfg


def test_a_run_without_a_result_or_without_anything_to_learn_from_is_refused():
    refuses(
        refused(TernaryConfig, save_fp_model=False, save_quantized_model=False),
        "save_fp_model and save_quantized_model",
        "the result would be lost",
    )
    nothing = {"pred_distill": False, "intermediate_distill": False}
    refuses(refused(TernaryConfig, **nothing), "is_lgt_fit", "nothing to learn from")
    assert TernaryConfig(**nothing, is_lgt_fit=True).do_train
    assert not TernaryConfig(**nothing, do_train=False).do_train


def test_what_is_quantized_and_kept_follows_from_the_switches():
    two = QuantConfig(weight_bits=2)
    assert TernaryConfig(quant_cfg=two).quantization_cfg == two
    eight = QuantConfig(weight_bits=2, activation_bits=8)
    assert TernaryConfig(quant_cfg=eight, do_quant=False).quantization_cfg == two
    assert not TernaryConfig().keeps_latent
    assert TernaryConfig(save_fp_model=True).keeps_latent and TernaryConfig(save_ckpt_step=5).keeps_latent
    assert TernaryConfig(hidden_dropout_prob=0.1).dropout == {
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout": None,
    }


# --- where a student starts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values, words",
    [
        ({"do_train": False, "do_eval": False}, ("do_train and do_eval are both false",)),
        ({"td_phase1_epoch_size": 0, "td_phase2_epoch_size": 0}, ("nothing to train",)),
        ({"load_td1_ckpt_path": "a", "td_phase2_epoch_size": 0}, ("nothing to train",)),
        (
            {"load_td1_ckpt_path": "td1", "load_gd_ckpt_path": "gd"},
            ("load_gd_ckpt_path: gd", "load_td1_ckpt_path td1", "give only one"),
        ),
        ({"load_gd_ckpt_path": "gd", "student_init": "random"}, ("student_init", "the checkpoint gd")),
        ({"load_td1_ckpt_path": "td1", "student_layers": (1,)}, ("student_layers", "the checkpoint td1")),
        ({"student_layers": (1,), "student_init": "random"}, ("student_layers: contradicts student_init",)),
    ],
)
def test_settings_of_task_distillation_that_contradict_each_other_are_refused(values, words):
    refuses(refused(TaskDistillConfig, **values), *words)


def test_an_evaluation_alone_needs_nothing_to_train():
    assert not TaskDistillConfig(do_train=False, td_phase1_epoch_size=0, td_phase2_epoch_size=0).do_train


def test_plan_of_a_student_of_task_distillation():
    net = NetConfig(num_hidden_layers=4)
    fresh = TaskDistillConfig(td_student_net_cfg=net).student_plan
    assert (fresh.net, fresh.section, fresh.path) == (net, "td_student_net_cfg", "")
    assert not fresh.from_teacher
    assert TaskDistillConfig(student_init="teacher_layers").student_plan.from_teacher
    chosen = TaskDistillConfig(student_layers=(3, 7)).student_plan
    assert chosen.from_teacher and chosen.layers == (3, 7)
    general = TaskDistillConfig(load_gd_ckpt_path="gd").student_plan
    assert (general.path, general.key, general.keeps_head) == ("gd", "load_gd_ckpt_path", False)
    after = TaskDistillConfig(load_td1_ckpt_path="td1")
    first = after.student_plan
    assert (first.path, first.key, first.keeps_head) == ("td1", "load_td1_ckpt_path", True)
    assert not after.runs_phase1  # it is over


def test_plan_of_a_student_of_general_distillation():
    refuses(
        refused(GeneralDistillConfig, load_gd_ckpt_path="gd", student_init="teacher_layers"),
        "student_init: contradicts the checkpoint gd",
    )
    plan = GeneralDistillConfig(load_gd_ckpt_path="gd").student_plan
    assert (plan.path, plan.key, plan.section) == ("gd", "load_gd_ckpt_path", "gd_student_net_cfg")
    assert not plan.keeps_head
    assert GeneralDistillConfig(student_init="teacher_layers").student_plan.from_teacher
