"""Fine-tune a BERT checkpoint on a task: makes teachers, and is the baseline without distillation.

    python run_finetune.py --task_name SST-2 --load_ckpt_path ENCODER_DIR --train_data_dir DATA_DIR/sst-2 \\
        --eval_data_dir DATA_DIR/sst-2
"""

from src.distill.distiller import Distiller, LossTerms
from src.errors import UserError, command
from src.modelarts import with_settings
from src.raw_data import as_records
from src.settings.network import Known
from src.settings.parsing import part, required, to_yaml
from src.settings.training import FinetuneConfig, FoldersConfig, RunConfig
from src.tasks import get_task
from src.terminal import say
from src.train.next_steps import after_finetuning, reading
from src.train.session import Session
from src.train.start import from_checkpoint, from_scratch, task_model


@command
@with_settings(FinetuneConfig)
def main(settings: FinetuneConfig) -> None:
    """Settings, data, network, fit, result."""
    if not settings.do_train:
        raise UserError("do_train: run_finetune.py trains; to evaluate a checkpoint use eval.py")
    reader = "load_ckpt_path" if settings.load_ckpt_path else "vocab_file"
    required(settings, reader)
    known = Known(settings.net_cfg, "net_cfg", settings.vocab_file)
    required(settings, "task_name")
    networks = (get_task(settings.task_name).folder,)
    keys = "train_data_dir", "eval_data_dir"
    settings = as_records(settings, keys, reader, known, "finetune", networks)
    config, folders = part(settings, RunConfig), part(settings, FoldersConfig)
    session = Session.open("finetune", config, folders, to_yaml(settings), networks=networks)
    data = session.data
    folder = session.run.join(*networks)

    if settings.load_ckpt_path:
        layers, net = settings.init_layers, settings.net_cfg
        start = from_checkpoint(settings.load_ckpt_path, layers, net, data, settings.vocab_file)
    else:
        start = from_scratch(settings.vocab_file, settings.net_cfg, data)
    model, started_from = task_model(start, data, session.compute_type(settings.net_cfg.compute_type))
    batches = session.train_batches(settings.finetune_cfg, session.packs(model))
    session.check_steps(batches, settings.finetune_cfg, settings.epoch_size)
    if not session.start([folder]):
        return
    say(f"network: {model.summary}, started from {started_from}")

    loss = Distiller(model.network, LossTerms(label_loss=1.0), kind=data.kind)
    stage = session.stage("finetune", model, loss, batches, settings.finetune_cfg, settings.epoch_size)
    results = session.fit(stage, folder, session.evaluation_of(model, folder))
    where = settings.train_data_dir, settings.eval_data_dir
    last = after_finetuning(data.task.name, folder, model.description, *where, **reading(settings))
    session.finish({"fine-tuned": results}, last)


if __name__ == "__main__":
    main()
