"""Task distillation (TD): a fine-tuned teacher into a small student, in two phases, with evaluation.

    python run_task_distill.py --config_path td_config/td_config_sst2.yaml \\
        --load_teacher_ckpt_path TEACHER_DIR --train_data_dir DATA_DIR/sst-2 --eval_data_dir DATA_DIR/sst-2
"""

from dataclasses import replace
from itertools import compress

from src import metrics
from src.distill.distiller import LossTerms
from src.distill.student import build_student, warnings_of
from src.distill.teacher import load_teacher
from src.errors import command
from src.model import Model, read_as_run
from src.modelarts import with_settings
from src.raw_data import as_records
from src.runtime import set_seed
from src.settings.network import Known
from src.settings.parsing import part, required, to_yaml
from src.settings.training import DistillingConfig, FoldersConfig, TaskDistillConfig
from src.tasks import get_task
from src.terminal import say
from src.train.distilling import check_phases, fit_phase1, fit_phase2
from src.train.next_steps import after_distilling, reading
from src.train.session import Session


def open_session(
    settings: TaskDistillConfig, name: str, model_key: str, known: Known, labels: tuple[str, ...] = ()
) -> tuple[TaskDistillConfig, Session]:
    keys, folders = ("train_data_dir", "eval_data_dir"), ("phase1", get_task(settings.task_name).folder)
    runs = settings.runs_phase1, settings.td_phase2_epoch_size
    networks = tuple(compress(folders, runs)) if settings.do_train else ()
    settings = as_records(settings, keys, model_key, known, name, networks)
    parts = part(settings, DistillingConfig), part(settings, FoldersConfig)
    return settings, Session.open(name, *parts, to_yaml(settings), labels, networks)


def evaluate_only(settings: TaskDistillConfig) -> None:
    """--do_train false: evaluate the student of load_td1_ckpt_path."""
    required(settings, "task_name", "load_td1_ckpt_path")
    known, key = settings.student_plan.known(get_task(settings.task_name).kind), "load_td1_ckpt_path"
    checkpoint, bert = read_as_run(settings.load_td1_ckpt_path, known)
    _, session = open_session(settings, "td-eval", key, known, checkpoint.description.labels)
    own = replace(checkpoint.description, bert=bert)
    session.data.check_model(own, key, known.net.seq_length)
    compute_type = session.compute_type(settings.td_student_net_cfg.compute_type)
    model = Model.from_checkpoint(checkpoint, compute_type, own)
    if not session.start([settings.load_td1_ckpt_path]):
        return
    results, metric = session.evaluate(model), session.metric_names[0]
    say(f"============== {metrics.short_name(metric)} is {results[metric]}")
    session.finish({"student": results}, metrics.best_line(results, metric))


@command
@with_settings(TaskDistillConfig)
def main(settings: TaskDistillConfig) -> None:
    """Settings, data, teacher, student, phase 1, phase 2, result."""
    if not settings.do_train:
        return evaluate_only(settings)
    path, key = settings.load_teacher_ckpt_path, "load_teacher_ckpt_path"
    required(settings, "task_name", key)
    known = settings.teacher_known(get_task(settings.task_name).kind)
    terms = LossTerms.intermediate(settings.phase1_cfg, "phase1_cfg") if settings.runs_phase1 else LossTerms()
    settings, session = open_session(settings, "td", key, known)
    phase1, phase2 = map(session.run.join, ("phase1", session.data.task.folder))
    check_phases(settings, session)

    known, net = replace(known, kind=session.data.kind), settings.td_teacher_net_cfg
    loaded, teacher = load_teacher(path, known, session.compute_type(net.compute_type))
    session.data.check_model(teacher.description, key, net.seq_length)
    models: dict[str, dict[str, float] | None] = {}
    models["teacher"] = session.check_teacher(teacher, key, path, settings.min_teacher_gain)
    set_seed(settings.seed)  # the student's random weights do not depend on what was built before
    net, plan = settings.td_student_net_cfg, settings.student_plan
    folders = [phase2, phase1] if settings.td_phase2_epoch_size else [phase1]
    student = build_student(plan, terms, loaded, session.data, session.compute_type(net.compute_type))
    filled = replace(settings, td_student_net_cfg=net.filled(student.model.config))
    if not session.start(folders, terms.compares_layers, to_yaml(filled)):
        return
    say("\n".join([student.summary, *warnings_of(student, plan, teacher)]))
    if settings.runs_phase1:
        fit_phase1(settings, session, teacher, student, terms, phase1)
    if settings.td_phase2_epoch_size:
        models["distilled student"] = fit_phase2(settings, session, teacher, student, phase2)
    elif settings.do_eval:
        models["student after phase 1"] = session.evaluate(student.model)
    told, asked = student.model.description, replace(loaded.description, source=path)
    where = settings.train_data_dir, settings.eval_data_dir
    last = after_distilling(
        session.data.task.name, folders[0], told, asked, known, *where, **reading(settings)
    )
    session.finish(models, last)


if __name__ == "__main__":
    main()
