"""A quantized student: a fine-tuned network that rounds its weights and activations while it computes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from src.checkpoint import folder as checkpoints
from src.checkpoint.assign import assign
from src.distill.distiller import LossTerms
from src.errors import UserError
from src.model import Model, new_network, read_as_run

if TYPE_CHECKING:
    import mindspore as ms

    from src.data.task_data import TaskData
    from src.settings.network import QuantConfig
    from src.settings.training import QuantizedStudentConfig, TernaryConfig


def quantized_student(
    path: str, key: str, data: TaskData, config: QuantizedStudentConfig, compute_type: ms.Type
) -> Model:
    """The quantized `Model` that starts from a task's checkpoint.

    Args:
        path, key: the checkpoint, and the setting that names it. data: the task's rows.
        config: what is rounded, and whether training follows, which alone can fill in a head or calibrate
            ranges.
        compute_type: of the matrix products.

    Raises:
        UserError: the checkpoint is not of this task, or it is not trained where that is needed.
    """
    known = config.known(data.kind)
    checkpoint, bert = read_as_run(path, known)
    own = replace(checkpoint.description, bert=bert)
    data.check_model(own, key, known.net.seq_length)
    description = replace(own, bert=replace(bert, **config.dropout), quantization=config.quantization_cfg)
    description = description.with_head(data.kind, data.outputs, data.labels, data.task.name)
    model = Model(description, new_network(description, compute_type), checkpoint.vocabulary)
    own_names = {name for name, _ in model.network.parameters_and_names()}
    state = checkpoints.QUANTIZER_STATE
    assign(
        model.network,
        {
            name: value
            for name, value in checkpoint.weights.items()
            if name in own_names or not name.endswith(state)
        },
        path,
        allow_missing=("classifier.",) if config.do_train else (),
        allow_missing_endings=state,
        allow_unexpected=("fit_dense.",),
    )
    if not config.do_train and model.uncalibrated_ranges():
        raise UserError(
            "quant_cfg.activation_quantizer: do_train is false, but only training calibrates the "
            "moving-average ranges of ema; use --quant_cfg.activation_quantizer symmetric or dynamic, or "
            "train"
        )
    return model


def check_calibrated(quantization: QuantConfig, batches_seen: int) -> None:
    """Raise a `UserError` where training over so many batches ends before it calibrates the moving
    averages.
    """
    if quantization.activation_quantizer == "ema" and quantization.ema_start_step >= batches_seen:
        raise UserError(
            f"quant_cfg.ema_start_step is {quantization.ema_start_step}, but training ends after "
            f"{batches_seen} batches, so that the activations' ranges would never be calibrated"
        )


def loss_terms(config: TernaryConfig, has_teacher: bool) -> LossTerms:
    """The terms that the settings switch on; none where nothing is trained.

    Raises:
        UserError: they need a teacher and there is none.
    """
    if not config.do_train:
        return LossTerms()
    if not has_teacher and (config.pred_distill or config.fits_layers):
        raise UserError(
            "teacher_model_dir is needed: give --teacher_model_dir, or train on labels alone with "
            "--pred_distill false --intermediate_distill false --is_lgt_fit true"
        )
    layers = LossTerms.intermediate(config.train_cfg, "train_cfg") if config.fits_layers else LossTerms()
    return replace(layers, soft_loss=float(config.pred_distill), label_loss=float(config.is_lgt_fit))
