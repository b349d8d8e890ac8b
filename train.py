"""Quantization-aware distillation: a fine-tuned BERT into one with 2-bit weights (TernaryBERT) or 8-bit ones (Q8BERT).

    python train.py --config_path ternary_config.yaml --task_name SST-2 --teacher_model_dir MODEL_DIR \\
        --student_model_dir MODEL_DIR --data_dir DATA_DIR --output_dir OUTPUT_DIR

MODEL_DIR and DATA_DIR are the model's and the records' own folders, or hold them under the task's lower-case name.
--do_train false quantizes the student as it is, without any training.
"""

import contextlib
import glob
import os
import shutil

from src.checkpoint.packed import PACKED_FILE, save_packed
from src.distill.distiller import Distiller
from src.distill.quantized import check_calibrated, check_comparable, loss_terms, quantized_student
from src.distill.teacher import load_teacher
from src.errors import UserError, command
from src.files import check_apart
from src.model import Model
from src.modelarts import with_settings
from src.runtime import say
from src.settings.network import NetConfig
from src.settings.parsing import part, required, to_yaml
from src.settings.stage import EvalConfig
from src.settings.training import FoldersConfig, RunConfig, TernaryConfig
from src.tasks import get_task, task_folder
from src.train.session import Session

TERNARY_DENSITY = {"1.6": 5, "2": 4}


def output_folders(settings, run, task, inputs):
    """(folder of the latent float32 weights, folder of the packed model); refused where either holds what must stay.

    Weights that nobody asked to keep go to a folder that is this program's own to remove.
    """
    latent = run.join("latent" if settings.keeps_latent else "unpacked", task.folder)
    folder = run.join(task.folder)
    for path in (latent, folder):
        check_apart(path, "output_dir", inputs)
    hiding = glob.glob(os.path.join(glob.escape(folder), "*.ckpt"))
    if settings.save_quantized_model and hiding:
        raise UserError(
            f"output_dir: {hiding[0]} would be read in place of the packed model beside it; name another folder"
        )
    return latent, folder


def fit_student(settings, session, student, teacher, terms, batches, latent):
    """Train; the best weights are in the folder `latent` and the student then. Returns the best evaluation."""
    temperature, config = float(settings.temperature), settings.stage_cfg
    network = teacher and teacher.network
    loss = Distiller(student.network, terms, network, kind=session.data.kind, temperature=temperature)
    stage = session.stage("quantized", student, loss, batches, config, settings.epoch_size)
    return session.fit(stage, latent, session.watch(student, latent))


def pack(settings, student, folder):
    """Write the packed model; returns it, loaded again."""
    size = save_packed(
        folder,
        student.network,
        student.description,
        student.vocabulary,
        TERNARY_DENSITY[settings.packed_bits],
    )
    say(
        f"packed model: {size:,} bytes in {os.path.join(folder, PACKED_FILE)}, "
        f"{4 * student.parameters / size:.1f} times smaller than in float32"
    )
    return Model.load(folder, student.network.compute_type)


@command
@with_settings(TernaryConfig)
def main(settings):
    """Settings, data, teacher, student, fit, packed model."""
    required(settings, "task_name", "student_model_dir", "data_dir")
    teacher_dir, task = settings.teacher_model_dir, get_task(settings.task_name)
    terms = loss_terms(settings.intermediate_distill, settings.pred_distill, settings.is_lgt_fit)
    data_dir, student_dir = (
        task_folder(path, task) for path in (settings.data_dir, settings.student_model_dir)
    )
    evaluation = EvalConfig(settings.eval_batch_size, settings.eval_ckpt_step)
    folders = FoldersConfig(data_dir, data_dir, evaluation)
    session = Session.open("ternary", part(settings, RunConfig), folders, to_yaml(settings))
    batches, models, teacher = None, {}, None
    if settings.do_train:
        batches = session.train_batches(settings.stage_cfg)
        steps = session.plan(batches, settings.stage_cfg, settings.epoch_size).steps(batches)
        accumulation = settings.stage_cfg.gradient_accumulation_steps
        check_calibrated(settings.quantization_cfg, steps * accumulation)

    compute_type = session.compute_type(settings.compute_type)
    if teacher_dir:
        teacher_dir = task_folder(teacher_dir, task)
        _, teacher = load_teacher(teacher_dir, NetConfig(), "teacher", compute_type)
        session.data.check_model(teacher.description, "teacher_model_dir")
    dropout = {
        key: float(getattr(settings, key)) for key in ("hidden_dropout_prob", "attention_probs_dropout_prob")
    }
    student = quantized_student(
        student_dir,
        "student_model_dir",
        session.data,
        settings.quantization_cfg,
        dropout,
        compute_type,
        settings.do_train,
    )
    inputs = {"teacher_model_dir": teacher_dir, "student_model_dir": student_dir}
    latent, folder = output_folders(settings, session.run, task, inputs)
    if teacher:
        check_comparable(student.config, teacher.config, terms)
    if teacher and (settings.do_train or settings.do_eval):
        gain = settings.min_teacher_gain
        models["teacher"] = session.check_teacher(teacher, "teacher_model_dir", teacher_dir, gain)
    session.start()
    say(f"student: {student.parameters:,} parameters, started from {student_dir}")
    if settings.do_train:
        results = fit_student(settings, session, student, teacher, terms, batches, latent)
    if not session.group.first:
        return
    if not settings.do_train:
        results = session.evaluate(student) if settings.do_eval else None
        student.save(latent)
    models["quantized student"] = results
    if settings.save_quantized_model:
        packed = pack(settings, student, folder)
        models["packed model"] = {**session.evaluate(packed)} if settings.do_eval else None
    if not settings.keeps_latent:
        shutil.rmtree(latent)
        with contextlib.suppress(OSError):  # another task's weights may lie there
            os.rmdir(os.path.dirname(latent))
    lengths = ",".join(map(str, settings.bucket_boundaries))
    padding = f"--bucket_boundaries {lengths}" if settings.enable_buckets else "--enable_buckets false"
    session.finish(
        models,
        f"done: evaluate it with: python eval.py --task_name {task.name} --model_dir "
        f"{folder if settings.save_quantized_model else latent} --data_dir {data_dir} --batch_size "
        f"{settings.eval_batch_size} {padding}",
    )


if __name__ == "__main__":
    main()
