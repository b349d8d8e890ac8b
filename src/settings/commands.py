"""Every command's settings: a YAML file is shared between commands, and each reads what it knows."""

from src.settings.tools import (
    ConvertConfig,
    EvaluateConfig,
    EvaluateExportedConfig,
    ExportConfig,
    InferConfig,
    PostprocessConfig,
    PredictConfig,
    PrepareConfig,
    PreprocessConfig,
    ReportConfig,
)
from src.settings.training import FinetuneConfig, GeneralDistillConfig, TaskDistillConfig, TernaryConfig

TRAINING = {
    "run_general_distill": GeneralDistillConfig,
    "run_task_distill": TaskDistillConfig,
    "train": TernaryConfig,
    "run_finetune": FinetuneConfig,
}
"""{entry script: its settings} of the commands that train."""
SCRIPTS = {
    **TRAINING,
    "eval": EvaluateConfig,
    "export": ExportConfig,
    "run_eval_onnx": EvaluateExportedConfig,
    "preprocess": PreprocessConfig,
    "infer_mindir": InferConfig,
    "postprocess": PostprocessConfig,
    "predict": PredictConfig,
    "prepare_data": PrepareConfig,
    "convert_checkpoint": ConvertConfig,
    "report": ReportConfig,
}
"""{entry script: its settings} of all of them."""
COMMANDS = tuple(SCRIPTS.values())
