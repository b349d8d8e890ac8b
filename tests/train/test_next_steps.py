"""The last lines of runs: their commands are ones that the scripts take."""

import re
import shlex

import pytest

from src.description import Description
from src.settings.commands import SCRIPTS
from src.settings.network import NOTHING, BertConfig, Known, NetConfig, ShapeConfig
from src.settings.parsing import parse
from src.train import next_steps

FOLDER, DATA = "out/a run/sst-2", "my data/sst-2"


def described(layers, width, source=""):
    return Description(BertConfig(num_hidden_layers=layers, hidden_size=width), source=source)


def commands(line):
    """{script: its settings} of the commands in a line, as the script reads them."""
    found = re.findall(r"python (\w+)\.py (.*?)(?=; |$)", line)
    return {script: parse(SCRIPTS[script], shlex.split(words))[0] for script, words in found}


def test_a_general_student_and_a_teacher_go_on_to_task_distillation():
    found = commands(next_steps.after_general_distilling("out/gd", described(6, 768, "bert base"), NOTHING))
    assert found["run_finetune"].load_ckpt_path == "bert base"
    assert found["run_task_distill"].load_gd_ckpt_path == "out/gd"
    last = next_steps.after_finetuning("SST-2", FOLDER, described(6, 768), DATA, "")
    found = commands(last)
    assert (found["eval"].model_dir, found["eval"].data_dir) == (FOLDER, DATA)
    distil = found["run_task_distill"]
    assert (distil.load_teacher_ckpt_path, distil.train_data_dir, distil.eval_data_dir) == (
        FOLDER,
        DATA,
        DATA,
    )
    assert distil.td_student_net_cfg.num_hidden_layers == 3 and distil.student_init == "teacher_layers"


@pytest.mark.parametrize(
    "layers, width, teacher",
    [(3, 768, "the teacher"), (3, 384, FOLDER), (5, 768, FOLDER), (6, 768, "the teacher")],
)
def test_a_student_is_made_ternary_with_a_teacher_that_it_can_be_compared_with(layers, width, teacher):
    told = described(layers, width), described(6, 768, "the teacher")
    found = commands(next_steps.after_distilling("SST-2", FOLDER, *told, NOTHING, DATA, DATA))
    assert found["train"].teacher_model_dir == teacher and found["train"].student_model_dir == FOLDER
    assert found["export"].ckpt_file == found["eval"].model_dir == FOLDER
    apart = commands(next_steps.after_distilling("SST-2", FOLDER, *told, NOTHING, DATA, "elsewhere"))
    assert "train" not in apart and apart["eval"].data_dir == "elsewhere"  # train.py takes one folder


def test_what_a_teachers_checkpoint_does_not_say_is_said_again():
    """Of a published .ckpt without config.json, but not what the run chose for itself alone."""
    said = {"num_attention_heads": 12, "layer_norm_eps": 1e-7, "classifier_relu": False}
    chosen = NetConfig(**said, hidden_act="gelu_new", hidden_dropout_prob=0.1, seq_length=64)
    known = Known(chosen, "td_teacher_net_cfg", "the vocab.txt")
    teacher = Description(BertConfig(num_hidden_layers=6, layer_norm_eps=1e-7), source="a teacher.ckpt")
    found = commands(next_steps.after_general_distilling("out/gd", teacher, known))
    assert found["run_finetune"].load_ckpt_path == "a teacher.ckpt"
    assert found["run_finetune"].net_cfg == NetConfig(**said)  # no GELU of the run's, its weights' is exact
    assert found["run_finetune"].vocab_file == "the vocab.txt"
    assert found["run_task_distill"].td_teacher_net_cfg == NetConfig()  # of a folder of ours
    line = next_steps.after_distilling("SST-2", FOLDER, described(3, 768), teacher, known, DATA, DATA)
    trains = commands(line)["train"]
    assert trains.teacher_net_cfg == ShapeConfig(**said) and trains.vocab_file == "the vocab.txt"
    line = next_steps.after_distilling("SST-2", FOLDER, described(3, 384), teacher, known, DATA, DATA)
    trains = commands(line)["train"]  # from a folder of ours alone
    assert trains.teacher_net_cfg == ShapeConfig() and trains.vocab_file == ""


@pytest.mark.parametrize("name", ["config.json", "bert_config.json"])
def test_what_a_teachers_configuration_says_is_not_said_again(tmp_path, name):
    said = {"num_attention_heads": 12, "layer_norm_eps": 1e-12, "classifier_relu": False}
    (tmp_path / name).write_text('{"num_attention_heads": 12, "layer_norm_eps": 1e-12}')
    known = Known(NetConfig(**said), "td_teacher_net_cfg", "the vocab.txt")
    for source in (tmp_path, tmp_path / "teacher.ckpt"):
        teacher = Description(BertConfig(layer_norm_eps=1e-12), source=str(source))
        flags = next_steps.flags_of(known, teacher, "net_cfg")
        assert flags == {"net_cfg.classifier_relu": "false", "vocab_file": "the vocab.txt"}


def test_a_quantized_student_is_evaluated_as_it_was_and_exported():
    found = commands(next_steps.after_quantizing("SST-2", FOLDER, DATA, "--padding none --max_tokens 64"))
    assert found["eval"].max_tokens == 64 and found["export"].ckpt_file == FOLDER


def test_commands_read_published_records_as_the_run_did():
    order = ("contradiction", "entailment", "neutral")
    read = next_steps.reading(SCRIPTS["run_finetune"](label_order=order, schema_dir="a schema.json"))
    told = described(3, 768), described(6, 768, "the teacher")
    lines = (
        next_steps.after_finetuning("MNLI", FOLDER, told[1], DATA, "", **read),
        next_steps.after_distilling("MNLI", FOLDER, *told, NOTHING, DATA, DATA, **read),
        next_steps.after_quantizing("MNLI", FOLDER, DATA, "--padding none", **read),
    )
    reading = [found for line in lines for script, found in commands(line).items() if script != "export"]
    assert len(reading) == 5
    assert {(found.label_order, found.schema_dir) for found in reading} == {(order, "a schema.json")}
