"""Quantization-aware distillation: a fine-tuned BERT into one with 2-bit weights (TernaryBERT) or 8-bit ones
(Q8BERT).

    python train.py --config_path ternary_config.yaml --task_name SST-2 --teacher_model_dir MODEL_DIR \\
        --student_model_dir MODEL_DIR --data_dir DATA_DIR --output_dir OUTPUT_DIR

MODEL_DIR and DATA_DIR are the model's and the data's own folders (records, or raw files, which are prepared
first), or hold them under the task's lower-case name. --do_train false quantizes the student as it is.
"""

from collections.abc import Sequence
from dataclasses import replace

from src.distill.distiller import check_comparable
from src.distill.quantized import loss_terms, quantized_student
from src.distill.teacher import task_teacher
from src.errors import command
from src.modelarts import with_settings
from src.predictor import Predictor
from src.raw_data import as_records
from src.settings.parsing import part, required, to_yaml
from src.settings.shared import DeviceConfig, PackingConfig
from src.settings.training import DistillingConfig, QuantizedStudentConfig, TernaryConfig
from src.tasks import Task, get_task, task_folder
from src.terminal import say
from src.train.distilling import check_quantized, fit_quantized
from src.train.next_steps import after_quantizing, reading
from src.train.packed_result import PackedResult, same_batches
from src.train.session import Session


def answer(settings: TernaryConfig, task: Task) -> None:
    """Write a trained model's answers to the test sets, a line a row: what nlp_architect calls run."""
    required(settings, "data_dir", "output_dir")
    path, folder = (task_folder(path, task) for path in (settings.model_path, settings.data_dir))
    batches = settings.eval_batch_size, part(settings, PackingConfig)
    predictor = Predictor.load(path, settings.known(task.kind), part(settings, DeviceConfig), *batches)
    reading = settings.split, settings.max_seq_length, settings.num_workers, settings.dataset_type
    for _, line in predictor.answer_test_sets(task, folder, *reading, settings.output_dir, layout="lines"):
        say(line)


def found(settings: TernaryConfig, task: Task, networks: Sequence[str]) -> TernaryConfig:
    """The settings with the task's own folders, and records in the place of raw files."""
    paths = settings.teacher_model_dir, settings.student_model_dir, settings.data_dir
    teacher, student, data = (task_folder(path, task) if path else "" for path in paths)
    settings = replace(settings, teacher_model_dir=teacher, student_model_dir=student, data_dir=data)
    known = settings.known(task.kind)
    return as_records(settings, ("data_dir",), "student_model_dir", known, settings.run_name, networks)


@command
@with_settings(TernaryConfig)
def main(settings: TernaryConfig) -> None:
    """Settings, data, teacher, student, fit, packed model."""
    required(settings, "task_name")
    task = get_task(settings.task_name)
    if settings.model_path:
        return answer(settings, task)
    required(settings, "student_model_dir", "data_dir")
    quantized = part(settings, QuantizedStudentConfig)
    terms = loss_terms(settings, bool(settings.teacher_model_dir))
    kept = settings.keeps_latent, settings.save_quantized_model
    networks = PackedResult.folders(task.folder, *kept)
    settings = found(settings, task, networks)
    teacher_dir, student_dir = settings.teacher_model_dir, settings.student_model_dir
    parts = part(settings, DistillingConfig), settings.folders, to_yaml(settings)
    session = Session.open(settings.run_name, *parts, networks=networks)
    if settings.do_train:
        check_quantized(settings, session)
    compute_type = session.compute_type(settings.compute_type)
    models: dict[str, dict[str, float] | None] = {}
    known = settings.teacher_known(session.data.kind)
    teacher = task_teacher(teacher_dir, "teacher_model_dir", session.data, known, compute_type)
    student = quantized_student(student_dir, "student_model_dir", session.data, quantized, compute_type)
    result = PackedResult.of_run(session.run, task.folder, *kept)
    if teacher:
        pair = student.config, teacher.config
        check_comparable(terms, *pair, "student_model_dir", "intermediate_distill", projected=False)
    if teacher and (settings.do_train or settings.do_eval):
        source = "teacher_model_dir", teacher_dir
        models["teacher"] = session.check_teacher(teacher, *source, settings.min_teacher_gain)

    folders = [result.packed, result.latent] if settings.save_quantized_model else [result.latent]
    if not session.start(folders, terms.compares_layers, if_finished=result.clean_up):
        return
    say(f"student: {student.summary}, started from {student_dir}")
    if settings.do_train:
        scores = fit_quantized(settings, session, student, teacher, terms, result.latent)
    if not session.group.first:
        return
    if not settings.do_train:
        student.save(result.latent)
        scores = session.evaluate(student) if settings.do_eval else None
    models["quantized student"] = scores
    if settings.save_quantized_model:
        packed = result.pack(student, settings.packed_bits)
        models["packed model"] = session.evaluate(packed) if settings.do_eval else None
    batches = same_batches(session, student)
    last = after_quantizing(task.name, folders[0], settings.data_dir, batches, **reading(settings))
    session.finish(models, last)
    result.clean_up()  # only now: until the results are there a run can be resumed


if __name__ == "__main__":
    main()
