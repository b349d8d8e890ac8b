"""What each worker of tests/test_distributed.py runs: a stage on its share of the rows, its weights and
losses into a file.

msrun --worker_num=2 --local_worker_num=2 ... tests/two_workers.py FOLDER BATCH_SIZE
python tests/two_workers.py FOLDER BATCH_SIZE    one worker alone
"""

import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import mindspore as ms  # noqa: E402
import numpy as np  # noqa: E402

from src.data.steps import PackedSteps  # noqa: E402
from src.distill.distiller import Distiller, LossTerms, Projection  # noqa: E402
from src.distill.teacher import LiveTeacher  # noqa: E402
from src.kinds import CLASSIFICATION  # noqa: E402
from src.nn.bert import FeedForward  # noqa: E402
from src.nn.dropout import Dropout, draws_for  # noqa: E402
from src.quant.quantizers import MovingAverageRange  # noqa: E402
from src.run_folder import RunFolder  # noqa: E402
from src.runtime import join_group, set_seed, set_up  # noqa: E402
from src.settings.network import QuantConfig  # noqa: E402
from src.settings.shared import GroupConfig  # noqa: E402
from src.settings.stage import AdamWeightDecayConfig, OptimizerConfig, PhaseConfig  # noqa: E402
from src.train.callbacks import LastCheckpoint  # noqa: E402
from src.train.stage import Stage, StagePlan  # noqa: E402
from tests.helpers import as_model, fill, make_examples, tiny_config, tiny_network, weights_of  # noqa: E402

ROWS = 32
DECAY = 0.25


def tokens_of(step):
    """Hidden states that a layer is given at a step, float32 (6, 16): larger ones at later steps."""
    return np.random.default_rng(step).normal(size=(6, 16)).astype(np.float32) * (1 + step)


def layer_ranges(group):
    """{place: range} of a layer whose activations have moving-average ranges, after three steps. Each of two
    workers is given the same tokens, in another order; a single one is given the tokens of both.
    """
    quantization = QuantConfig(activation_bits=8, activation_quantizer="ema", ema_decay=DECAY)
    layer = fill(FeedForward(tiny_config(), ms.float32, quantization), 7)
    layer.set_train(True)
    for step in range(3):
        shares = tokens_of(step), tokens_of(step)[::-1]
        layer(ms.Tensor(np.concatenate(shares) if group.size == 1 else shares[group.rank].copy()))
    return {
        f"range/{name}": value for name, value in weights_of(layer).items() if name.endswith(".threshold")
    }


def run(folder, batch_size, distribute):
    """Two epochs of distillation with every loss term; writes FOLDER/rank_N.npz."""
    config = GroupConfig(device_target="CPU", distribute=distribute)
    group = join_group(config, set_up(config, 1, distribute))
    set_seed(1)
    student, teacher = (
        tiny_network(1, labels=2, num_hidden_layers=1),
        tiny_network(2, labels=2, num_hidden_layers=1, hidden_size=24),
    )
    loss = Distiller(
        student,
        LossTerms(attention_loss=1.0, hidden_loss=1.0, soft_loss=1.0, label_loss=0.5),
        Projection(16, 24, 0.2),
        CLASSIFICATION,
    )
    examples = make_examples(ROWS, 12)
    # Alone in one micro-batch a step, together in several.
    max_tokens = 24 if distribute else 1024
    batches = PackedSteps(examples, batch_size, 1, max_tokens, seed=3, rank=group.rank, device_num=group.size)
    before = {name: value.copy() for name, value in weights_of(student).items()}
    steps = list(batches)
    rows = [[row for batch in step for row in batch.rows.tolist()] for step in steps]
    phase = PhaseConfig(
        batch_size=batch_size,
        max_grad_norm=0.5,
        optimizer_cfg=OptimizerConfig(AdamWeightDecayConfig(learning_rate=1e-3)),
    )
    history = RunFolder(os.path.join(folder, "run"), group.first)
    history.start("")
    losses = []
    history.record = lambda **values: losses.append(
        [values[name] for name in ("loss", *loss.names, "grad_norm")]
    )
    batches.epoch = 0
    plan, asked = StagePlan(phase, 2), LiveTeacher(loss.ask(teacher))
    stage = Stage("phase2", as_model(student), loss, batches, plan, history, group, teacher=asked)
    stage.fit([LastCheckpoint(os.path.join(folder, "student"))], log_step=1)
    ranges = MovingAverageRange(8, DECAY)
    ranges.set_train(True)
    for step in range(2):  # worker 1 sees the larger values first, worker 0 afterwards
        ranges(ms.Tensor(np.float32([[0.5, -1.0 - (group.rank == 1 - step)]])))
    dropping = Dropout(0.1)
    draws_for(dropping, 3, "phase2", group.rank)
    moved = max(np.abs(value - before[name]).max() for name, value in weights_of(student).items())
    np.savez(
        os.path.join(folder, f"rank_{group.rank}.npz"),
        moved=moved,
        losses=np.array(losses),
        rows=json.dumps(rows),
        size=group.size,
        micro_batches=max(map(len, steps)),
        threshold=ranges.threshold.asnumpy(),
        dropout_seeds=dropping.seeds,
        **{
            f"weight/{name}": value
            for name, value in {**weights_of(student), **weights_of(loss.projection)}.items()
        },
        **layer_ranges(group),
    )


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), distribute="MS_ROLE" in os.environ)  # which msrun sets
