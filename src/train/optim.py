"""AdamW with decay groups, and its learning-rate schedule."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore.nn.learning_rate_schedule import LearningRateSchedule
from mindspore.ops import composite as C
from mindspore.ops import operations as P

from src.nn.layers import Tensors

if TYPE_CHECKING:
    from src.settings.stage import AdamWeightDecayConfig


class WarmupPolynomial(LearningRateSchedule):
    """Linear rise from 0 to the peak over the warm-up, then polynomial decay from the peak, over the steps
    that are left: with power 1 Hugging Face's linear schedule with warm-up.

    Google's BERT and the published code let the decay run from step 0, so that it goes on from below the peak
    after the warm-up: at step 101 of 1,000, of which 100 warm up, 0.899 of the peak, and 0.999 here.

    Args:
        config: peak and end learning rate, power, warm-up share.
        total_steps: optimizer steps of the stage.
    """

    def __init__(self, config: "AdamWeightDecayConfig", total_steps: int):
        super().__init__()
        self.peak = config.learning_rate
        self.end = config.end_learning_rate
        self.power = config.power
        self.warmup_steps = max(1.0, round(config.warmup_ratio * total_steps))
        self.decay_steps = max(1.0, total_steps - self.warmup_steps)

    def construct(self, global_step: Tensor) -> Tensor:
        step = ops.cast(global_step, ms.float32) + 1.0  # the first step already moves
        rising = self.peak * step / self.warmup_steps
        left = 1.0 - ops.clamp((step - self.warmup_steps) / self.decay_steps, 0.0, 1.0)
        falling = (self.peak - self.end) * ops.pow(left, self.power) + self.end
        return ops.select(step <= self.warmup_steps, rising, falling)


def is_decayed(name: str, decay_filter: Iterable[str]) -> bool:
    """Whether weight decay applies to the parameter called `name`: it holds none of the filter's words."""
    plain = name.lower().replace("_", "")
    return not any(word.lower().replace("_", "") in plain for word in decay_filter)


_update = C.MultitypeFuncGraph("adamw_update")


@_update.register(
    "Function",
    "Function",
    "Tensor",
    "Tensor",
    "Tensor",
    "Tensor",
    "Tensor",
    "Number",
    "Tensor",
    "Tensor",
    "Tensor",
    "Tensor",
)
def _update_one(
    adam, shrink, zero, beta1, beta2, eps, learning_rate, decay, parameter, first, second, gradient
):
    if decay > 0:
        gradient = ops.depend(gradient, shrink(parameter, learning_rate * decay, parameter))
    # Powers of beta of 0 leave out Adam's bias correction.
    return adam(parameter, first, second, zero, zero, learning_rate, beta1, beta2, eps, gradient)


class AdamW(nn.Optimizer):
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101) without bias correction, as BERT was trained with.

    Decoupled decay shrinks a weight in place before Adam moves it; both read the same learning rate. On CPU
    these two kernels take well under half the time of MindSpore's AdamWeightDecay, whose one kernel is not
    vectorized there (benchmarks/kernels.py). Graph-kernel fusion expands Adam; the formula written out costs
    6 % of a step more, for the assignments are not fused, and shrinking by AssignAdd gains nothing.

    Args:
        parameters: what is trained, in the order of the gradients.
        config: rates, decay and the words that exempt a parameter from decay.
        total_steps: optimizer steps of the stage.
        second_moments: weights whose second moment lives in the network
            itself, which reads it, and that parameter.

    Inputs:
        gradients: a tuple of float32 tensors.
    """

    def __init__(
        self,
        parameters: list[ms.Parameter],
        config: "AdamWeightDecayConfig",
        total_steps: int,
        second_moments: Iterable[tuple[ms.Parameter, ms.Parameter]] = (),
    ):
        super().__init__(WarmupPolynomial(config, total_steps), parameters)
        self.decays = tuple(
            float(config.weight_decay) if is_decayed(item.name, config.decay_filter) else 0.0
            for item in self._parameters
        )
        self.first = self._parameters.clone(prefix="adam_m", init="zeros")
        shared = {id(weight): moment for weight, moment in second_moments}
        own = self._parameters.clone(prefix="adam_v", init="zeros")
        self.second = ms.ParameterTuple(
            shared.get(id(weight), moment) for weight, moment in zip(self._parameters, own)
        )
        self.zero, self.beta1, self.beta2, self.eps = (
            ms.Tensor(value, ms.float32) for value in (0.0, config.beta1, config.beta2, config.eps)
        )
        self.adam = P.Adam()
        self.shrink = P.ApplyGradientDescent()

    def construct(self, gradients: Tensors) -> Tensors:
        learning_rate = self.get_lr()
        self.assignadd(self.global_step, self.global_step_increase_tensor)
        update = ops.partial(
            _update, self.adam, self.shrink, self.zero, self.beta1, self.beta2, self.eps, learning_rate
        )
        return self.hyper_map(update, self.decays, self._parameters, self.first, self.second, gradients)
