"""Command lines of quant_task_glue.py, quant_task_squad.py and nlp_architect become settings of ours."""

import pytest

from src.errors import UserError
from src.settings.parsing import parse
from src.settings.tools import PredictConfig
from src.settings.training import TernaryConfig
from tests.helpers import refusal

GLUE = (
    "--data_dir data --model_dir models --task_name mnli --output_dir output --learning_rate 2e-5 "
    "--num_train_epochs 3 --weight_bits 2 --input_bits 8 --pred_distill --intermediate_distill "
    "--save_fp_model --save_quantized_model"
)
SQUAD = (
    "--data_dir data/squadv2.0 --model_dir models/squadv2.0 --output_dir output --learning_rate 2e-5 "
    "--num_train_epochs 3 --version_2_with_negative --weight_bits 2 --input_bits 8 --pred_distill "
    "--intermediate_distill --save_fp_model --save_quantized_model"
)
TRAIN = (
    "--task_name mrpc --model_name_or_path ./bert-base-uncased --model_type quant_bert --learning_rate 2e-5 "
    "--output_dir /tmp/mrpc-8bit --evaluate_during_training --data_dir /path/to/MRPC --do_lower_case"
)
RUN = (
    "--model_path /tmp/mrpc-8bit --task_name mrpc --model_type quant_bert --output_dir /tmp/mrpc-8bit "
    "--data_dir /path/to/MRPC --do_lower_case --overwrite_output_dir"
)


def read(line, config_class=TernaryConfig):
    return parse(config_class, line.split())


def value_of(settings, key):
    for name in key.split("."):
        settings = getattr(settings, name)
    return settings


LEARNING_RATE = "train_cfg.optimizer_cfg.AdamWeightDecay.learning_rate"
DISTILLED = {
    LEARNING_RATE: 2e-5,
    "epoch_size": 3,
    "quant_cfg.weight_bits": 2,
    "quant_cfg.weight_quantizer": "twn",
    "quant_cfg.embedding_bits": 2,
    "quant_cfg.embedding_quantizer": "twn",
    "quant_cfg.activation_bits": 8,
    "pred_distill": True,
    "intermediate_distill": True,
    "is_lgt_fit": False,
    "save_fp_model": True,
    "save_quantized_model": True,
}


@pytest.mark.parametrize(
    "line,expected",
    [
        (
            GLUE,
            {"task_name": "mnli", "teacher_model_dir": "models", "student_model_dir": "models", **DISTILLED},
        ),
        (
            SQUAD,
            {
                "task_name": "SQuAD2",
                "teacher_model_dir": "models/squadv2.0",
                "student_model_dir": "models/squadv2.0",
                **DISTILLED,
            },
        ),
        (
            TRAIN,
            {
                "teacher_model_dir": "",
                "student_model_dir": "./bert-base-uncased",
                "quantization": "q8bert",
                "quant_cfg.weight_bits": 8,
                "quant_cfg.activation_quantizer": "ema",
                "pred_distill": False,
                "intermediate_distill": False,
                "is_lgt_fit": True,
                "do_eval": True,
                "do_lower_case": True,
                LEARNING_RATE: 2e-5,
            },
        ),
        (TRAIN + " --quantization q8bert", {"quantization": "q8bert"}),  # said twice, alike
        (RUN, {"model_path": "/tmp/mrpc-8bit", "split": "test", "student_model_dir": ""}),
    ],
    ids=["glue", "squad", "train", "train-q8bert", "run"],
)
def test_the_published_command_lines(line, expected):
    settings, notices = read(line)
    assert {key: value_of(settings, key) for key in expected} == expected
    assert sum("flags of another program" in notice for notice in notices) == 1


def test_run_is_read_by_predict_too():
    settings, _ = read(RUN + " --evaluate --per_gpu_eval_batch_size 4", PredictConfig)
    assert (settings.model, settings.layout, settings.split) == ("/tmp/mrpc-8bit", "lines", "eval")
    assert settings.batch_size == 4


@pytest.mark.parametrize(
    "config_class,line,words",
    [
        (PredictConfig, RUN, "model_type (a model's folder says the type itself)"),
        (TernaryConfig, "--model_dir m --evaluate false", "evaluate (as it is here)"),
        (TernaryConfig, "--clip_val 3 --n_best_size 20", "n_best_size (as it is here)"),
        (TernaryConfig, "--model_dir m --teacher_model t --student_model s", "model_dir (given otherwise)"),
    ],
)
def test_what_a_flag_became_is_said(config_class, line, words):
    (told,) = (line for line in read(line, config_class)[1] if "flags of another program" in line)
    assert words in told


QUANTIZED = {"quant_cfg.weight_bits": 8, "quant_cfg.embedding_bits": 8}
KINDS = {"quant_cfg.weight_quantizer": "symmetric", "quant_cfg.embedding_quantizer": "symmetric"}


@pytest.mark.parametrize(
    "text,expected",
    [
        ("weight_bits: 8", {**QUANTIZED, **KINDS, "quant_cfg.activation_quantizer": "symmetric"}),
        ("student_net_cfg: {weight_bits: 8}", {**QUANTIZED, **KINDS}),
        ("{weight_bits: 8, quantization: q8bert}", {**QUANTIZED, "quant_cfg.activation_quantizer": "ema"}),
        (
            "{weight_bits: 8, embedding_bits: 2}",
            {**QUANTIZED, **KINDS, "quant_cfg.embedding_bits": 2, "quant_cfg.embedding_quantizer": "twn"},
        ),
        (
            "{weight_bits: 2, quant_cfg: {weight_quantizer: lat}}",
            {"quant_cfg.weight_bits": 2, "quant_cfg.weight_quantizer": "lat"},
        ),
        ("weight_bits: 4", "weight_bits: must be 2 or 8, not '4'; for other bits give --quant_cfg"),
        ("student_net_cfg: {embedding_bits: 1}", "student_net_cfg.embedding_bits: must be 2 or 8"),
        ("{weight_bits: 2, quantization: q8bert}", "weight_bits 2 and quantization contradict each other"),
    ],
)
def test_bits_in_a_file_mean_what_they_mean_on_a_command_line(tmp_path, text, expected):
    path = tmp_path / "a.yaml"
    path.write_text(text + "\n")
    line = f"--config_path {path}"
    if isinstance(expected, str):
        assert expected in refusal(read, line)
    else:
        settings, _ = read(line)
        assert {key: value_of(settings, key) for key in expected} == expected


@pytest.mark.parametrize(
    "line,expected",
    [
        ("--model_dir m --teacher_model t", {"teacher_model_dir": "t", "student_model_dir": "m"}),
        ("--student_model_dir s --model_dir m", {"teacher_model_dir": "m", "student_model_dir": "s"}),
        ("--weight_bits 8", {"quant_cfg.weight_quantizer": "symmetric", "quant_cfg.embedding_bits": 8}),
        (
            "--weight_bits=8 --embedding_bits=2",
            {"quant_cfg.weight_quantizer": "symmetric", "quant_cfg.embedding_quantizer": "twn"},
        ),
        ("--student_net_cfg.weight_bits 8", {**QUANTIZED, **KINDS}),
        ('--student_net_cfg {"weight_bits":8}', {**QUANTIZED, **KINDS}),
        ("--weight_bits 8 --quantization q8bert", {"quant_cfg.weight_clip_value": 0.0}),
        (
            "--clip_val 3 --activation_init 1",
            {
                "quant_cfg.weight_clip_value": 3.0,
                "quant_cfg.embedding_clip_value": 3.0,
                "quant_cfg.activation_clip_value": 1.0,
            },
        ),
        ("--num_train_epochs 4.0", {"epoch_size": 4}),
        ("--batch_size 7", {"train_cfg.batch_size": 7, "eval_batch_size": 32}),
        ("--per_gpu_batch_size 7", {"train_cfg.batch_size": 7, "eval_batch_size": 7}),
        ("--per_gpu_train_batch_size 5 --warmup_steps 0", {"train_cfg.batch_size": 5}),
        ("--n_best_size 20 --null_score_diff_threshold 0", {}),  # as they are here
        ("--evaluate false --no_cuda False", {"split": "test", "device_target": "auto"}),
        ("--model_dir m --pred_distill", {"pred_distill": True, "intermediate_distill": False}),
        ("--pred_distill", {"intermediate_distill": True}),  # our own command line means what it says
        (
            "--model_dir m --pred_distill false --intermediate_distill",
            {"pred_distill": False, "intermediate_distill": True},
        ),
        (
            "--model_name_or_path ./s --teacher_model_dir t",
            {"pred_distill": True, "intermediate_distill": True, "is_lgt_fit": False},
        ),
        ("--model_dir m --eval_step 50 --eval_ckpt_step 50", {"eval_ckpt_step": 50}),
        ("--model_dir m --aug_train --max_seq_length 32", {"aug_train": True, "max_seq_length": 32}),
    ],
)
def test_what_a_flag_means(line, expected):
    settings, _ = read(line)
    assert {key: value_of(settings, key) for key in expected} == expected


@pytest.mark.parametrize(
    "line,words",
    [
        (
            "--weight_bits 4",
            "weight_bits: must be 2 or 8, not '4'; for other bits give --quant_cfg.weight_bits",
        ),
        ("--embedding_bits 32", "embedding_bits: must be 2 or 8, not '32'"),
        ("--weight_bits", "weight_bits needs a value"),
        ("--weight_bits --model_dir m", "weight_bits needs a value"),
        ("--weight_bits 2 --weight_bits 8", "weight_bits is given twice, as '2' and '8'"),
        ("--weight_bits 2 --quantization q8bert", "weight_bits 2 and quantization contradict each other"),
        ("--weight_bits 2 --model_type quant_bert", "weight_bits 2 and model_type contradict each other"),
        ("--weight_bits 8 --quantization ternary", "quantization ternary has 2 bits"),
        ("--student_net_cfg.weight_bits 2 --quantization q8bert", "contradict each other"),
        ("--student_net_cfg.embedding_bits 4", "student_net_cfg.embedding_bits: must be 2 or 8"),
        ("--weight_bits 2 --student_net_cfg.weight_bits 8", "contradict each other"),
        ("--weight_bits 8 --quantization none", "quantization none has no bits"),
        ("--weight_bits 8 --quant_cfg.weight_bits 2", "both say what quant_cfg.weight_bits is"),
        ("--input_bits 1 --model_dir m", "activation_bits must be 2 to 8"),
        ("--num_train_epochs 2.5", "num_train_epochs: must be a whole number, 1 or more, not '2.5'"),
        ("--num_train_epochs inf", "num_train_epochs: must be a whole number"),
        ("--num_train_epochs three", "num_train_epochs: must be a whole number"),
        (f"--learning_rate 1e-4 --{LEARNING_RATE} 2e-5", "contradict each other"),
        ("--learning_rate fast", "learning_rate: must be a number, not 'fast'"),
        ("--clip_val -1", "clip_value: must be >= 0"),
        ("--model_type bert", "model_type: must be quant_bert, not 'bert'"),
        ("--model_type quant_bert --quantization ternary", "contradict each other"),
        (
            "--model_name_or_path bert-base-uncased",
            "there is no 'bert-base-uncased' here, and nothing is downloaded",
        ),
        ("--model_path a --model_dir b", "model_path, teacher_model_dir: the first answers"),
        ("--max_answer_length 15", "max_answer_length: is '30' here, not '15'"),
        ("--tokenizer_name other", "the vocabulary is read from the model's folder"),
        ("--warmup_steps 100", "AdamWeightDecay.warmup_ratio"),
        ("--num_train_epoch 3", "did you mean num_train_epochs?"),
        ("--version_2_with_negative --task_name mrpc --model_dir m", "it is for task_name squad, not mrpc"),
    ],
)
def test_what_is_refused(line, words):
    with pytest.raises(UserError) as error:
        read(line)
    assert words in str(error.value) and "\n" not in str(error.value)
