"""Where a student comes from: a checkpoint, its teacher's layers, or random weights."""

from dataclasses import dataclass

from src import checkpoint as checkpoints
from src.distill.distiller import Projection, uniform_layer_map
from src.errors import UserError
from src.nn.heads import BertForSequence
from src.nn.loading import bert_config, encoder_network, layer_weights

_WIDTHS = (
    "vocab_size",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
    "use_relative_positions",
)


@dataclass(frozen=True)
class Student:
    """A student ready to train."""

    network: object
    """`BertForSequence`, or for general distillation `BertEncoder`."""
    projection: Projection
    start: str
    """What it started from, for the log."""
    checkpoint: object = None
    """The `Checkpoint` it started from, or None."""


def student_layers(chosen, depth, teacher_depth, section="td_student_net_cfg"):
    """The teacher layers a student of `depth` layers copies: `chosen`, or the last of each group of the
    uniform layer map.
    """
    if chosen:
        if len(chosen) != depth or max(chosen) >= teacher_depth:
            raise UserError(
                f"student_layers: needs {depth} numbers from 0 to {teacher_depth - 1}, one a student "
                f"layer, not {', '.join(map(str, chosen))}"
            )
        return tuple(chosen)
    stride = uniform_layer_map(depth, teacher_depth, section)
    return tuple(range(stride - 1, teacher_depth, stride))


def _from_teacher(chosen, config, teacher_checkpoint, teacher_config, section):
    for name in _WIDTHS:
        if getattr(config, name) != getattr(teacher_config, name):
            raise UserError(
                "student_init: teacher_layers needs a student of the teacher's own widths, but "
                f"{section}.{name} is {getattr(config, name)} and the teacher has "
                f"{getattr(teacher_config, name)}"
            )
    layers = student_layers(chosen, config.num_hidden_layers, teacher_config.num_hidden_layers, section)
    return layer_weights(
        teacher_checkpoint.weights, layers
    ), f"the teacher's layers {', '.join(map(str, layers))}"


def _check_heads(config, teacher_config, section):
    if config.num_attention_heads != teacher_config.num_attention_heads:
        raise UserError(
            f"{section}.num_attention_heads is {config.num_attention_heads} but the teacher has "
            f"{teacher_config.num_attention_heads}; the attention loss compares them head by head"
        )


def build_general_student(settings, teacher_checkpoint, teacher_config, compute_type):
    """The student that a `GeneralDistillConfig` asks for; arguments and errors as in `build_student`."""
    section, path, checkpoint, weights, start = (
        "gd_student_net_cfg",
        settings.load_gd_ckpt_path,
        None,
        {},
        "random weights",
    )
    if path:
        if settings.student_init != "random":
            raise UserError(f"student_init: contradicts the checkpoint {path}; give only one of them")
        checkpoint = checkpoints.load(path)
        config = settings.gd_student_net_cfg.check(bert_config(checkpoint), section, path)
        weights, start = checkpoint.weights, path
    else:
        config = settings.gd_student_net_cfg.resolve(teacher_config)
        if settings.student_init == "teacher_layers":
            weights, start = _from_teacher((), config, teacher_checkpoint, teacher_config, section)
    uniform_layer_map(config.num_hidden_layers, teacher_config.num_hidden_layers, section)
    if settings.gd_cfg.attention_loss:
        _check_heads(config, teacher_config, section)
    network = encoder_network(weights, start, config, compute_type)
    projection = Projection(config.hidden_size, teacher_config.hidden_size, config.initializer_range)
    if checkpoint:
        start = _resume_projection(projection, weights, start)
    return Student(network, projection, start, checkpoint)


def _resume_projection(projection, weights, start):
    """Give a projection the weights that an earlier stage left; returns what `start` says then.

    One that was learnt for a teacher of another width is no use; the new one's own start stays.
    """
    fit = {name: value for name, value in weights.items() if name.startswith("fit_dense.")}
    if not fit:
        return start
    width, learnt = projection.fit_dense.weight.shape[0], len(fit["fit_dense.bias"])
    if learnt != width:
        return f"{start} (a new projection: its own is to a teacher of width {learnt}, not {width})"
    checkpoints.assign(projection, fit, start)
    return start


def build_student(settings, teacher_checkpoint, teacher_config, num_labels, compute_type):
    """The student that a `TaskDistillConfig` asks for.

    Keys of td_student_net_cfg left out come from the student's checkpoint if there is one, else from the
    teacher.

    Args:
        teacher_checkpoint (Checkpoint), teacher_config (BertConfig): the teacher as loaded, its own dropout
            rates included.
        num_labels (int): outputs of the head.
        compute_type (mindspore.dtype): of the matrix products.

    Raises:
        UserError: the checkpoint contradicts td_student_net_cfg, or student_init contradicts the paths given.
    """
    checkpoint, path = None, settings.load_td1_ckpt_path or settings.load_gd_ckpt_path
    if path and (settings.student_init != "auto" or settings.student_layers):
        raise UserError(
            f"student_init, student_layers: they contradict the checkpoint {path}; give only one of them"
        )
    if settings.load_td1_ckpt_path and settings.load_gd_ckpt_path:
        raise UserError(
            f"load_gd_ckpt_path: {settings.load_gd_ckpt_path} and load_td1_ckpt_path "
            f"{settings.load_td1_ckpt_path} both say where the student starts; give only one of them"
        )
    if settings.student_layers and settings.student_init == "random":
        raise UserError("student_layers: contradicts student_init random; leave one of them out")
    runs_phase1 = settings.td_phase1_epoch_size > 0 and not settings.load_td1_ckpt_path
    if path:
        checkpoint = checkpoints.load(path)
        config = settings.td_student_net_cfg.check(bert_config(checkpoint), "td_student_net_cfg", path)
        weights, start = checkpoint.weights, path
    else:
        config = settings.td_student_net_cfg.resolve(teacher_config)
        weights, start = {}, "random weights"
        if settings.student_init == "teacher_layers" or settings.student_layers:
            weights, start = _from_teacher(
                settings.student_layers, config, teacher_checkpoint, teacher_config, "td_student_net_cfg"
            )
    if runs_phase1 and settings.phase1_cfg.attention_loss:
        _check_heads(config, teacher_config, "td_student_net_cfg")
    network = BertForSequence(config, num_labels, compute_type)
    projection = Projection(config.hidden_size, teacher_config.hidden_size, config.initializer_range)
    if weights:
        # A head that general distillation left is another task's.
        heads = {
            name
            for name in weights
            if name.startswith("classifier.")
            and (len(weights[name]) != num_labels or settings.load_gd_ckpt_path)
        }
        kept = {
            name: value
            for name, value in weights.items()
            if name not in heads and not name.startswith("fit_dense.")
        }
        checkpoints.assign(network, kept, start, allow_missing=("classifier.", "bert.pooler."))
        if runs_phase1 and settings.phase1_cfg.hidden_loss:
            start = _resume_projection(projection, weights, start)
    return Student(network, projection, start, checkpoint)
