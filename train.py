"""Quantization-aware distillation: a fine-tuned BERT into one with 2-bit weights (TernaryBERT) or 8-bit ones
(Q8BERT).

    python train.py --config_path ternary_config.yaml --task_name SST-2 --teacher_model_dir MODEL_DIR
        --student_model_dir MODEL_DIR \\ --data_dir DATA_DIR --output_dir OUTPUT_DIR

MODEL_DIR and DATA_DIR are the model's and the records' own folders, or hold them under the task's lower-case
name. --do_train false quantizes the student as it is, without any training.
"""

import contextlib
import glob
import os
import shutil
from dataclasses import replace

from src import checkpoint as checkpoints
from src.checkpoint.packed import PACKED_FILE, load_packed, save_packed
from src.distill.distiller import Distiller, LossTerms
from src.errors import UserError, command
from src.files import check_apart
from src.modelarts import with_settings
from src.nn.heads import BertForSequence
from src.nn.loading import (
    bert_config,
    description,
    parameter_count,
    task_network,
    uncalibrated_ranges,
    without_dropout,
)
from src.runtime import compute_type, say
from src.settings.network import NetConfig, QuantConfig
from src.settings.parsing import required
from src.settings.training import TernaryConfig
from src.tasks import get_task, task_folder
from src.train.session import Session
from src.train.stage import Stage, count_steps
from src.train.teacher import check_teacher, load_teacher

TERNARY_DENSITY = {"1.6": 5, "2": 4}


def build_student(settings, session, task, kind):
    """(checkpoint it starts from, its quantized network)."""
    path = task_folder(settings.student_model_dir, task)
    checkpoint = checkpoints.load(path)
    config = bert_config(checkpoint)
    session.data.check_model(checkpoint, config, "student_model_dir", None)
    config = replace(
        config,
        hidden_dropout_prob=float(settings.hidden_dropout_prob),
        attention_probs_dropout_prob=float(settings.attention_probs_dropout_prob),
    )
    network = BertForSequence(config, session.data.num_labels, kind, settings.quant_cfg)
    known = dict(network.parameters_and_names())
    weights = {
        name: value
        for name, value in checkpoint.weights.items()
        if name in known or not name.endswith(checkpoints.QUANTIZER_STATE)
    }
    checkpoints.assign(
        network,
        weights,
        path,
        allow_missing=("classifier.",) if settings.do_train else (),
        allow_missing_endings=checkpoints.QUANTIZER_STATE,
        allow_unexpected=("fit_dense.",),
    )
    return checkpoint, network


def loss_terms(settings):
    """The loss terms that are switched on; do_train false quantizes the student as it is and needs none."""
    if not settings.do_train:
        return LossTerms()
    terms = LossTerms(
        attention_loss=float(settings.intermediate_distill),
        hidden_loss=float(settings.intermediate_distill),
        soft_loss=float(settings.pred_distill),
        label_loss=float(settings.is_lgt_fit),
    )
    if not terms.names():
        raise UserError(
            "pred_distill, intermediate_distill and is_lgt_fit are all false: there is nothing to learn from"
        )
    if not settings.teacher_model_dir and (settings.pred_distill or settings.intermediate_distill):
        raise UserError(
            "teacher_model_dir is needed: give --teacher_model_dir, or train on labels alone with "
            "--pred_distill false --intermediate_distill false --is_lgt_fit true"
        )
    return terms


def check_shapes(student, teacher, terms):
    """Refuse a teacher whose layers cannot be compared one by one with the student's."""
    if terms.attention_loss or terms.hidden_loss:
        for name in ("num_hidden_layers", "hidden_size", "num_attention_heads"):
            if getattr(student, name) != getattr(teacher, name):
                raise UserError(
                    f"teacher_model_dir: the teacher's {name} is {getattr(teacher, name)} and the "
                    f"student's {getattr(student, name)}; intermediate distillation compares equal "
                    "networks: use --intermediate_distill false, or start from a student of the "
                    "teacher's shape"
                )


def output_folders(settings, session, task):
    """(folder of the latent float32 weights, folder of the packed model); refused where either holds what
    must stay.

    Weights that nobody asked to keep go to a folder that is this program's own to remove.
    """
    latent, folder = (
        session.run.join("latent" if settings.keeps_latent else "unpacked", task.folder),
        session.run.join(task.folder),
    )
    inputs = {
        key: path and task_folder(path, task)
        for key, path in (
            ("teacher_model_dir", settings.teacher_model_dir),
            ("student_model_dir", settings.student_model_dir),
        )
    }
    for path in (latent, folder):
        check_apart(path, "output_dir", inputs)
    hiding = glob.glob(os.path.join(glob.escape(folder), "*.ckpt"))
    if settings.save_quantized_model and hiding:
        raise UserError(
            f"output_dir: {hiding[0]} would be read in place of the packed model beside it; name another "
            "folder"
        )
    return latent, folder


def evaluator(session, student):
    """() -> results of the student, or None while moving-average ranges are not calibrated: it would answer
    the same to every row.
    """
    evaluate = session.evaluator(student)
    return lambda: None if uncalibrated_ranges(student) else evaluate()


def fit_student(settings, session, parts, batches, text, latent):
    """Train `parts` (student, teacher or None, loss terms, the student's checkpoint, compute type); the best
    weights go to the folder `latent` and into the student. Returns the best evaluation, or None without
    any.
    """
    student, teacher, terms, checkpoint, kind = parts
    distiller = Distiller(
        student, terms, teacher, regression=session.data.regression, temperature=float(settings.temperature)
    )
    stage = Stage(
        "quantized",
        distiller,
        batches,
        settings.train_cfg,
        settings.epoch_size,
        session.run,
        text,
        checkpoint.vocabulary,
        kind,
        sink_steps=session.sink_steps(batches),
        group=session.group,
    )
    callbacks, watcher = session.callbacks(latent, evaluator(session, student) if settings.do_eval else None)
    seconds = stage.fit(callbacks, settings.log_step)
    say(f"{stage.total_steps} steps in {seconds:.0f} s")
    if session.group.first:
        checkpoints.assign(student, checkpoints.load(latent).weights, latent)
    return watcher.best if watcher else None


@command
@with_settings(TernaryConfig)
def main(settings):
    """Settings, data, teacher, student, stage, packed model."""
    required(settings, "task_name", "student_model_dir", "data_dir")
    task = get_task(settings.task_name)
    data_dir = task_folder(settings.data_dir, task)
    output_dir = settings.output_dir or (
        "output/ternary" if settings.do_train else "output/ternary-untrained"
    )
    settings = replace(
        settings,
        train_data_dir=data_dir,
        eval_data_dir=data_dir if settings.do_eval else "",
        output_dir=output_dir,
        eval_cfg=replace(
            settings.eval_cfg, batch_size=settings.eval_batch_size, eval_step=settings.eval_ckpt_step
        ),
        train_cfg=replace(settings.train_cfg, batch_size=settings.train_batch_size),
        quant_cfg=settings.quant_cfg if settings.do_quant else QuantConfig(),
    )
    terms = loss_terms(settings)
    if not (settings.save_fp_model or settings.save_quantized_model):
        raise UserError("save_fp_model and save_quantized_model are both false: the result would be lost")
    session = Session.open(settings, "ternary")
    settings = session.settings
    batches = None
    if settings.do_train:
        batches = session.train_batches(settings.train_cfg)
        steps = count_steps(batches, settings.train_cfg, settings.epoch_size, session.sink_steps(batches))
        seen = steps * settings.train_cfg.gradient_accumulation_steps
        if settings.quant_cfg.activation_quantizer == "ema" and settings.quant_cfg.ema_start_step >= seen:
            raise UserError(
                f"quant_cfg.ema_start_step is {settings.quant_cfg.ema_start_step}, but training ends "
                f"after {seen} batches, so that the activations' ranges would never be calibrated"
            )

    kind = compute_type(settings.compute_type, session.device)
    models, teacher = {}, None
    if settings.teacher_model_dir:
        source = ("teacher_model_dir", task_folder(settings.teacher_model_dir, task))
        _, teacher_config, teacher = load_teacher(
            session, *source, NetConfig(compute_type=settings.compute_type), "teacher"
        )
    checkpoint, student = build_student(settings, session, task, kind)
    if teacher:
        check_shapes(student.config, teacher_config, terms)
    if not settings.do_train and uncalibrated_ranges(student):
        raise UserError(
            "quant_cfg.activation_quantizer: do_train is false, but only training calibrates the "
            "moving-average ranges of ema; use --quant_cfg.activation_quantizer symmetric or dynamic, or "
            "train"
        )
    latent, folder = output_folders(settings, session, task)
    if teacher and (settings.do_train or settings.do_eval):
        models["teacher"] = check_teacher(session, *source, teacher)
    session.run.start(settings)
    text = description(
        student.config,
        session.data.task.name,
        session.data.labels,
        session.data.regression,
        session.data.num_labels,
        checkpoint.config.get("do_lower_case", True),
        settings.quant_cfg,
    )
    say(f"student: {parameter_count(student):,} parameters, started from {checkpoint.source}")
    if settings.do_train:
        best = fit_student(
            settings, session, (student, teacher, terms, checkpoint, kind), batches, text, latent
        )
    if not session.group.first:
        return
    if not settings.do_train:
        best = session.evaluator(student)() if settings.do_eval else None
        checkpoints.save(
            latent,
            {name: item.asnumpy() for name, item in student.parameters_and_names()},
            text,
            checkpoint.vocabulary,
        )
    if best:
        models["quantized student"] = {**best, "parameters": parameter_count(student)}
    if settings.save_quantized_model:
        size = save_packed(
            folder, student, text, checkpoint.vocabulary, TERNARY_DENSITY[settings.packed_bits]
        )
        say(
            f"packed model: {size:,} bytes in {os.path.join(folder, PACKED_FILE)}, "
            f"{4 * parameter_count(student) / size:.1f} times smaller than in float32"
        )
        if settings.do_eval:
            network = task_network(load_packed(folder), without_dropout(student.config), kind)
            models["packed model"] = {**session.evaluator(network)(), "parameters": parameter_count(student)}
    if not settings.keeps_latent:
        shutil.rmtree(latent)
        with contextlib.suppress(OSError):  # another task's weights may lie there
            os.rmdir(os.path.dirname(latent))
    lengths = ",".join(map(str, settings.bucket_boundaries))
    session.finish(
        models,
        f"done: evaluate it with: python eval.py --task_name {task.name} --model_dir "
        f"{folder if settings.save_quantized_model else latent} --data_dir {data_dir} --batch_size "
        f"{settings.eval_batch_size} "
        + (f"--bucket_boundaries {lengths}" if settings.enable_buckets else "--enable_buckets false"),
    )


if __name__ == "__main__":
    main()
