"""The one train step: scale the loss, differentiate, check for overflow, clip, update."""

from collections.abc import Iterable

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops import composite as C

from src.nn.dropout import Draws
from src.nn.layers import NO_TENSORS, Tensors, square_sum
from src.runtime import run

Updated = tuple[Tensor, Tensor, Tensor]
"""Of a step: global gradient norm before clipping, whether it was finite, steps skipped so far."""
Outcome = tuple[list[Tensors], Tensor, Tensor, Tensor]
"""Of a step: the loss terms of each micro-batch, summed when they are read, then what `Updated` has."""

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
        value: the first scale. factor, window: as above; a window of 0 keeps the scale fixed.
    """

    def __init__(self, value: float = 1.0, factor: float = 2.0, window: int = 0):
        super().__init__()
        self.scale = ms.Parameter(ms.Tensor(value, ms.float32), name="loss_scale", requires_grad=False)
        self.clean_steps = ms.Parameter(ms.Tensor(0, ms.int32), name="clean_steps", requires_grad=False)
        self.skipped_steps = ms.Parameter(ms.Tensor(0, ms.int32), name="skipped_steps", requires_grad=False)
        self.factor = factor
        self.window = window
        self.in_use = value > 1.0 or window > 0  # it may make gradients overflow

    def construct(self, finite: Tensor) -> Tensor:
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


class Gradients(nn.Cell):
    """Loss terms of a micro-batch, and the scaled loss's gradient of every weight; `draws` are the `Draws` of
    its dropout, or None.
    """

    def __init__(
        self, loss_network: nn.Cell, weights: ms.ParameterTuple, loss_scale: LossScale, draws: Draws | None
    ):
        super().__init__(auto_prefix=False)
        self.drops = draws is not None
        if draws is not None:
            self.draws = draws
        self.loss_network = loss_network
        self.weights = weights
        self.loss_scale = loss_scale
        self.gradient = C.GradOperation(get_by_list=True, sens_param=True)

    def construct(self, *batch: Tensor) -> tuple[Tensors, Tensors]:
        terms = self.loss_network(*batch)
        sens = NO_TENSORS + (self.loss_scale.scale + 0.0,)
        for _ in terms[1:]:
            sens += (ms.Tensor(0.0, ms.float32),)
        gradients = self.gradient(self.loss_network, self.weights)(*batch, sens)
        if self.drops:
            self.draws()
        return terms, gradients


class Update(nn.Cell):
    """Sums over the group, overflow check, clipping and the optimizer.

    Clipping and unscaling are one multiplication of each gradient, and the global norm that clipping needs is
    also the overflow check: a NaN or infinity anywhere makes it non-finite.
    """

    def __init__(self, optimizer: nn.Optimizer, loss_scale: LossScale, max_grad_norm: float, group_size: int):
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.loss_scale = loss_scale
        self.max_grad_norm = max_grad_norm
        self.map = C.HyperMap()
        self.group_size = group_size
        if group_size > 1:
            self.sum_gradients = nn.DistributedGradReducer(
                optimizer.parameters, mean=False, degree=group_size
            )

    def construct(self, gradients: Tensors) -> Updated:
        share = 1.0 / self.loss_scale.scale
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


class OneGraph(nn.Cell):
    """A step of one micro-batch."""

    def __init__(self, gradients: Gradients, update: Update):
        super().__init__(auto_prefix=False)
        self.gradients = gradients
        self.update = update

    def construct(self, *batch: Tensor) -> tuple[Tensors, Updated]:
        terms, gradients = self.gradients(*batch)
        return terms, self.update(gradients)


class Accumulate(nn.Cell):
    """Adds a micro-batch's gradients to their sums."""

    def __init__(self, gradients: Gradients, sums: ms.ParameterTuple):
        super().__init__(auto_prefix=False)
        self.gradients = gradients
        self.sums = sums
        self.map = C.HyperMap()

    def construct(self, *batch: Tensor) -> Tensors:
        terms, gradients = self.gradients(*batch)
        self.map(_add_to, self.sums, gradients)
        return terms


class UpdateFromSums(nn.Cell):
    """The update of a step of several micro-batches; the sums are zero afterwards."""

    def __init__(self, update: Update, sums: ms.ParameterTuple):
        super().__init__(auto_prefix=False)
        self.update = update
        self.sums = sums
        self.map = C.HyperMap()

    def construct(self) -> Updated:
        outputs = self.update(self.sums)
        self.map(_clear, self.sums)
        return outputs


class TrainStep(nn.Cell):
    """One step of training.

    A loss network gives its share of a mean over the whole step, so the gradients of micro-batches and of
    processes that train together are added up.

    Args:
        loss_network: a micro-batch -> (loss, term, ...), float32 scalars.
        optimizer: updates its own parameters.
        loss_scale: multiplies the loss before differentiation.
        max_grad_norm: gradients are scaled down to this global L2 norm; 0 leaves them.
        several: a step has several micro-batches, whose gradients are added up in memory of their own.
        group_size: processes that train together.
        draws: what the masks of the loss network's dropout follow from; None where it has none.
    """

    def __init__(
        self,
        loss_network: nn.Cell,
        optimizer: nn.Optimizer,
        loss_scale: LossScale,
        max_grad_norm: float = 0.0,
        several: bool = False,
        group_size: int = 1,
        draws: Draws | None = None,
    ):
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.loss_scale = loss_scale
        self.gradients = Gradients(loss_network, optimizer.parameters, loss_scale, draws)
        self.update = Update(optimizer, loss_scale, max_grad_norm, group_size)
        self.one_graph = OneGraph(self.gradients, self.update)
        self.sums: ms.ParameterTuple | None = None
        self.accumulate: Accumulate | None = None
        self.several = several
        self.group_size = group_size

    def construct(self, *batch: Tensor) -> tuple[Tensors, Tensor, Tensor, Tensor]:
        """A step of one micro-batch, as one graph: what the data sink runs. Returns what `run` does."""
        terms, outcome = self.one_graph(*batch)
        return (terms,) + outcome

    def run(self, micro_batches: Iterable[Tensors]) -> Outcome:
        """One step of these inputs of the loss network."""
        if not self.several:
            micro_batches = list(micro_batches)
            if len(micro_batches) == 1:
                terms, outcome = self._call("train step", self.one_graph, *micro_batches[0])
                return ([terms], *outcome)
        if self.sums is None:
            self._make_sums()
        terms = [self._call("micro-batch", self.accumulate, *batch) for batch in micro_batches]
        return (terms, *run("update", self.update_from_sums))

    def _call(self, title, cell, *batch):
        rows, tokens = batch[0].shape
        return run(f"{title}, {rows} x {tokens}", cell, *batch)

    def _make_sums(self):
        self.sums = self.optimizer.parameters.clone(prefix="gradient_sum", init="zeros")
        self.accumulate = Accumulate(self.gradients, self.sums)
        self.update_from_sums = UpdateFromSums(self.update, self.sums)
        self.set_train(self.training)

    def own_terms(self, terms: list[Tensors]) -> list[list[float]]:
        """A step's loss terms of each micro-batch of this process."""
        return [[float(term.asnumpy()) for term in part] for part in terms]

    def read_terms(self, terms: list[Tensors]) -> list[float]:
        """The sums of a step's loss terms over its micro-batches and the group."""
        sums = np.sum(self.own_terms(terms), axis=0)
        if self.group_size > 1:
            sums = ops.AllReduce()(ms.Tensor(sums, ms.float32)).asnumpy()
        return sums.tolist()
