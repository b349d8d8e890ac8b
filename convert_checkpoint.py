"""Convert checkpoints: Hugging Face, TensorFlow or published MindSpore ones into ours, and any of them into
the first two.

python convert_checkpoint.py --input bert-base-uncased/ --output teacher/ [--task_name SST-2] [--to
huggingface]
"""

import os
import re

from src import checkpoint as checkpoints
from src.errors import UserError, command
from src.files import check_replaceable, replacing_folder
from src.settings.parsing import parse, required
from src.settings.tools import ConvertConfig
from src.tasks import REGRESSION, get_task

_WRITERS = {"huggingface": checkpoints.write_huggingface, "tensorflow": checkpoints.write_tensorflow}
_OUR_FILES = (
    "eval_model.ckpt",
    "config.json",
    "vocab.txt",
    "model.safetensors",
    "tokenizer_config.json",
    "bert_config.json",
    "bert_model.ckpt.index",
    "bert_model.ckpt.data-00000-of-00001",
)


@command
def main(arguments=None):
    settings, notices = parse(ConvertConfig, arguments, script="convert_checkpoint.py")
    required(settings, "input", "output")
    _check_output(settings.input, settings.output)
    task = get_task(settings.task_name) if settings.task_name else None

    read = checkpoints.read_any(
        settings.input, settings.bert_config, settings.vocab_file, settings.classifier_relu
    )
    checkpoint, notices = read.checkpoint, notices + read.notices
    if task:
        checkpoint, more = checkpoints.with_labels(
            checkpoint, task.name, task.labels, task.head == REGRESSION
        )
        notices += more
    with replacing_folder(settings.output) as folder:
        if settings.to == "mindspore":
            checkpoints.save(folder, checkpoint.weights, checkpoint.config, checkpoint.vocabulary)
        else:
            notices += _WRITERS[settings.to](folder, checkpoint)
    _report(read, checkpoint, notices)
    print(f"wrote {settings.to} checkpoint {settings.output}; next: {_next_step(settings, checkpoint)}")


def _check_output(source, output):
    """Refuse an output folder whose replacement would delete something that is not a checkpoint."""
    inside, outside = (os.path.realpath(path) for path in (source, output))
    if os.path.isdir(output) and (inside == outside or inside.startswith(outside + os.sep)):
        raise UserError(f"output: {output} is where the input lies; name another folder")
    check_replaceable(output, "output", "|".join(map(re.escape, _OUR_FILES)))


def _report(read, checkpoint, notices):
    config, size = checkpoint.config, sum(value.size for value in checkpoint.weights.values())
    print(
        f"recognised: {checkpoints.FORMATS[read.file_format]} BERT, {config['num_hidden_layers']} layers, "
        f"{config['hidden_size']} wide, {config['num_attention_heads']} heads, {config['hidden_act']}, "
        f"LayerNorm epsilon {config['layer_norm_eps']}, classifier_relu "
        f"{str(config['classifier_relu']).lower()}"
    )
    print(f"weights: {len(checkpoint.weights)}, parameters: {size:,}")
    print(f"dropped: {', '.join(read.dropped) if read.dropped else 'nothing'}")
    if not checkpoint.num_labels:
        print("head: none (encoder only)")
    elif config["problem_type"] == "regression":
        print("head: regression")
    else:
        names = ", ".join(checkpoint.labels) or "without names (--task_name gives them)"
        print(f"head: {checkpoint.num_labels} labels: {names}")
    for notice in notices:
        print(f"note: {notice}")


def _next_step(settings, checkpoint):
    if settings.to == "huggingface":
        kind = "AutoModelForSequenceClassification" if checkpoint.num_labels else "AutoModel"
        return f'transformers.{kind}.from_pretrained("{settings.output}")'
    if settings.to == "tensorflow":
        return (
            f"init_checkpoint={os.path.join(settings.output, 'bert_model.ckpt')} in Google's "
            "run_classifier.py"
        )
    task = checkpoint.config.get("task_name", "TASK")
    if checkpoint.num_labels:
        return f"python run_task_distill.py --task_name {task} --load_teacher_ckpt_path {settings.output} ..."
    return f"python run_finetune.py --task_name {task} --load_ckpt_path {settings.output} ..."


if __name__ == "__main__":
    main()
