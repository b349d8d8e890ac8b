"""Task distillation (TD): a fine-tuned teacher into a small student, in two phases, with evaluation.

    python run_task_distill.py --config_path td_config/td_config_sst2.yaml \\
        --load_teacher_ckpt_path TEACHER_DIR --train_data_dir DATA_DIR/sst-2 --eval_data_dir DATA_DIR/sst-2
"""

from dataclasses import replace

from src import metrics
from src.checkpoint import folder as checkpoints
from src.distill.distiller import Distiller, LossTerms
from src.distill.student import build_student
from src.distill.teacher import LiveTeacher, load_teacher
from src.errors import command
from src.files import check_apart
from src.model import Model
from src.modelarts import with_settings
from src.runtime import say, set_seed
from src.settings.parsing import part, required, to_yaml
from src.settings.training import FoldersConfig, RunConfig, TaskDistillConfig
from src.train.session import Session


def open_session(settings, name, labels=()):
    parts = part(settings, RunConfig), part(settings, FoldersConfig)
    return Session.open(name, *parts, to_yaml(settings), labels)


def check_phases(settings, session, folders):
    """Refuse what does not fit in either phase, before hours of the other one."""
    phases = (
        (settings.runs_phase1, settings.phase1_cfg, settings.td_phase1_epoch_size),
        (settings.td_phase2_epoch_size > 0, settings.phase2_cfg, settings.td_phase2_epoch_size),
    )
    keys = ("load_teacher_ckpt_path", "load_gd_ckpt_path", "load_td1_ckpt_path")
    for (runs, config, epochs), folder in zip(phases, folders):
        if runs:
            check_apart(folder, "output_dir", {key: getattr(settings, key) for key in keys})
            session.check_steps(session.train_batches(config), config, epochs)


def fit_phase1(settings, session, teacher, student, terms, folder):
    """Fit attention scores and hidden states."""
    model, config, epochs = student.model, settings.phase1_cfg, settings.td_phase1_epoch_size
    loss = Distiller(model.network, terms, student.projection)
    batches = session.train_batches(config, session.packs(model))
    asked = session.teacher(teacher, loss, epochs)
    session.fit(session.stage("phase1", model, loss, batches, config, epochs, teacher=asked), folder)


def fit_phase2(settings, session, teacher, student, folder):
    """Fit the predictions; returns the best evaluation."""
    config, model, kind = settings.phase2_cfg, student.model, session.data.kind
    terms = LossTerms(soft_loss=1.0, label_loss=float(config.label_loss_weight))
    rows = session.rows_with_logits(teacher) if config.cache_teacher else None
    loss = Distiller(model.network, terms, None, kind, float(config.temperature), config.cache_teacher)
    batches, asked = session.train_batches(config, session.packs(model), rows), LiveTeacher.of(teacher, loss)
    plan = batches, config, settings.td_phase2_epoch_size
    stage = session.stage("phase2", model, loss, *plan, teacher=asked)
    return session.fit(stage, folder, session.watch(model, folder))


def evaluate_only(settings):
    """--do_train false: evaluate the student of load_td1_ckpt_path."""
    required(settings, "load_td1_ckpt_path")
    checkpoint, net = checkpoints.load(settings.load_td1_ckpt_path), settings.td_student_net_cfg
    session = open_session(settings, "td-eval", checkpoint.description.labels)
    bert = net.check(checkpoint.description.bert, "td_student_net_cfg", checkpoint.source)
    own = replace(checkpoint.description, bert=bert)
    session.data.check_model(own, "load_td1_ckpt_path", net.seq_length)
    model = Model.from_checkpoint(checkpoint, session.compute_type(net.compute_type), own)
    session.start()
    results, metric = session.evaluate(model), session.metric_names[0]
    say(f"============== {metrics.short_name(metric)} is {results[metric]}")
    session.finish({"student": results}, metrics.best_line(results, metric))


@command
@with_settings(TaskDistillConfig)
def main(settings):
    """Settings, data, teacher, student, phase 1, phase 2, result."""
    if not settings.do_train:
        return evaluate_only(settings)
    path, net = settings.load_teacher_ckpt_path, settings.td_teacher_net_cfg
    required(settings, "load_teacher_ckpt_path")
    terms = LossTerms.intermediate(settings.phase1_cfg, "phase1_cfg") if settings.runs_phase1 else None
    session = open_session(settings, "td")
    phase1, phase2 = session.run.join("phase1"), session.run.join(session.data.task.folder)
    check_phases(settings, session, (phase1, phase2))

    loaded, teacher = load_teacher(path, net, "td_teacher_net_cfg", session.compute_type(net.compute_type))
    session.data.check_model(teacher.description, "load_teacher_ckpt_path", net.seq_length)
    gain = settings.min_teacher_gain
    models = {"teacher": session.check_teacher(teacher, "load_teacher_ckpt_path", path, gain)}

    set_seed(settings.seed)  # the student's random weights do not depend on what was built before
    net, folder = settings.td_student_net_cfg, phase1
    compute_type, plan = session.compute_type(net.compute_type), settings.student_plan
    student = build_student(plan, loaded, session.data, compute_type)
    config = student.model.config
    session.start(resolved=to_yaml(replace(settings, td_student_net_cfg=net.filled(config))))
    say(student.summary)

    if settings.runs_phase1:
        fit_phase1(settings, session, teacher, student, terms, phase1)
        models["student after phase 1"] = session.evaluate(student.model) if settings.do_eval else None
    if settings.td_phase2_epoch_size:
        folder = phase2
        models["distilled student"] = fit_phase2(settings, session, teacher, student, phase2)
    session.finish(
        models,
        f"done: the student is in {folder}; evaluate it with: python eval.py --task_name "
        f"{session.data.task.name} --model_dir {folder} --data_dir "
        f"{settings.eval_data_dir or settings.train_data_dir}",
    )


if __name__ == "__main__":
    main()
