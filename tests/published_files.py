"""YAML files of the shape that mindspore-ai/models publishes for TinyBERT and TernaryBERT, in our own words:
three documents (values, help, choices), old names and places, words in quotes, MindSpore's type names.
"""

_CLOUD = """\
# {title}
enable_modelarts: False
data_url: ""
train_url: ""
checkpoint_url: ""
data_path: "/cache/data"
output_path: "/cache/train"
load_path: "/cache/checkpoint_path"
device_target: "{device}"
enable_profiling: False
modelarts_dataset_unzip_name: ''
folder_name_under_zip_file: '{folder}'
# ----------------------------------------
description: '{description}'
"""
_NETWORK = """\
{section}:
    seq_length: {length}
    vocab_size: {vocabulary}
    hidden_size: {width}
    num_hidden_layers: {layers}
    num_attention_heads: 12
    intermediate_size: {inner}
    hidden_act: "gelu"
    hidden_dropout_prob: 0.1
    attention_probs_dropout_prob: 0.1
    max_position_embeddings: 512
    type_vocab_size: 2
    initializer_range: 0.02
    use_relative_positions: False
    dtype: mstype.float32
    compute_type: mstype.{compute}
{further}
"""
_PHASE = """\
{name}:
    batch_size: 32
    loss_scale_value: {scale}
    scale_factor: 2
    scale_window: 50
    optimizer_cfg:
        AdamWeightDecay:
            learning_rate: {rate}
            end_learning_rate: {end}
            power: 1.0
            weight_decay: 0.0001  # a hundredth of the paper's
            eps: 0.000001
            decay_filter: ['layernorm', 'bias']
{further}
"""
_HELP = """\
---
# what the keys mean
device_target: "where it runs"
do_shuffle: "another order every epoch"
result_path: "for the scripts of Ascend 310"
result_path: "and once more"
---
device_target: ['Ascend', 'GPU', 'CPU']
do_shuffle: ["true", "false"]
"""


def _network(section, length, vocabulary, width, layers, compute="float16", further=""):
    return _NETWORK.format(
        section=section,
        length=length,
        vocabulary=vocabulary,
        width=width,
        layers=layers,
        inner=4 * width,
        compute=compute,
        further=further,
    )


def _phase(name, scale, rate, end="0.0", further=""):
    return _PHASE.format(name=name, scale=scale, rate=rate, end=end, further=further)


def task_distillation(labels, length, vocabulary=30522, end="0.0", onnx='onnx_path: ""\n', format="MINDIR"):
    """td_config/td_config_*.yaml."""
    return (
        _CLOUD.format(title="a task", device="Ascend", folder="", description="task_distill")
        + f"""\
task_type: "classification"
task_name: ""
device_id: 0
do_train: "true"
do_eval: "true"
td_phase1_epoch_size: 10
td_phase2_epoch_size: 3
do_shuffle: "true"
enable_data_sink: "true"
save_ckpt_step: 100
max_ckpt_num: 1
data_sink_steps: 1
load_teacher_ckpt_path: ""
load_gd_ckpt_path: ""
load_td1_ckpt_path: ""
{onnx}train_data_dir: ""
eval_data_dir: ""
schema_dir: ""
seed1: 1
seed2: 2
assessment_method: "accuracy"
dataset_type: "tfrecord"
# of export.py
ckpt_file: ''
file_name: "tinybert"
file_format: "{format}"
num_labels: {labels}
"""
        + _phase("phase1_cfg", 256, "0.00005", end)
        + _phase("phase2_cfg", 65536, "0.00002", end)
        + "eval_cfg:\n    batch_size: 32\n"
        + _network("td_teacher_net_cfg", length, vocabulary, 768, 12)
        + _network("td_student_net_cfg", length, vocabulary, 384, 4)
        + _HELP
    )


def general_distillation():
    """gd_config.yaml."""
    return (
        _CLOUD.format(title="a corpus", device="Ascend", folder="./", description="general_distill")
        + """\
distribute: "false"
epoch_size: 3
device_id: 0
device_num: 1
save_checkpoint_step: 100
max_ckpt_num: 1
do_shuffle: "true"
enable_data_sink: "true"
data_sink_steps: 1
save_ckpt_path: ''
load_teacher_ckpt_path: ''
data_dir: ''
schema_dir: ''
dataset_type: "tfrecord"
seed1: 7
common_cfg:
    batch_size: 32
    loss_scale_value: 65536
    scale_factor: 2
    scale_window: 1000
    AdamWeightDecay:
        learning_rate: 0.00005
        end_learning_rate: 0.00000000000001
        power: 1.0
        weight_decay: 0.0001
        eps: 0.000001
        decay_filter: ['layernorm', 'bias']
"""
        + _network("bert_teacher_net_cfg", 128, 30522, 768, 12)
        + _network("bert_student_net_cfg", 128, 30522, 384, 4)
        + _HELP
    )


def ternary():
    """TernaryBERT's flags and config.py as a YAML file."""
    quantized = """\
    do_quant: True
    embedding_bits: 2
    weight_bits: 2
    weight_clip_value: 3.0
    cls_dropout_prob: 0.1
    activation_init: 2.5
    is_att_fit: True
    is_rep_fit: True
    is_lgt_fit: False
"""
    return (
        _CLOUD.format(title="two bits", device="GPU", folder="", description="ternarybert")
        + """\
task_name: "sts-b"
do_eval: True
epoch_size: 3
device_id: 0
do_shuffle: "True"
enable_data_sink: "True"
data_sink_steps: 100
save_ckpt_step: 50
eval_ckpt_step: 50
max_ckpt_num: 10
teacher_model_dir: ""
student_model_dir: ""
data_dir: ""
output_dir: "./"
dataset_type: "tfrecord"
seed: 1
train_batch_size: 16
eval_batch_size: 32
file_name: "ternarybert"
file_format: "MINDIR"
ckpt_file: ""
num_labels: 1
task_cfg:
    sts-b: {num_labels: 1, seq_length: 128, task_type: regression, metrics: Pearsonr}
gradient_cfg: {clip_type: 1, clip_value: 1.0}
eval_cfg: {batch_size: 32}
"""
        + _phase("train_cfg", 65536, "5e-5", "1e-14", "            warmup_ratio: 0.1").replace(
            ": 32\n", ": 16\n"
        )
        + _network("teacher_net_cfg", 128, 30522, 768, 6, "float32", "    do_quant: False\n")
        + _network("student_net_cfg", 128, 30522, 768, 6, "float32", quantized)
        + _HELP
    )


FILES = {
    "gd_config": general_distillation(),
    "td_config_sst2": task_distillation(2, 64),
    "td_config_qnli": task_distillation(2, 128, onnx="", format="AIR"),
    "td_config_mnli": task_distillation(3, 128),
    "td_config_15cls": task_distillation(15, 128, 21128, "0.00000000000001", ""),
    "td_config_ner": task_distillation(43, 128, 21128, "0.00000000000001", ""),
    "ternary": ternary(),
}
"""{name: text} of the files."""
