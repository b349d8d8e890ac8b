"""AdamW with decay groups, and its learning-rate schedule."""
import mindspore as ms
from mindspore import nn, ops
from mindspore.nn.learning_rate_schedule import LearningRateSchedule


class WarmupPolynomial(LearningRateSchedule):
    """Linear rise from 0 over the warm-up, then polynomial decay: BERT's schedule.

    Args:
        config (AdamWeightDecayConfig): peak and end learning rate, power, warm-up share.
        total_steps (int): optimizer steps of the stage.
    """

    def __init__(self, config, total_steps):
        super().__init__()
        self.peak = config.learning_rate
        self.end = config.end_learning_rate
        self.power = config.power
        self.warmup_steps = max(1.0, round(config.warmup_ratio * total_steps))
        self.decay_steps = max(1.0, total_steps - self.warmup_steps)

    def construct(self, global_step):
        step = ops.cast(global_step, ms.float32) + 1.0  # the first step already moves
        rising = self.peak * step / self.warmup_steps
        left = 1.0 - ops.clamp((step - self.warmup_steps) / self.decay_steps, 0.0, 1.0)
        falling = (self.peak - self.end) * ops.pow(left, self.power) + self.end
        return ops.select(step <= self.warmup_steps, rising, falling)


def is_decayed(name, decay_filter):
    """Whether weight decay applies to the parameter called `name`: it holds none of the filter's words."""
    plain = name.lower().replace("_", "")
    return not any(word.lower().replace("_", "") in plain for word in decay_filter)


def build_optimizer(parameters, config, total_steps):
    """AdamW without bias correction, as BERT was trained with (MindSpore's fused kernel).

    Args:
        parameters (list of Parameter): what is trained.
        config (AdamWeightDecayConfig): rates, decay and the words that exempt a parameter from decay.
        total_steps (int): optimizer steps of the stage.
    """
    parameters = list(parameters)
    groups = [{"params": group, "weight_decay": decay} for group, decay in (
        ([item for item in parameters if is_decayed(item.name, config.decay_filter)], float(config.weight_decay)),
        ([item for item in parameters if not is_decayed(item.name, config.decay_filter)], 0.0)) if group]
    groups.append({"order_params": parameters})
    return nn.AdamWeightDecay(groups, learning_rate=WarmupPolynomial(config, total_steps), beta1=float(config.beta1),
                              beta2=float(config.beta2), eps=float(config.eps))
