"""Fine-tune a BERT checkpoint on a task: makes teachers, and is the baseline without distillation.

    python run_finetune.py --task_name SST-2 --load_ckpt_path ENCODER_DIR --train_data_dir DATA_DIR/sst-2 \\
        --eval_data_dir DATA_DIR/sst-2
"""

from src import checkpoint as checkpoints
from src.distill.distiller import Distiller, LossTerms
from src.errors import UserError, command
from src.files import check_apart
from src.modelarts import with_settings
from src.nn.heads import BertForSequence
from src.nn.loading import bert_config, description, layer_weights, parameter_count
from src.runtime import compute_type, say
from src.settings.network import BertConfig
from src.settings.parsing import required
from src.settings.training import FinetuneConfig
from src.train.session import Session
from src.train.stage import Stage, count_steps
from src.vocabulary import read_vocabulary, vocabulary_hash


def from_checkpoint(settings, session):
    """(BertConfig, weights, vocabulary, do_lower_case) of load_ckpt_path, reduced to init_layers."""
    path = settings.load_ckpt_path
    checkpoint = checkpoints.load(path)
    own, weights = bert_config(checkpoint), checkpoints.without_quantizer_state(checkpoint.weights)
    if settings.init_layers:
        if max(settings.init_layers) >= own.num_hidden_layers:
            raise UserError(
                f"init_layers: {path} has the layers 0 to {own.num_hidden_layers - 1}, not "
                f"{max(settings.init_layers)}"
            )
        weights = layer_weights(weights, settings.init_layers)
    config = settings.net_cfg.check(own, "net_cfg", path, free=("hidden_act", "num_hidden_layers"))
    depth = len(settings.init_layers) or own.num_hidden_layers
    if settings.net_cfg.num_hidden_layers not in (None, depth):
        raise UserError(
            f"net_cfg.num_hidden_layers is {settings.net_cfg.num_hidden_layers} but {path} gives {depth} "
            "layers; choose layers with init_layers"
        )
    session.data.check_rows(checkpoint, config, "load_ckpt_path", settings.net_cfg.seq_length)
    config = settings.net_cfg.resolve(BertConfig(**{**vars(config), "num_hidden_layers": depth}))
    return config, weights, checkpoint.vocabulary, checkpoint.config.get("do_lower_case", True)


def from_scratch(settings, session):
    """The same for random weights; the vocabulary is vocab_file."""
    required(settings, "vocab_file")
    vocabulary = read_vocabulary(settings.vocab_file)
    info = session.data.info
    if info and info.vocab_sha256 != vocabulary_hash(vocabulary):
        raise UserError(
            f"vocab_file: {settings.train_data_dir} was prepared with another vocabulary than "
            f"{settings.vocab_file}"
        )
    config = settings.net_cfg.resolve(BertConfig(vocab_size=len(vocabulary)))
    if config.vocab_size < len(vocabulary):
        raise UserError(
            f"net_cfg.vocab_size: {config.vocab_size} is less than the {len(vocabulary)} tokens of "
            f"{settings.vocab_file}"
        )
    return config, {}, vocabulary, info.do_lower_case if info else True


@command
@with_settings(FinetuneConfig)
def main(settings):
    """Settings, data, network, stage, result."""
    if not settings.do_train:
        raise UserError("do_train: run_finetune.py trains; to evaluate a checkpoint use eval.py")
    session = Session.open(settings, "finetune")
    settings = session.settings
    data = session.data
    folder = session.run.join(data.task.folder)
    check_apart(folder, "output_dir", {"load_ckpt_path": settings.load_ckpt_path})
    config, weights, vocabulary, lower = (from_checkpoint if settings.load_ckpt_path else from_scratch)(
        settings, session
    )
    kind = compute_type(settings.net_cfg.compute_type, session.device)
    batches = session.train_batches(settings.finetune_cfg)
    count_steps(batches, settings.finetune_cfg, settings.epoch_size, session.sink_steps(batches))
    network = BertForSequence(config, data.num_labels, kind)
    if weights:
        start = settings.load_ckpt_path
        # A head for other labels, or a projection of distillation, is not part of this network.
        kept = {
            name: value
            for name, value in weights.items()
            if name.startswith("bert.") or (name.startswith("classifier.") and len(value) == data.num_labels)
        }
        missing, _ = checkpoints.assign(network, kept, start, allow_missing=("classifier.", "bert.pooler."))
        start += f" ({', '.join(missing)} at random)" if missing else ""
    else:
        start = "random weights"
    session.run.start(settings)
    say(
        f"network: {parameter_count(network):,} parameters, {config.num_hidden_layers} layers, started "
        f"from {start}"
    )

    stage = Stage(
        "finetune",
        Distiller(network, LossTerms(label_loss=1.0), regression=data.regression),
        batches,
        settings.finetune_cfg,
        settings.epoch_size,
        session.run,
        description(config, data.task.name, data.labels, data.regression, data.num_labels, lower),
        vocabulary,
        kind,
        sink_steps=session.sink_steps(batches),
        group=session.group,
    )
    callbacks, watcher = session.callbacks(folder, session.evaluator(network) if settings.do_eval else None)
    seconds = stage.fit(callbacks, settings.log_step)
    say(f"{stage.total_steps} steps in {seconds:.0f} s")
    models = {"fine-tuned": {**watcher.best, "parameters": parameter_count(network)}} if watcher else {}
    session.finish(
        models,
        f"done: the network is in {folder}; evaluate it with: python eval.py --task_name {data.task.name} "
        f"--model_dir {folder} --data_dir {settings.eval_data_dir or settings.train_data_dir}; or distil "
        f"it with: python run_task_distill.py --load_teacher_ckpt_path {folder} ...",
    )


if __name__ == "__main__":
    main()
