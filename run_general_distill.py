"""General distillation (GD): a pre-trained BERT into a small one, on a text corpus without labels (TinyBERT,
arXiv 1909.10351).

    python run_general_distill.py --config_path gd_config.yaml --load_teacher_ckpt_path TEACHER_DIR \\
        --data_dir DATA_DIR/gd

The student and its projection are the start of task distillation:
run_task_distill.py --load_gd_ckpt_path STUDENT_DIR.
"""

from collections.abc import Iterable
from dataclasses import replace

from src.checkpoint.folder import digest
from src.data.info import DatasetInfo
from src.data.sharded import ShardedSteps, open_corpus
from src.data.task_data import facts_of
from src.description import Description
from src.distill.distiller import Distiller, LossTerms
from src.distill.student import build_student, warnings_of
from src.distill.teacher import LiveTeacher, load_teacher
from src.errors import command
from src.files import check_apart
from src.modelarts import with_settings
from src.runtime import set_seed
from src.settings.parsing import part, required, to_yaml
from src.settings.shared import BatchesConfig
from src.settings.training import GeneralDistillConfig, TrainingConfig
from src.terminal import say
from src.train.next_steps import after_general_distilling
from src.train.resume import corpus_digest
from src.train.session import TrainingRun


def open_data(
    settings: GeneralDistillConfig,
    session: TrainingRun,
    readers: Iterable[tuple[str, Description, int | None]],
) -> ShardedSteps:
    """The corpus as batches; `readers` are the settings that name who reads them, and its row length."""
    info = DatasetInfo.load(settings.data_dir)

    def check(examples):
        facts = facts_of("train", examples, info)
        for key, description, seq_length in readers:
            description.check_fits(facts, key, seq_length)

    packs = session.rows.packs(session.device)
    return open_corpus(settings.data_dir, session.rows, settings.gd_cfg, packs, session.group, check)


@command
@with_settings(GeneralDistillConfig)
def main(settings: GeneralDistillConfig) -> None:
    """Settings, teacher, student, corpus, fit, result."""
    required(settings, "load_teacher_ckpt_path", "data_dir")
    terms = LossTerms.intermediate(settings.gd_cfg, "gd_cfg")
    batches_config = part(settings, BatchesConfig)
    config, elsewhere = part(settings, TrainingConfig), settings.save_ckpt_path
    where = {"elsewhere": {"save_ckpt_path": elsewhere}} if elsewhere else {"networks": ("gd",)}
    session = TrainingRun.begin("gd", config, batches_config, to_yaml(settings), **where)
    check_apart(session.run.path, "output_dir", {"data_dir": settings.data_dir})
    path, net = settings.load_teacher_ckpt_path, settings.gd_teacher_net_cfg
    known, compute_type = settings.teacher_known, session.compute_type(net.compute_type)
    loaded, teacher = load_teacher(path, known, compute_type, with_head=False)
    set_seed(settings.seed)
    student_net, plan = settings.gd_student_net_cfg, settings.student_plan
    student = build_student(plan, terms, loaded, None, session.compute_type(student_net.compute_type))
    model = student.model
    readers = (
        ("load_teacher_ckpt_path", teacher.description, net.seq_length),
        ("load_gd_ckpt_path", model.description, student_net.seq_length),
    )
    batches = open_data(settings, session, readers)
    say(
        f"data: general distillation on {session.device}: {sum(batches.rows):,} rows in {len(batches.parts)} "
        f"part(s), {session.group.size} process(es) of {settings.gd_cfg.batch_size} rows a step"
    )
    said = [f"teacher: {teacher.summary}, {path}", student.summary, *warnings_of(student, plan, teacher)]
    say("\n".join(said))

    folder = elsewhere or session.run.join("gd")
    settings = replace(settings, gd_student_net_cfg=student_net.filled(model.config))
    session.data_digest = {"the corpus": corpus_digest(sum(batches.parts, []))}
    session.teacher_digest = {"the teacher's weights": digest(loaded.weights)[:16]}
    if not session.start([folder], terms.compares_layers, to_yaml(settings)):
        return
    loss = Distiller(model.network, terms, student.projection)
    asked = LiveTeacher.of(teacher, loss)
    steps = settings.epoch_size, max(0, settings.train_steps)
    stage = session.stage("gd", model, loss, batches, settings.gd_cfg, *steps, teacher=asked)
    session.fit(stage, folder)
    session.close(
        {
            "losses": session.finished.last_step(stage),
            "parameters": model.parameters,
            "made_from": session.made_from(),
        },
        after_general_distilling(folder, replace(loaded.description, source=path), known),
    )


if __name__ == "__main__":
    main()
