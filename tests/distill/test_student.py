"""Where a student's weights come from."""

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest

from src.checkpoint import folder as checkpoints
from src.distill.distiller import LossTerms
from src.distill.student import build_student, student_layers, warnings_of
from src.errors import UserError
from src.kinds import TAGGING
from src.model import Model
from src.nn.heads import BertEncoder, BertForTokens
from src.settings.network import NetConfig
from src.settings.stage import Phase1Config
from src.settings.training import GeneralDistillConfig, TaskDistillConfig
from tests.helpers import (
    VOCABULARY,
    describe,
    fill,
    make_examples,
    refuses,
    save_network,
    task_data,
    tiny_config,
    tiny_network,
    weights_of,
)

LAYER = "bert.encoder.layers.{}.attention.query.weight"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A 4-layer teacher with two labels, as loaded."""
    return checkpoints.load(
        save_network(tmp_path_factory.mktemp("teacher"), tiny_network(1, labels=2, num_hidden_layers=4))
    )


def build(teacher, data=None, student=None, **settings):
    """A student for SST-2 beside `teacher`; `student` holds keys of td_student_net_cfg."""
    settings = TaskDistillConfig(
        td_student_net_cfg=NetConfig(**(student or {"num_hidden_layers": 2})), **settings
    )
    terms = LossTerms.intermediate(settings.phase1_cfg, "phase1_cfg") if settings.runs_phase1 else LossTerms()
    return build_student(settings.student_plan, terms, teacher, data or task_data(), ms.float32)


def build_general(teacher, student=None, **settings):
    """A student of general distillation, which has no task."""
    settings = GeneralDistillConfig(
        gd_student_net_cfg=NetConfig(**(student or {"num_hidden_layers": 2})), **settings
    )
    terms = LossTerms.intermediate(settings.gd_cfg, "gd_cfg")
    return build_student(settings.student_plan, terms, teacher, None, ms.float32)


def test_teacher_layers_copies_the_last_layer_of_each_group_and_everything_else(teacher):
    student = build(teacher, student_init="teacher_layers")
    weights = weights_of(student.model.network)
    for new, old in ((0, 1), (1, 3)):
        np.testing.assert_array_equal(weights[LAYER.format(new)], teacher.weights[LAYER.format(old)])
    for name in ("bert.embeddings.word_embeddings.weight", "bert.pooler.dense.bias", "classifier.weight"):
        np.testing.assert_array_equal(weights[name], teacher.weights[name])
    assert student.start == "the teacher's layers 1, 3"


def test_a_pooler_is_left_aside_by_a_student_that_answers_for_tokens_and_missed_by_others(teacher, tmp_path):
    tags = replace(task_data(), kind=TAGGING, labels=("O", "B-x", "I-x"))
    student = build(teacher, tags, student_init="teacher_layers")
    weights = weights_of(student.model.network)
    assert weights["classifier.weight"].shape == (3, 16) and not any("pooler" in name for name in weights)
    np.testing.assert_array_equal(weights[LAYER.format(1)], teacher.weights[LAYER.format(3)])
    assert student.start == "the teacher's layers 1, 3"

    network = fill(BertForTokens(tiny_config(), 3), 1)
    path = save_network(tmp_path, network, labels=tags.labels, kind=TAGGING)
    other = build(checkpoints.load(path), student_init="teacher_layers")
    missing = "bert.pooler.dense.bias, bert.pooler.dense.weight at random: it has no pooler"
    assert other.start == f"the teacher's layers 0, 1 ({missing})"


def test_student_layers_chooses_the_layers(teacher):
    weights = weights_of(build(teacher, student_init="teacher_layers", student_layers=(2, 0)).model.network)
    np.testing.assert_array_equal(weights[LAYER.format(0)], teacher.weights[LAYER.format(2)])
    np.testing.assert_array_equal(weights[LAYER.format(1)], teacher.weights[LAYER.format(0)])


@pytest.mark.parametrize(
    "depth,teacher_depth,expected", [(4, 12, (2, 5, 8, 11)), (6, 12, (1, 3, 5, 7, 9, 11)), (3, 3, (0, 1, 2))]
)
def test_layers_copied_by_default(depth, teacher_depth, expected):
    assert student_layers((), depth, teacher_depth) == expected


@pytest.mark.parametrize("chosen", [(0, 1, 2), (0, 4), (0,)])
def test_wrong_number_of_layers_or_layers_the_teacher_lacks_are_refused(chosen):
    with pytest.raises(UserError) as error:
        student_layers(chosen, 2, 4)
    refuses(error, "student_layers", "needs 2 numbers from 0 to 3")


@pytest.mark.parametrize(
    "name,value", [("hidden_size", 8), ("intermediate_size", 48), ("max_position_embeddings", 16)]
)
def test_teacher_layers_of_other_widths_are_refused(teacher, name, value):
    with pytest.raises(UserError) as error:
        build(teacher, student={"num_hidden_layers": 2, name: value}, student_init="teacher_layers")
    refuses(error, f"td_student_net_cfg.{name} is {value}")


def test_general_distillation_checkpoint_brings_its_own_projection_and_architecture(teacher, tmp_path):
    general = tiny_network(2, labels=2, num_hidden_layers=2, hidden_size=12)
    fit = {
        "fit_dense.weight": np.full((16, 12), 0.5, np.float32),
        "fit_dense.bias": np.arange(16, dtype=np.float32),
    }
    encoder = {
        name: value for name, value in weights_of(general).items() if not name.startswith("classifier.")
    }
    checkpoints.save(str(tmp_path), {**encoder, **fit}, describe(general).without_head())
    student = build(teacher, student={"num_hidden_layers": None}, load_gd_ckpt_path=str(tmp_path))
    assert student.model.network.config.hidden_size == 12 and student.start == str(tmp_path)
    np.testing.assert_array_equal(student.projection.fit_dense.weight.asnumpy(), fit["fit_dense.weight"])
    np.testing.assert_array_equal(student.projection.fit_dense.bias.asnumpy(), fit["fit_dense.bias"])
    np.testing.assert_array_equal(
        weights_of(student.model.network)[LAYER.format(1)], encoder[LAYER.format(1)]
    )


def test_phase_1_checkpoint_keeps_its_classifier_and_contradicts_a_general_one(teacher, tmp_path):
    first, general = tiny_network(3, labels=2), tiny_network(4, labels=2)
    path = save_network(tmp_path / "td1", first)
    student = build(teacher, load_td1_ckpt_path=path)
    for name, value in weights_of(student.model.network).items():
        np.testing.assert_array_equal(value, weights_of(first)[name])
    with pytest.raises(UserError) as error:
        build(teacher, load_td1_ckpt_path=path, load_gd_ckpt_path=save_network(tmp_path / "gd", general))
    refuses(error, "load_gd_ckpt_path", "load_td1_ckpt_path")


@pytest.mark.parametrize("labels", [2, 3])
def test_classifier_of_another_task_is_left_out(teacher, tmp_path, labels):
    other = tiny_network(5, labels=labels)
    student = build(teacher, load_gd_ckpt_path=save_network(tmp_path, other, labels=("a", "b", "c")[:labels]))
    weights = weights_of(student.model.network)
    assert weights["classifier.weight"].shape == (2, 16)
    assert labels == 3 or not np.array_equal(
        weights["classifier.weight"], weights_of(other)["classifier.weight"]
    )
    np.testing.assert_array_equal(weights[LAYER.format(0)], weights_of(other)[LAYER.format(0)])


def test_yaml_that_contradicts_the_student_checkpoint_names_the_field(teacher, tmp_path):
    path = save_network(tmp_path, tiny_network(5, labels=2))
    with pytest.raises(UserError) as error:
        build(teacher, student={"intermediate_size": 99}, load_gd_ckpt_path=path)
    refuses(error, "td_student_net_cfg.intermediate_size is 99", path, "has 24")


def test_student_init_beside_a_checkpoint_is_refused(teacher, tmp_path):
    with pytest.raises(UserError) as error:
        build(teacher, load_gd_ckpt_path=str(tmp_path), student_init="random")
    refuses(error, "student_init", str(tmp_path))


def test_other_number_of_heads_is_refused_only_with_the_attention_loss(teacher):
    heads = {"num_hidden_layers": 2, "num_attention_heads": 4}
    with pytest.raises(UserError) as error:
        build(teacher, student=heads)
    refuses(
        error,
        "td_student_net_cfg: num_attention_heads is 4",
        "the teacher's is 2",
        "set phase1_cfg.attention_loss",
    )
    assert (
        build(
            teacher, student=heads, phase1_cfg=Phase1Config(attention_loss=False)
        ).model.network.config.num_attention_heads
        == 4
    )


def test_phase_1_needs_do_not_bind_where_it_does_not_run(teacher):
    heads = {"num_hidden_layers": 2, "num_attention_heads": 4}
    assert build(teacher, student=heads, td_phase1_epoch_size=0).model.network.config.num_attention_heads == 4


def test_student_layers_alone_mean_the_teachers_layers_and_never_random_ones(teacher):
    assert "teacher's layers" in build(teacher, student={"num_hidden_layers": 1}, student_layers=(1,)).start
    with pytest.raises(UserError) as error:
        build(teacher, student={"num_hidden_layers": 1}, student_layers=(1,), student_init="random")
    refuses(error, "student_layers", "random")


def test_a_student_that_is_no_smaller_or_begins_with_nothing_is_warned_of(teacher, tmp_path):
    big = Model.from_checkpoint(teacher)
    plan = TaskDistillConfig().student_plan

    def warned(**student):
        built = build(teacher, student={"num_hidden_layers": 4, **student})
        return [line.split(",")[0] for line in warnings_of(built, plan, big)]

    same, wide = "warning: the student has", "warning: the student starts from random weights"
    first, second = warned()
    assert first.startswith(same) and second == wide
    assert warned(num_hidden_layers=2) == [wide]
    (bigger,) = warned(hidden_size=24, intermediate_size=48)
    assert bigger.startswith(same)
    started = build(teacher, student_init="teacher_layers")
    chosen = TaskDistillConfig(student_init="teacher_layers").student_plan
    assert warnings_of(started, chosen, big) == []
    line, _ = warnings_of(build(teacher, student={"num_hidden_layers": 4}), plan, big)
    assert "--td_student_net_cfg.num_hidden_layers 2" in line and f"its teacher {big.parameters:,}," in line


def test_random_weights_depend_on_the_seed_alone(teacher):
    def weights(seed, build_something_first):
        ms.set_seed(99)
        if build_something_first:
            tiny_network(1, num_hidden_layers=1)
        ms.set_seed(seed)
        return weights_of(build(teacher).model.network)

    one, same, other = weights(7, False), weights(7, True), weights(8, False)
    np.testing.assert_array_equal(one[LAYER.format(0)], same[LAYER.format(0)])
    assert not np.array_equal(one[LAYER.format(0)], other[LAYER.format(0)])
    assert not np.array_equal(one[LAYER.format(0)], one[LAYER.format(1)])


def test_student_without_keys_of_its_own_resembles_the_teacher(teacher):
    config = build(teacher, student={"num_hidden_layers": 2, "hidden_dropout_prob": 0.3}).model.network.config
    assert (config.num_hidden_layers, config.hidden_dropout_prob, config.hidden_size, config.vocab_size) == (
        2,
        0.3,
        16,
        40,
    )


# --- does it belong to its teacher and its data -------------------------------------------------------------


def test_a_students_description_is_its_tasks_and_its_teachers(teacher):
    described = build(teacher).model.description
    assert (described.task_name, described.labels, described.outputs) == (
        "SST-2",
        ("negative", "positive"),
        2,
    )
    assert described.vocab_sha256 == teacher.description.vocab_sha256 != ""
    assert described.do_lower_case is True and described.quantization is None
    assert build(teacher).model.vocabulary == VOCABULARY


def test_a_student_of_another_vocabulary_than_its_teachers_is_refused(teacher, tmp_path):
    other = save_network(tmp_path, tiny_network(5, labels=2), vocabulary=VOCABULARY[:-1] + ("other",))
    for builder in (build, build_general):
        with pytest.raises(UserError) as error:
            builder(teacher, load_gd_ckpt_path=other)
        refuses(error, "load_gd_ckpt_path", other, "different vocabularies")


def test_a_student_that_cannot_read_the_rows_is_refused(teacher, tmp_path):
    data = task_data(train=make_examples(6, 20))
    path = save_network(tmp_path, tiny_network(5, labels=2, max_position_embeddings=16))
    with pytest.raises(UserError) as error:
        build(teacher, data, {"num_hidden_layers": None}, load_gd_ckpt_path=path)
    refuses(error, "the train records", "20 tokens", "positions for 16")
    for student in ({"num_hidden_layers": 2, "seq_length": 19}, {"max_position_embeddings": 16}):
        with pytest.raises(UserError) as error:
            build(teacher, data, student)
        refuses(error, "the train records", "20 tokens")
    build(teacher, data, {"num_hidden_layers": 2, "seq_length": 20})


def test_a_phase_1_student_of_another_task_is_refused_and_a_general_one_is_not(teacher, tmp_path):
    data = task_data("RTE", train=make_examples(6, 10))
    path = save_network(tmp_path, tiny_network(5, labels=2))  # of SST-2
    with pytest.raises(UserError) as error:
        build(teacher, data, load_td1_ckpt_path=path)
    refuses(error, "load_td1_ckpt_path", "trained on SST-2, not RTE")
    student = build(teacher, data, load_gd_ckpt_path=path)
    assert student.model.description.labels == ("entailment", "not_entailment")


# --- general distillation -----------------------------------------------------------------------------------


def test_a_general_student_has_no_head_and_a_projection_to_its_teacher(teacher):
    student = build_general(teacher, {"num_hidden_layers": 2, "hidden_size": 12})
    assert isinstance(student.model.network, BertEncoder) and student.checkpoint is None
    assert student.model.description.kind is None and student.start == "random weights"
    assert student.projection.fit_dense.weight.shape == (16, 12)
    assert student.summary.startswith("student: ") and "2 layers, started from random" in student.summary
    copied = build_general(teacher, student_init="teacher_layers")
    weights = weights_of(copied.model.network)
    np.testing.assert_array_equal(weights[LAYER.format(1)], teacher.weights[LAYER.format(3)])
    assert not any("classifier" in name for name in weights)


def test_a_general_student_goes_on_with_the_projection_of_its_checkpoint(teacher, tmp_path):
    network = tiny_network(5, labels=2)
    for width in (16, 24):  # the second one was learnt for another teacher
        fit = {
            "fit_dense.weight": np.full((width, 16), 0.5, np.float32),
            "fit_dense.bias": np.arange(width, dtype=np.float32),
        }
        path = save_network(tmp_path / str(width), network, extra_weights=fit)
        student = build_general(teacher, load_gd_ckpt_path=path)
        weight = student.projection.fit_dense.weight.asnumpy()
        np.testing.assert_array_equal(weight, fit["fit_dense.weight"] if width == 16 else np.eye(16))
        assert (student.start == path) is (width == 16)
        assert width == 16 or "to a teacher of width 24, not 16" in student.start
        np.testing.assert_array_equal(
            weights_of(student.model.network)[LAYER.format(0)], weights_of(network)[LAYER.format(0)]
        )


def test_a_general_student_whose_depth_does_not_divide_the_teachers_is_refused(teacher):
    with pytest.raises(UserError) as error:
        build_general(teacher, {"num_hidden_layers": 3})
    refuses(error, "gd_student_net_cfg: num_hidden_layers is 3", "the teacher's 4 layers")
