"""What the commands that distil a task's teacher fit, stage by stage; and what they refuse before hours of
another stage.
"""

from src.distill.distiller import Distiller, LossTerms
from src.distill.quantized import check_calibrated
from src.distill.student import Student
from src.distill.teacher import LiveTeacher
from src.model import Model
from src.settings.training import TaskDistillConfig, TernaryConfig
from src.train.session import Session


def check_phases(settings: TaskDistillConfig, session: Session) -> None:
    """Refuse what does not fit in either phase, before hours of the other one."""
    first = settings.phase1_cfg, settings.td_phase1_epoch_size if settings.runs_phase1 else 0
    for config, epochs in (first, (settings.phase2_cfg, settings.td_phase2_epoch_size)):
        if epochs:
            session.check_steps(session.train_batches(config), config, epochs)


def fit_phase1(
    settings: TaskDistillConfig,
    session: Session,
    teacher: Model,
    student: Student,
    terms: LossTerms,
    folder: str,
) -> None:
    """Fit attention scores and hidden states."""
    model, config, epochs = student.model, settings.phase1_cfg, settings.td_phase1_epoch_size
    loss = Distiller(model.network, terms, student.projection)
    batches = session.train_batches(config, session.packs(model))
    asked = session.teacher(teacher, loss, batches, epochs)
    session.fit(session.stage("phase1", model, loss, batches, config, epochs, teacher=asked), folder)


def fit_phase2(
    settings: TaskDistillConfig, session: Session, teacher: Model, student: Student, folder: str
) -> dict[str, float] | None:
    """Fit the predictions; returns the best evaluation."""
    config, model, kind = settings.phase2_cfg, student.model, session.data.kind
    terms = LossTerms(soft_loss=1.0, label_loss=float(config.label_loss_weight))
    rows = session.rows_with_logits(teacher, "phase2", folder) if config.cache_teacher else None
    loss = Distiller(model.network, terms, None, kind, float(config.temperature), config.cache_teacher)
    batches, asked = session.train_batches(config, session.packs(model), rows), LiveTeacher.of(teacher, loss)
    stage = session.stage(
        "phase2", model, loss, batches, config, settings.td_phase2_epoch_size, teacher=asked
    )
    return session.fit(stage, folder, session.evaluation_of(model, folder))


def check_quantized(settings: TernaryConfig, session: Session) -> None:
    """Refuse a stage that could not run, or ends before the activations' ranges are calibrated."""
    config = settings.train_cfg
    batches = session.train_batches(config)
    steps = session.check_steps(batches, config, settings.epoch_size)
    check_calibrated(settings.quantization_cfg, steps * batches.fewest)


def fit_quantized(
    settings: TernaryConfig,
    session: Session,
    student: Model,
    teacher: Model | None,
    terms: LossTerms,
    latent: str,
) -> dict[str, float] | None:
    """Fit a quantized student, which ends with the best weights, those in the folder `latent`; returns their
    scores.
    """
    config, temperature = settings.train_cfg, float(settings.temperature)
    loss = Distiller(student.network, terms, kind=session.data.kind, temperature=temperature)
    batches, epochs = session.train_batches(config, session.packs(student)), settings.epoch_size
    asked = session.teacher(teacher, loss, batches, epochs)
    stage = session.stage("quantized", student, loss, batches, config, epochs, teacher=asked)
    return session.fit(stage, latent, session.evaluation_of(student, latent))
