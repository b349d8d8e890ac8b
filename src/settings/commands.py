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
)
from src.settings.training import FinetuneConfig, GeneralDistillConfig, TaskDistillConfig, TernaryConfig

COMMANDS = (
    GeneralDistillConfig,
    TaskDistillConfig,
    TernaryConfig,
    FinetuneConfig,
    EvaluateConfig,
    ExportConfig,
    EvaluateExportedConfig,
    PreprocessConfig,
    InferConfig,
    PostprocessConfig,
    PredictConfig,
    PrepareConfig,
    ConvertConfig,
)
