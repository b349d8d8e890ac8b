"""What a quantized student starts from, what it learns from, and when that is impossible."""

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest

from src.checkpoint.folder import QUANTIZER_STATE, save
from src.distill.distiller import LossTerms
from src.distill.quantized import check_calibrated, loss_terms, quantized_student
from src.errors import UserError
from src.nn.heads import BertForSequence
from src.settings.network import QuantConfig, ShapeConfig
from src.settings.stage import Phase1Config
from src.settings.training import QuantizedStudentConfig, TernaryConfig
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

TWO = QuantConfig(weight_bits=2, embedding_bits=2, activation_bits=8)
LAT = QuantConfig(weight_bits=2, weight_quantizer="lat")
EMA = QuantConfig(activation_bits=8, activation_quantizer="ema", ema_start_step=10)
NETWORK = tiny_network(1, labels=2, num_hidden_layers=1, hidden_dropout_prob=0.1)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A float checkpoint of SST-2."""
    return save_network(tmp_path_factory.mktemp("float"), NETWORK)


def student(path, quantization=TWO, data=None, **values):
    config = QuantizedStudentConfig(quant_cfg=quantization, **values)
    return quantized_student(path, "student_model_dir", data or task_data(), config, ms.float32)


def refused(*arguments, **values):
    with pytest.raises(UserError) as error:
        student(*arguments, **values)
    return error


def test_a_student_has_the_weights_of_its_checkpoint_and_says_what_is_rounded(path):
    model = student(path, attention_probs_dropout_prob=0.2)
    for name, value in weights_of(NETWORK).items():
        np.testing.assert_array_equal(model.weights()[name], value)
    assert model.network.quantization == TWO == model.description.quantization
    assert (model.config.hidden_dropout_prob, model.config.attention_probs_dropout_prob) == (0.0, 0.2)
    assert model.vocabulary == VOCABULARY and model.description.labels == ("negative", "positive")
    weights_only = student(path, do_quant=False, classifier_dropout=0.3)
    assert weights_only.description.quantization == replace(TWO, activation_bits=32)
    assert weights_only.config.head_dropout == 0.3 and model.config.head_dropout == 0.0


def test_a_student_of_another_shape_than_the_settings_is_refused(path):
    student(path, student_net_cfg=ShapeConfig(num_hidden_layers=1, initializer_range=0.5))
    error = refused(path, student_net_cfg=ShapeConfig(num_hidden_layers=6))
    refuses(error, "student_net_cfg.num_hidden_layers is 6", "has 1")


def test_what_quantizers_had_learnt_is_kept_where_it_has_a_place(tmp_path, path):
    network = fill(BertForSequence(tiny_config(num_hidden_layers=1), 2, quantization=LAT), 1)
    moment = next(name for name in weights_of(network) if name.endswith(".second_moment"))
    learnt = {**weights_of(network), moment: np.full_like(weights_of(network)[moment], 0.5)}
    save(str(tmp_path), learnt, describe(network), VOCABULARY)
    np.testing.assert_array_equal(student(str(tmp_path), LAT).weights()[moment], learnt[moment])
    other = student(str(tmp_path), TWO).weights()
    assert not any(name.endswith(QUANTIZER_STATE) for name in other)
    assert moment in student(path, LAT).weights()  # a float checkpoint has none: it starts anew


def test_only_training_can_fill_in_a_head(tmp_path):
    weights = {name: value for name, value in weights_of(NETWORK).items() if "classifier" not in name}
    save(str(tmp_path), weights, describe(NETWORK).without_head(), VOCABULARY)
    assert student(str(tmp_path)).description.outputs == 2
    refuses(refused(str(tmp_path), do_train=False), str(tmp_path), "classifier.bias")


def test_only_training_calibrates_moving_averages(path):
    assert student(path, EMA).uncalibrated_ranges()
    refuses(
        refused(path, EMA, do_train=False), "quant_cfg.activation_quantizer: do_train is false", "dynamic"
    )


def test_a_checkpoint_of_another_task_is_refused(path):
    data = task_data("RTE", train=make_examples(4, 8))
    refuses(refused(path, data=data), "student_model_dir", "trained on SST-2, not RTE")


@pytest.mark.parametrize("start, batches, good", [(10, 11, True), (10, 10, False), (0, 1, True)])
def test_training_must_outlast_the_start_of_calibration(start, batches, good):
    ema = QuantConfig(activation_bits=8, activation_quantizer="ema", ema_start_step=start)
    if good:
        check_calibrated(ema, batches)
        return
    with pytest.raises(UserError) as error:
        check_calibrated(ema, batches)
    refuses(error, "quant_cfg.ema_start_step is 10", "ends after 10 batches")
    check_calibrated(QuantConfig(activation_bits=8, ema_start_step=start), batches)  # has no moving average


def test_terms_are_those_switched_on():
    assert loss_terms(TernaryConfig(), True) == LossTerms(attention_loss=1.0, hidden_loss=1.0, soft_loss=1.0)
    hidden = TernaryConfig(train_cfg=Phase1Config(attention_loss=False))
    assert loss_terms(hidden, True) == LossTerms(hidden_loss=1.0, soft_loss=1.0)
    labels = TernaryConfig(pred_distill=False, intermediate_distill=False, is_lgt_fit=True)
    assert loss_terms(labels, False) == LossTerms(label_loss=1.0)
    assert loss_terms(TernaryConfig(do_train=False), False) == LossTerms()
    for switches in ({"pred_distill": False}, {"intermediate_distill": False}):
        with pytest.raises(UserError) as error:
            loss_terms(TernaryConfig(**switches), False)
        refuses(error, "teacher_model_dir is needed", "--is_lgt_fit true")
