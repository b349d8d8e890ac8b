"""General distillation (GD): a pre-trained BERT into a small one, on a text corpus without labels (TinyBERT,
arXiv 1909.10351).

    python run_general_distill.py --config_path gd_config.yaml --load_teacher_ckpt_path TEACHER_DIR --data_dir
    DATA_DIR/gd

The student and its projection are the start of task distillation: run_task_distill.py --load_gd_ckpt_path
STUDENT_DIR.
"""

import os
from dataclasses import asdict, replace

from src import checkpoint as checkpoints
from src.data.records import DatasetInfo
from src.data.sharded import open_corpus
from src.data.task_data import check_bounds, check_vocabulary
from src.distill.distiller import Distiller, LossTerms
from src.distill.student import build_general_student
from src.errors import UserError, command
from src.files import check_apart, make_folder, read_json, sample_checksum
from src.modelarts import with_settings
from src.nn.loading import encoder_description, encoder_network, parameter_count, without_dropout
from src.runtime import compute_type, same_everywhere, say, set_seed
from src.settings.parsing import required
from src.settings.training import GeneralDistillConfig
from src.train.callbacks import LastCheckpoint, TrainingState
from src.train.session import TrainingRun
from src.train.stage import Stage
from src.train.teacher import teacher_config

STATE_FILE = "state.safetensors"
NOTHING, STATE, FINISHED = 0, 1, 2
RESUMED_WITH = (
    "bucket_boundaries",
    "enable_buckets",
    "do_shuffle",
    "student_init",
    "gd_cfg",
    "gd_teacher_net_cfg",
    "gd_student_net_cfg",
)
"""Settings that must be the same when a run is resumed."""


def open_teacher(settings, device):
    """(Checkpoint, its own BertConfig, frozen BertEncoder)."""
    checkpoint = checkpoints.load(settings.load_teacher_ckpt_path)
    own, used = teacher_config(checkpoint, settings.gd_teacher_net_cfg, "gd_teacher_net_cfg")
    return (
        checkpoint,
        own,
        encoder_network(
            checkpoint.weights,
            checkpoint.source,
            without_dropout(used),
            compute_type(settings.gd_teacher_net_cfg.compute_type, device),
        ),
    )


def output_folder(settings, run):
    """Where the student goes; made before hours of training, and not where the teacher, the student's start
    or the corpus lies.
    """
    folder = settings.save_ckpt_path or run.join("gd")
    inputs = {
        key: getattr(settings, key) for key in ("load_teacher_ckpt_path", "load_gd_ckpt_path", "data_dir")
    }
    check_apart(folder, "save_ckpt_path", inputs)
    check_apart(run.path, "output_dir", {"data_dir": settings.data_dir})
    if run.writes:
        make_folder(folder)
    return folder


def resumed_with(settings, teacher, start, batches):
    """{dotted key: JSON value} of the settings RESUMED_WITH, and of what the run is made from.

    Args:
        teacher (Checkpoint), start (Checkpoint or None): the student's. batches (ShardedBatches).
    """

    def flat(prefix, value):
        if isinstance(value, dict):
            for key, item in value.items():
                yield from flat(f"{prefix}.{key}", item)
        else:
            yield prefix, list(value) if isinstance(value, tuple) else value

    values = asdict(settings)
    corpus = [f"{os.path.basename(path)} {sample_checksum(path)}" for part in batches.parts for path in part]
    return {
        **dict(pair for key in RESUMED_WITH for pair in flat(key, values[key])),
        "the teacher's weights": checkpoints.digest(teacher.weights)[:16],
        "the student's first weights": checkpoints.digest(start.weights)[:16] if start else "",
        "the corpus": checkpoints.digest({}, *corpus)[:16],
    }


def found_of_run(run, folder, stage, state):
    """What the run folder holds of this very run: NOTHING, a saved STATE, or that it is FINISHED."""
    try:
        results = read_json(run.join("results.json"), "the results")
    except UserError:  # none, or of a run that was stopped while it wrote them
        results = {}
    if results.get("resumed_with") == stage.fingerprint() and os.path.exists(
        os.path.join(folder, checkpoints.WEIGHTS_FILE)
    ):
        return FINISHED
    return STATE if os.path.exists(state) else NOTHING


@command
@with_settings(GeneralDistillConfig)
def main(settings):
    """Settings, teacher, student, corpus, stage, result."""
    required(settings, "load_teacher_ckpt_path", "data_dir")
    terms = LossTerms.intermediate(settings.gd_cfg, "gd_cfg")
    session = TrainingRun.begin(settings, "gd")
    settings = session.settings
    teacher_checkpoint, own_config, teacher = open_teacher(settings, session.device)
    kind = compute_type(settings.gd_student_net_cfg.compute_type, session.device)
    set_seed(settings.seed)
    student = build_general_student(settings, teacher_checkpoint, own_config, kind)
    config = student.network.config
    info = DatasetInfo.load(settings.data_dir)
    for key, checkpoint in (
        ("load_teacher_ckpt_path", teacher_checkpoint),
        ("load_gd_ckpt_path", student.checkpoint),
    ):
        if checkpoint:
            check_vocabulary(info, checkpoint, key)

    def check(examples):
        check_bounds(
            examples,
            "train",
            teacher.config,
            settings.load_teacher_ckpt_path,
            settings.gd_teacher_net_cfg.seq_length,
        )
        check_bounds(
            examples,
            "train",
            config,
            "the student (gd_student_net_cfg)",
            settings.gd_student_net_cfg.seq_length,
        )

    batches = open_corpus(settings, check, settings.gd_cfg.batch_size, session.group)
    say(
        f"general distillation on {session.device}: {sum(batches.rows):,} rows in {len(batches.parts)} "
        f"part(s), {session.group.size} process(es) of {settings.gd_cfg.batch_size} rows a step"
    )
    say(
        f"student: {parameter_count(student.network):,} parameters, {config.num_hidden_layers} layers, "
        f"started from {student.start}; teacher: {parameter_count(teacher):,} parameters, "
        f"{own_config.num_hidden_layers} layers"
    )

    folder = output_folder(settings, session.run)
    settings = replace(settings, gd_student_net_cfg=settings.gd_student_net_cfg.filled(config))
    vocabulary = teacher_checkpoint.vocabulary
    further = resumed_with(settings, teacher_checkpoint, student.checkpoint, batches)
    stage = Stage(
        "gd",
        Distiller(student.network, terms, teacher, student.projection),
        batches,
        settings.gd_cfg,
        settings.epoch_size,
        session.run,
        encoder_description(config, teacher_checkpoint.config.get("do_lower_case", True)),
        vocabulary,
        kind,
        session.sink_steps(batches),
        max(0, settings.train_steps),
        session.group,
        further,
    )
    state = session.run.join(STATE_FILE)
    found = found_of_run(session.run, folder, stage, state) if settings.resume else NOTHING
    if not same_everywhere(found, session.group):
        raise UserError(
            f"resume: not every process of the job finds the same in {session.run.path}; put the first "
            f"one's {STATE_FILE} or results.json into output_dir on every machine"
        )
    if found == FINISHED:
        say(f"resume: this run is finished; its student is in {folder}")
        return
    if found == STATE:
        stage.load_state(state)
        say(f"resumed after step {stage.step_number} of {stage.total_steps}")
    elif settings.resume:
        say(f"resume: there is no {state}, so training begins anew")
    session.run.start(settings, stage.step_number)
    if session.run.writes and not stage.step_number and os.path.exists(state):
        os.remove(state)  # an older run's
    callbacks = [*session.shared_callbacks(folder), LastCheckpoint(folder)]
    if settings.save_ckpt_step:
        callbacks.append(TrainingState(settings.save_ckpt_step, state))
    seconds = stage.fit(callbacks, settings.log_step)
    say(f"general distillation: {stage.total_steps} steps in {seconds:.0f} s")
    session.close(
        {
            "losses": stage.read_step(),
            "parameters": parameter_count(student.network),
            "resumed_with": stage.fingerprint(),
        },
        f"done: the student is in {folder}; distil a task with: python run_task_distill.py "
        f"--load_gd_ckpt_path {folder} --load_teacher_ckpt_path FINE_TUNED_TEACHER ...",
    )
    if session.run.writes and os.path.exists(
        state
    ):  # only now: until the results are there a run can be resumed
        os.remove(state)


if __name__ == "__main__":
    main()
