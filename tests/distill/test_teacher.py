"""The teacher as it is loaded and judged."""

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest

from src.distill.teacher import as_used, check_better_than_guessing, load_teacher
from src.errors import UserError
from src.examples import Examples, offsets_of
from src.kinds import CLASSIFICATION
from src.nn.heads import BertEncoder, BertForSequence
from src.settings.network import Known, NetConfig
from tests.helpers import describe, labelled, refuses, save_network, tiny_network, weights_of

ONES = np.ones(4, np.int32)
ROWS = Examples(ONES, ONES, offsets_of(ONES), labelled(CLASSIFICATION, [0, 1, 1, 1]))


def test_a_teacher_runs_as_its_checkpoint_says():
    described = describe(tiny_network(1, labels=2))
    assert as_used(described, described.bert, "td_teacher_net_cfg") == described


def test_the_other_form_of_gelu_is_the_runs_choice_and_said(capsys):
    described = describe(tiny_network(1, labels=2), source="teacher/")
    used = as_used(described, replace(described.bert, hidden_act="gelu_new"), "td_teacher_net_cfg")
    assert used.bert.hidden_act == "gelu_new" and used.labels == described.labels
    assert "the teacher computes gelu_new where its checkpoint says gelu" in capsys.readouterr().out


@pytest.mark.parametrize("own, asked", [("gelu", "relu"), ("relu", "gelu_new")])
def test_another_activation_than_it_was_trained_with_is_refused(own, asked):
    described = describe(tiny_network(1, labels=2, hidden_act=own), source="teacher/")
    with pytest.raises(UserError) as error:
        as_used(described, replace(described.bert, hidden_act=asked), "td_teacher_net_cfg")
    refuses(error, "td_teacher_net_cfg.hidden_act", f"was trained with {own}")


def test_a_loaded_teacher_has_no_dropout_and_its_checkpoint_keeps_its_own(tmp_path):
    network = tiny_network(1, labels=2, num_hidden_layers=1, hidden_dropout_prob=0.1)
    path = save_network(tmp_path, network)
    checkpoint, model = load_teacher(path, Known(section="td_teacher_net_cfg"), ms.float32)
    assert checkpoint.description.bert.hidden_dropout_prob == 0.1
    assert model.config.hidden_dropout_prob == 0.0 and isinstance(model.network, BertForSequence)
    name = "bert.encoder.layers.0.attention.query.weight"
    np.testing.assert_array_equal(model.weights()[name], weights_of(network)[name])
    _, encoder = load_teacher(path, Known(section="gd_teacher_net_cfg"), ms.float16, with_head=False)
    assert isinstance(encoder.network, BertEncoder) and encoder.network.compute_type == ms.float16
    with pytest.raises(UserError) as error:
        load_teacher(path, Known(NetConfig(num_hidden_layers=3), "gd_teacher_net_cfg"), ms.float32)
    refuses(error, "gd_teacher_net_cfg.num_hidden_layers is 3", path, "has 1")


@pytest.mark.parametrize(
    "score, least_gain, good", [(0.78, 2.0, True), (0.76, 2.0, False), (0.75, 0.0, True)]
)
def test_a_teacher_must_beat_the_best_constant_answer_by_the_points_asked_for(
    score, least_gain, good, capsys
):
    def check():
        check_better_than_guessing(
            {"accuracy": score}, "accuracy", ROWS, least_gain, "teacher_model_dir", "t/"
        )

    if good:
        check()
    else:
        with pytest.raises(UserError) as error:
            check()
        refuses(error, "teacher_model_dir: the teacher reaches Accuracy 76.00", "reaches 75.00", "t/")
    assert f"Accuracy {100 * score:.2f} (the best constant answer: 75.00)" in capsys.readouterr().out


@pytest.mark.parametrize("score, words", [(0.05, "--label_order"), (0.75, "was not fine-tuned on this task")])
def test_a_teacher_worse_than_a_guess_is_told_of_the_label_order(score, words):
    with pytest.raises(UserError) as error:
        check_better_than_guessing({"accuracy": score}, "accuracy", ROWS, 2.0, "teacher_model_dir", "t/")
    refuses(error, words, "was not fine-tuned on this task")
    assert ("--label_order" in str(error.value)) == (score < 0.75)


@pytest.mark.parametrize(
    "metric, labels, score, words",
    [
        ("matthews", [1, 1], 0.0, "cannot be seen: Matthews is 0 whatever a model answers"),
        ("f1", [0, 0], 0.0, "cannot be seen: F1 is 0"),
        ("accuracy", [1], 1.0, "Accuracy 100.00 (the best constant answer: 100.00)"),
        ("accuracy", [1, 1], 0.99, "cannot be seen: the labels of its 2 rows are all alike"),
        ("macro_f1", [0, 0], 1.0, "cannot be seen: the labels of its 2 rows are all alike"),
    ],
)
def test_rows_that_cannot_show_a_teacher_to_be_better_do_not_refuse_it(metric, labels, score, words, capsys):
    rows = replace(ROWS.take(range(len(labels))), columns={key: np.int32(labels) for key in ROWS.columns})
    check_better_than_guessing({metric: score}, metric, rows, 2.0, "teacher_model_dir", "t/")
    assert words in capsys.readouterr().out
