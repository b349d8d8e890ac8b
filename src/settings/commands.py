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
COMMANDS = (
    *TRAINING.values(),
    EvaluateConfig,
    ExportConfig,
    EvaluateExportedConfig,
    PreprocessConfig,
    InferConfig,
    PostprocessConfig,
    PredictConfig,
    PrepareConfig,
    ConvertConfig,
    ReportConfig,
)
