"""Convert checkpoints: Hugging Face, TensorFlow or published MindSpore ones into ours, and any of them into
the first two.

    python convert_checkpoint.py --input bert-base-uncased/ --output teacher/ [--task_name SST-2] \\
        [--label_order NAMES] [--to huggingface]
"""

import os
import re
import shlex

from src.checkpoint import folder, huggingface, tensorflow
from src.checkpoint.formats import FORMATS, read_any
from src.checkpoint.labels import with_labels
from src.checkpoint.names import QUESTIONS
from src.errors import UserError, command
from src.files import replacing_folder
from src.settings.network import Known
from src.settings.parsing import parse, required
from src.settings.tools import ConvertConfig
from src.tasks import get_task

_OUR_FILES = (
    "eval_model.ckpt",
    "config.json",
    "vocab.txt",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "bert_config.json",
    "bert_model.ckpt.index",
    "bert_model.ckpt.data-00000-of-00001",
)


def _write_ours(path, checkpoint):
    folder.save(path, checkpoint.weights, checkpoint.description, checkpoint.vocabulary)
    return []


_WRITERS = {"mindspore": _write_ours, "huggingface": huggingface.write, "tensorflow": tensorflow.write}


@command
def main(arguments: list[str] | None = None) -> None:
    settings, notices = parse(ConvertConfig, arguments, script="convert_checkpoint.py")
    required(settings, "input", "output")
    _check_output(settings.input, settings.output)
    task = get_task(settings.task_name) if settings.task_name else None
    if settings.label_order and not task:
        raise UserError("label_order: needs the task whose labels they are: give --task_name")

    known = Known(vocab_file=settings.vocab_file, kind=task.kind if task else None)
    read = read_any(settings.input, known, settings.bert_config, settings.classifier_relu)
    checkpoint, notices = read.checkpoint, notices + read.notices
    if task:
        checkpoint, more = with_labels(checkpoint, task, settings.label_order)
        notices += more
    with replacing_folder(settings.output) as path:
        notices += _WRITERS[settings.to](path, checkpoint)
    _report(read, checkpoint, notices)
    print(f"wrote {settings.to} checkpoint {settings.output}; next: {_next_step(settings, checkpoint)}")


def _check_output(source, output):
    """Refuse an output folder whose replacement would delete something that is not a checkpoint."""
    inside, outside = (os.path.realpath(path) for path in (source, output))
    if os.path.isdir(output) and (inside == outside or inside.startswith(outside + os.sep)):
        raise UserError(f"output: {output} is where the input lies; name another folder")
    huggingface.check_folder_replaceable(output, "output", "|".join(map(re.escape, _OUR_FILES)))


def _report(read, checkpoint, notices):
    bert = checkpoint.description.bert
    print(
        f"recognised: {FORMATS[read.file_format]} BERT, {bert.num_hidden_layers} layers, "
        f"{bert.hidden_size} wide, {bert.num_attention_heads} heads, {bert.hidden_act}, LayerNorm epsilon "
        f"{bert.layer_norm_eps}, classifier_relu {str(bert.classifier_relu).lower()}"
    )
    size = sum(value.size for value in checkpoint.weights.values())
    print(f"weights: {len(checkpoint.weights)}, parameters: {size:,}")
    print(f"dropped: {', '.join(read.dropped) if read.dropped else 'nothing'}")
    print(f"head: {_head(checkpoint.description)}")
    for notice in notices:
        print(f"note: {notice}")


def _head(description):
    kind, outputs = description.kind, description.outputs
    if kind is None:
        return "none (encoder only)"
    if outputs == 1:
        return kind.describe(outputs)
    return f"{outputs} labels: {', '.join(description.labels) or 'without names (--task_name gives them)'}"


def _next_step(settings, checkpoint):
    description = checkpoint.description
    if settings.to == "huggingface":
        own = description.kind.architecture if description.kind else "Bert"
        architecture = own.replace("Bert", "AutoModel")
        return f'transformers.{architecture}.from_pretrained("{settings.output}")'
    if settings.to == "tensorflow":
        asks = description.kind and description.kind.architecture == QUESTIONS
        script = "run_squad.py" if asks else "run_classifier.py"
        return f"init_checkpoint={os.path.join(settings.output, 'bert_model.ckpt')} in Google's {script}"
    output, task = shlex.quote(settings.output), description.task_name or "TASK"
    data = f"--task_name {task} --train_data_dir DATA_DIR --eval_data_dir DATA_DIR"
    if not description.kind:
        return f"fine-tune it on data in DATA_DIR: python run_finetune.py --load_ckpt_path {output} {data}"
    distils = (
        f"python run_task_distill.py --load_teacher_ckpt_path {output} {data} {description.student_flags}"
    )
    asked = "--question ... --context ..." if description.kind.needs_texts else "--text ..."
    asks = f"python predict.py --model {output} {asked}; or " if checkpoint.vocabulary is not None else ""
    return f"{asks}distil it on data in DATA_DIR: {distils}"


if __name__ == "__main__":
    main()
