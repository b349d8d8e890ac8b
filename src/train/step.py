"""The one train step: scale the loss, differentiate, check for overflow, clip, update."""

import mindspore as ms
from mindspore import nn, ops
from mindspore.ops import composite as C
from mindspore.ops import operations as P

from src.nn.layers import square_sum

_square_sum = C.MultitypeFuncGraph("square_sum")
_scaled = C.MultitypeFuncGraph("scaled")
_add_to = C.MultitypeFuncGraph("add_to")
_clear = C.MultitypeFuncGraph("clear")


@_square_sum.register("Tensor")
def _square_sum_of(gradient):
    return square_sum(ops.cast(gradient, ms.float32))


@_scaled.register("Tensor", "Tensor")
def _scaled_by(factor, gradient):
    return gradient * ops.cast(factor, gradient.dtype)


@_add_to.register("Tensor", "Tensor")
def _add_to_sum(total, gradient):
    return ops.assign_add(total, gradient)


@_clear.register("Tensor")
def _clear_sum(total):
    return ops.assign(total, ops.zeros_like(total))


class LossScale(nn.Cell):
    """The loss scale and its update: fixed, or grown and cut by what the gradients did.

    A dynamic scale is divided by `factor` (never below 1) when a step overflows, and multiplied by it after
    `window` clean steps in a row (Micikevicius et al., arXiv 1710.03740, section 3.2).

    Args:
        value (float): the first scale. factor (float), window (int): as above; a window of 0 keeps the scale
            fixed.
    """

    def __init__(self, value=1.0, factor=2.0, window=0):
        super().__init__()
        self.scale = ms.Parameter(ms.Tensor(value, ms.float32), name="loss_scale", requires_grad=False)
        self.clean_steps = ms.Parameter(ms.Tensor(0, ms.int32), name="clean_steps", requires_grad=False)
        self.skipped_steps = ms.Parameter(ms.Tensor(0, ms.int32), name="skipped_steps", requires_grad=False)
        self.factor = factor
        self.window = window

    def construct(self, finite):
        """Take note of one step. `finite` is a bool scalar: whether every gradient was finite."""
        overflow = 1 - ops.cast(finite, ms.int32)
        ops.assign_add(self.skipped_steps, overflow)
        if self.window > 0:
            clean = (self.clean_steps + 1) * (1 - overflow)
            grow = ops.cast(clean >= self.window, ms.float32)
            cut = ops.cast(overflow, ms.float32)
            scale = self.scale * (1.0 + grow * (self.factor - 1.0)) / (1.0 + cut * (self.factor - 1.0))
            ops.assign(self.scale, ops.maximum(scale, ms.Tensor(1.0, ms.float32)))
            ops.assign(self.clean_steps, clean * (1 - ops.cast(grow, ms.int32)))
        return self.skipped_steps


class TrainStep(nn.Cell):
    """One step of training.

    Clipping, unscaling and averaging over accumulated batches are one multiplication of each gradient, and
    the global norm that clipping needs is also the overflow check: a NaN or infinity anywhere makes it
    non-finite.

    Args:
        loss_network (Cell): a batch -> (loss, term, ...), float32 scalars.
        optimizer (nn.Optimizer): updates its own parameters.
        loss_scale (LossScale): multiplies the loss before differentiation.
        max_grad_norm (float): gradients are scaled down to this global L2 norm; 0 leaves them.
        accumulation_steps (int): batches averaged for one update.
        group_size (int): processes that train together; their gradients (and the loss terms, for the log) are
            averaged.

    Inputs:
        update (bool): a compile-time constant; False only adds this batch's gradients to the sum.
        *batch: tensors for the loss network.

    Outputs:
        loss terms (tuple of float32 scalars, the total first), global gradient norm (before clipping; of this
        batch alone when it does not update), whether it was finite, and the number of steps skipped so far.
    """

    def __init__(
        self, loss_network, optimizer, loss_scale, max_grad_norm=0.0, accumulation_steps=1, group_size=1
    ):
        super().__init__(auto_prefix=False)
        self.loss_network = loss_network
        self.optimizer = optimizer
        self.loss_scale = loss_scale
        self.max_grad_norm = max_grad_norm
        self.accumulation_steps = accumulation_steps
        self.weights = optimizer.parameters
        self.gradient = C.GradOperation(get_by_list=True, sens_param=True)
        self.map = C.HyperMap()
        self.group_size = group_size
        if group_size > 1:
            # Sums only: the one multiplication in `_apply` also divides by the number of processes.
            self.sum_gradients = nn.DistributedGradReducer(self.weights, mean=False, degree=group_size)
            self.sum_terms = P.AllReduce()
        self.sums = ()
        if accumulation_steps > 1:
            self.sums = self.weights.clone(prefix="gradient_sum", init="zeros")

    def _apply(self, gradients):
        share = 1.0 / (self.loss_scale.scale * (self.accumulation_steps * self.group_size))
        if self.group_size > 1:
            # A NaN of any process reaches all: they skip the same steps.
            gradients = self.sum_gradients(gradients)
        norm = ops.sqrt(ops.addn(self.map(_square_sum, gradients))) * share
        finite = ops.isfinite(norm)
        factor = share
        if self.max_grad_norm > 0:
            factor = factor * ops.minimum(self.max_grad_norm / (norm + 1e-6), ms.Tensor(1.0, ms.float32))
        if finite:
            self.optimizer(self.map(ops.partial(_scaled, factor), gradients))
        return norm, finite, self.loss_scale(finite)

    def _over_group(self, terms):
        """Loss terms as the mean over the group's processes."""
        if self.group_size == 1:
            return terms
        total = self.sum_terms(ops.stack(terms)) / self.group_size
        means = ()
        for index in range(len(terms)):
            means += (total[index],)
        return means

    def construct(self, update, *batch):
        terms = self.loss_network(*batch)
        sens = (self.loss_scale.scale + 0.0,)
        for _ in terms[1:]:
            sens += (ms.Tensor(0.0, ms.float32),)
        gradients = self.gradient(self.loss_network, self.weights)(*batch, sens)
        if self.accumulation_steps > 1:
            self.map(_add_to, self.sums, gradients)
        if not update:
            norm = ops.sqrt(ops.addn(self.map(_square_sum, gradients))) / self.loss_scale.scale
            return self._over_group(terms), norm, ops.isfinite(norm), self.loss_scale.skipped_steps
        if self.accumulation_steps > 1:
            gradients = self.sums
        norm, finite, skipped = self._apply(gradients)
        if self.accumulation_steps > 1:
            self.map(_clear, self.sums)
        return self._over_group(terms), norm, finite, skipped
