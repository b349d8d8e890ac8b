"""The teacher of a distillation: loaded, frozen, evaluated, and refused where it does not belong to the
data.
"""

from dataclasses import replace

from src import checkpoint as checkpoints
from src import metrics
from src.errors import UserError
from src.evaluate import evaluate
from src.nn.heads import Logits
from src.nn.loading import bert_config, parameter_count, task_network, without_dropout
from src.runtime import compute_type, say


def teacher_config(checkpoint, net_config, section):
    """(the teacher's own `BertConfig`, the one it runs with here): `net_config` may choose the other form of
    GELU.

    Raises:
        UserError: the settings, whose key is `section`, contradict the checkpoint.
    """
    own = bert_config(checkpoint)
    used = net_config.check(own, section, checkpoint.source, free=("hidden_act",))
    if used.hidden_act != own.hidden_act:
        if "relu" in (used.hidden_act, own.hidden_act):
            raise UserError(
                f"{section}.hidden_act: {checkpoint.source} was trained with {own.hidden_act}; only gelu "
                f"and gelu_new stand for each other, not {used.hidden_act}"
            )
        say(
            f"the teacher computes {used.hidden_act} where its checkpoint says {own.hidden_act}, as "
            f"{section} asks"
        )
    return own, used


def load_teacher(session, key, path, net_config, section):
    """(Checkpoint, its own BertConfig, frozen BertForSequence) of the teacher.

    Args:
        session (Session): its data must be the teacher's own: vocabulary, label map, outputs, lengths.
        key (str), path (str): the setting that names the teacher, and its value.
        net_config (NetConfig), section (str): the run's settings for its network, and their key.

    Raises:
        UserError: it does not belong to the data, or contradicts the settings.
    """
    checkpoint = checkpoints.load(path)
    own, used = teacher_config(checkpoint, net_config, section)
    session.data.check_model(checkpoint, used, key, net_config.seq_length)
    kind = compute_type(net_config.compute_type, session.device)
    return checkpoint, own, task_network(checkpoint, without_dropout(used), kind)


def check_teacher(session, key, path, teacher):
    """Evaluate the teacher and print its score; refuse one that is not better than guessing.

    Without evaluation data (do_eval false) up to 2,000 training rows serve.

    Returns:
        Its results, with `parameters`.
    """
    settings, data = session.settings, session.data
    if not data.evals:
        data = replace(data, evals={"train sample": data.train.take(range(min(2000, len(data.train))))})
    batches = data.eval_batches(
        settings.eval_cfg.batch_size, settings.bucket_boundaries, settings.enable_buckets
    )
    results = {
        **evaluate(Logits(teacher), batches, session.metric_names),
        "parameters": parameter_count(teacher),
    }
    metric = session.metric_names[0]
    name, score = metrics.printed_name(metric), results[metric]
    chance = metrics.chance_level(metric, next(iter(batches.values())).examples.labels)
    say(f"teacher: {name} {100 * score:.2f} (the best constant answer: {100 * chance:.2f})")
    if 100 * (score - chance) < settings.min_teacher_gain:
        raise UserError(
            f"{key}: the teacher reaches {name} {100 * score:.2f} where always giving the best constant "
            f"answer reaches {100 * chance:.2f}; it was not fine-tuned on this task or its labels or "
            f"vocabulary differ (fine-tune it: python run_finetune.py --load_ckpt_path {path}; or, where "
            "no teacher beats a guess, --min_teacher_gain 0)"
        )
    return results
