"""Task distillation (TD): a fine-tuned teacher into a small student, in two phases, with evaluation.

python run_task_distill.py --config_path td_config/td_config_sst2.yaml --load_teacher_ckpt_path
    TEACHER_DIR \\ --train_data_dir DATA_DIR/sst-2 --eval_data_dir DATA_DIR/sst-2
"""

from dataclasses import replace

from src import checkpoint as checkpoints
from src import metrics
from src.distill.distiller import Distiller, LossTerms
from src.distill.student import build_student
from src.distill.teacher_cache import teacher_logits
from src.errors import UserError, command
from src.files import check_apart
from src.modelarts import with_settings
from src.nn.loading import bert_config, description, parameter_count, task_network
from src.runtime import compute_type, say, set_seed
from src.settings.parsing import required
from src.settings.training import TaskDistillConfig
from src.train.session import Session
from src.train.stage import Stage, count_steps
from src.train.teacher import check_teacher, load_teacher


def check_student(settings, session, student, teacher_checkpoint):
    """Refuse a student that cannot read the data, or whose checkpoint belongs to another task or vocabulary
    than the teacher's.
    """
    limits = (
        student.network.config,
        "load_td1_ckpt_path" if settings.load_td1_ckpt_path else "load_gd_ckpt_path",
        settings.td_student_net_cfg.seq_length,
    )
    if student.checkpoint:
        theirs, ours = (
            student.checkpoint.config.get("vocab_sha256"),
            teacher_checkpoint.config.get("vocab_sha256"),
        )
        if theirs and ours and theirs != ours:
            raise UserError(
                f"{limits[1]}: the student {student.start} and the teacher "
                f"{settings.load_teacher_ckpt_path} were trained with different vocabularies"
            )
    if settings.load_td1_ckpt_path:
        session.data.check_model(student.checkpoint, *limits)
    elif student.checkpoint:  # after general distillation: its head, if it has one, is left out
        session.data.check_rows(student.checkpoint, *limits)
    else:
        session.data.check_bounds(limits[0], "td_student_net_cfg", limits[2])


def check_phases(settings, session):
    """Refuse settings of either phase that do not fit the data, before hours of the other one."""
    phases = []
    if settings.td_phase1_epoch_size and not settings.load_td1_ckpt_path:
        LossTerms.intermediate(settings.phase1_cfg, "phase1_cfg")
        phases.append((settings.phase1_cfg, settings.td_phase1_epoch_size))
    if settings.td_phase2_epoch_size:
        phases.append((settings.phase2_cfg, settings.td_phase2_epoch_size))
    for config, epochs in phases:
        batches = session.train_batches(config)
        count_steps(batches, config, epochs, session.sink_steps(batches))


def check_outputs(settings, session):
    """Refuse an output_dir in which a phase's student would replace a checkpoint that the run reads."""
    inputs = {
        key: getattr(settings, key)
        for key in ("load_teacher_ckpt_path", "load_gd_ckpt_path", "load_td1_ckpt_path")
    }
    if settings.td_phase1_epoch_size and not settings.load_td1_ckpt_path:
        check_apart(session.run.join("phase1"), "output_dir", inputs)
    if settings.td_phase2_epoch_size:
        check_apart(session.run.join(session.data.task.folder), "output_dir", inputs)


def run_phase1(settings, session, teacher, student, student_description, vocabulary, kind):
    """Fit attention scores and hidden states; returns nothing, the student's weights have moved."""
    terms = LossTerms.intermediate(settings.phase1_cfg, "phase1_cfg")
    batches = session.train_batches(settings.phase1_cfg)
    stage = Stage(
        "phase1",
        Distiller(student.network, terms, teacher, student.projection, session.data.regression),
        batches,
        settings.phase1_cfg,
        settings.td_phase1_epoch_size,
        session.run,
        student_description,
        vocabulary,
        kind,
        sink_steps=session.sink_steps(batches),
        group=session.group,
    )
    folder = session.run.join("phase1")
    callbacks, _ = session.callbacks(folder)
    seconds = stage.fit(callbacks, settings.log_step)
    say(f"phase 1: {stage.total_steps} steps in {seconds:.0f} s; student saved in {folder}")


def run_phase2(settings, session, teacher, student, student_description, vocabulary, kind):
    """Fit the predictions; returns (folder of the result, best evaluation or None)."""
    config = settings.phase2_cfg
    terms = LossTerms(soft_loss=1.0, label_loss=float(config.label_loss_weight))
    extra = {}
    if config.cache_teacher:
        extra["teacher_logits"] = teacher_logits(
            teacher,
            session.data.train,
            settings.eval_cfg.batch_size,
            settings.bucket_boundaries,
            settings.enable_buckets,
        )
    batches = session.train_batches(config, **extra)
    loss = Distiller(
        student.network,
        terms,
        teacher,
        regression=session.data.regression,
        temperature=float(config.temperature),
        cached_logits=config.cache_teacher,
    )
    stage = Stage(
        "phase2",
        loss,
        batches,
        config,
        settings.td_phase2_epoch_size,
        session.run,
        student_description,
        vocabulary,
        kind,
        sink_steps=session.sink_steps(batches),
        group=session.group,
    )
    folder = session.run.join(session.data.task.folder)
    callbacks, watcher = session.callbacks(
        folder, session.evaluator(student.network) if settings.do_eval else None
    )
    seconds = stage.fit(callbacks, settings.log_step)
    say(f"phase 2: {stage.total_steps} steps in {seconds:.0f} s; student saved in {folder}")
    return folder, watcher.best if watcher else None


def evaluate_only(settings):
    """--do_train false: evaluate the student of load_td1_ckpt_path."""
    required(settings, "load_td1_ckpt_path")
    path = settings.load_td1_ckpt_path
    checkpoint = checkpoints.load(path)
    session = Session.open(settings, "td", checkpoint.labels)
    settings = session.settings
    config = settings.td_student_net_cfg.check(bert_config(checkpoint), "td_student_net_cfg", path)
    session.data.check_model(checkpoint, config, "load_td1_ckpt_path", settings.td_student_net_cfg.seq_length)
    network = task_network(
        checkpoint, config, compute_type(settings.td_student_net_cfg.compute_type, session.device)
    )
    session.run.start(settings)
    results = {**session.evaluator(network)(), "parameters": parameter_count(network)}
    metric = session.metric_names[0]
    say(f"============== {metrics.short_name(metric)} is {results[metric]}")
    session.finish(
        {"student": results}, f"The best {metrics.printed_name(metric)}: {100 * results[metric]:.2f}"
    )


@command
@with_settings(TaskDistillConfig)
def main(settings):
    """Settings, data, teacher, student, phase 1, phase 2, result."""
    if not (settings.do_train or settings.do_eval):
        raise UserError("do_train and do_eval are both false: there is nothing to do")
    if settings.do_train:
        required(settings, "load_teacher_ckpt_path")
        if not settings.td_phase2_epoch_size and (
            settings.load_td1_ckpt_path or not settings.td_phase1_epoch_size
        ):
            raise UserError(
                "td_phase2_epoch_size is 0 and phase 1 is skipped (td_phase1_epoch_size 0 or "
                "load_td1_ckpt_path): there is nothing to train"
            )
    if not settings.do_train:
        evaluate_only(settings)
        return
    session = Session.open(settings, "td")
    settings = session.settings
    check_phases(settings, session)
    check_outputs(settings, session)
    source = ("load_teacher_ckpt_path", settings.load_teacher_ckpt_path)
    teacher_checkpoint, teacher_config, teacher = load_teacher(
        session, *source, settings.td_teacher_net_cfg, "td_teacher_net_cfg"
    )
    models = {"teacher": check_teacher(session, *source, teacher)}
    kind = compute_type(settings.td_student_net_cfg.compute_type, session.device)
    set_seed(settings.seed)  # the student's random weights do not depend on what was built before
    student = build_student(settings, teacher_checkpoint, teacher_config, session.data.num_labels, kind)
    say(
        f"student: {parameter_count(student.network):,} parameters, "
        f"{student.network.config.num_hidden_layers} layers, started from {student.start}"
    )
    check_student(settings, session, student, teacher_checkpoint)
    session.run.start(
        replace(settings, td_student_net_cfg=settings.td_student_net_cfg.filled(student.network.config))
    )
    student_description = description(
        student.network.config,
        session.data.task.name,
        session.data.labels,
        session.data.regression,
        session.data.num_labels,
        teacher_checkpoint.config.get("do_lower_case", True),
    )
    parts = (settings, session, teacher, student, student_description, teacher_checkpoint.vocabulary, kind)

    folder = session.run.join("phase1")
    if settings.td_phase1_epoch_size and not settings.load_td1_ckpt_path:
        run_phase1(*parts)
        if settings.do_eval:
            models["student after phase 1"] = {
                **session.evaluator(student.network)(),
                "parameters": parameter_count(student.network),
            }
    if settings.td_phase2_epoch_size:
        folder, best = run_phase2(*parts)
        if best:
            models["distilled student"] = {**best, "parameters": parameter_count(student.network)}
    session.finish(
        models,
        f"done: the student is in {folder}; evaluate it with: python eval.py --task_name "
        f"{session.data.task.name} --model_dir {folder} --data_dir "
        f"{settings.eval_data_dir or settings.train_data_dir}",
    )


if __name__ == "__main__":
    main()
