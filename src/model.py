"""A model: a network or an exported file, with its description and its vocabulary."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import mindspore as ms
import numpy as np

from src import runtime
from src.checkpoint import folder as checkpoints
from src.checkpoint.assign import assign
from src.checkpoint.formats import read_any
from src.checkpoint.names import WORD_EMBEDDINGS
from src.checkpoint.packed import load_packed
from src.deploy.sessions import EXPORTED_ENDINGS, open_exported
from src.errors import UserError
from src.nn.heads import HEADS, BertEncoder, Logits
from src.nn.narrow import OccurringRows
from src.quant.quantizers import MovingAverageRange
from src.settings.network import NOTHING, BertConfig, Known
from src.terminal import say
from src.vocabulary import is_lower_case

if TYPE_CHECKING:
    from src.checkpoint.folder import Checkpoint
    from src.checkpoint.formats import Imported
    from src.deploy.sessions import MindirSession, OnnxSession
    from src.description import Description
    from src.settings.shared import PackingConfig

NO_HEAD = ("classifier.", "fit_dense.")
"""How the names of weights begin that an encoder has no place for: a task's head, distillation's
projection.
"""
POOLER = "bert.pooler."
"""How the names of the pooler's weights begin: a head that answers for tokens has no place for them, others
have.
"""
WORD_PLACES = "bert.embeddings.word_embeddings.places"
"""Of the parameter that `OccurringRows` adds to a network."""


class Model:
    """What is distilled, evaluated, saved and exported.

    Args:
        description (Description): what the model says of itself.
        network (Cell or exported session): one of the `HEADS`, a `BertEncoder`, or what `open_exported`
            gives.
        vocabulary (sequence of str): its tokens in id order, or None where unknown.
    """

    def __init__(
        self,
        description: Description,
        network: ms.nn.Cell | OnnxSession | MindirSession,
        vocabulary: Sequence[str] | None = None,
    ):
        self.description = description
        self.network: Any = network  # most of what is asked of it a Cell alone has
        self.vocabulary = vocabulary
        self._logits: Logits | None = None
        self._narrowed: OccurringRows | None = None

    # --- where a model comes from ---------------------------------------------------------------------------

    @classmethod
    def load(
        cls,
        path: str,
        compute_type: ms.Type = ms.float32,
        device: str = "CPU",
        device_id: int = 0,
        threads: int = 0,
        known: Known = NOTHING,
    ) -> Model:
        """Any model to run: an .onnx or .mindir file, a .ckpt file, a folder, packed and other programs' too.

        Args:
            compute_type (mindspore.dtype): of a network's matrix products.
            device (str), device_id (int), threads (int): of an exported file's session.
            known (Known): what the user says of another program's checkpoint.

        Raises:
            UserError: nothing lies there, or it is damaged or no model for a task.
        """
        if path.endswith(EXPORTED_ENDINGS):
            session = open_exported(path, device, device_id, threads)
            known.net.check(session.description.bert, known.section, path)
            return cls(session.description, session)
        return cls.from_checkpoint(read(path, known), compute_type)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        compute_type: ms.Type = ms.float32,
        description: Description | None = None,
    ) -> Model:
        """The frozen network of a `Checkpoint` of a task; `description` where it runs otherwise than it says.

        Raises:
            UserError: it has no head, its weights do not fit, or a range of its quantizers was never
                calibrated.
        """
        description = (description or checkpoint.description).frozen()
        if description.kind is None:
            raise UserError(
                f"{checkpoint.source} is an encoder without a classifier; fine-tune it first: "
                f"python run_finetune.py --load_ckpt_path {checkpoint.source}"
            )
        model = cls(description, new_network(description, compute_type), checkpoint.vocabulary)
        assign(model.network, checkpoint.weights, checkpoint.source, allow_unexpected=("fit_dense.",))
        if model.uncalibrated_ranges():
            raise UserError(
                f"{checkpoint.source}: the activation range of {model.uncalibrated_ranges()[0]} was never "
                "calibrated; train it past ema_start_step first"
            )
        return model

    @classmethod
    def encoder(
        cls,
        checkpoint: Checkpoint,
        compute_type: ms.Type = ms.float32,
        description: Description | None = None,
    ) -> Model:
        """The frozen network without a head of any `Checkpoint`; `description` as in `from_checkpoint`."""
        description = (description or checkpoint.description).frozen().without_head()
        model = cls(description, new_network(description, compute_type), checkpoint.vocabulary)
        assign(model.network, checkpoint.weights, checkpoint.source, (POOLER,), allow_unexpected=NO_HEAD)
        return model

    # --- what it is -----------------------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """Where it was read from, for messages."""
        return self.description.source

    @property
    def config(self) -> BertConfig:
        """The `BertConfig`."""
        return self.description.bert

    @property
    def lower_case(self) -> bool:
        """Whether its text is lower-cased: as it says, else as its vocabulary is."""
        said = self.description.do_lower_case
        if said is not None:
            return said
        assert self.vocabulary is not None  # who reads texts has one
        return is_lower_case(self.vocabulary)

    @property
    def parameters(self) -> int:
        """Number of weights of its network; what quantizers remember is not counted."""
        names = self.network.parameters_and_names()
        return sum(item.size for name, item in names if not name.endswith(checkpoints.QUANTIZER_STATE))

    @property
    def summary(self) -> str:
        """How large it is, in words."""
        return f"{self.parameters:,} parameters, {self.description.bert.num_hidden_layers} layers"

    def packs(self, config: PackingConfig, device: str) -> bool:
        """Whether rows share the rows of a batch where it runs: as a `PackingConfig` says for the device, but
        for exported files and quantizers with a scale for each head of a text, which then compute otherwise.
        """
        quantization = self.description.quantization
        by_head = quantization is not None and quantization.activation_granularity == "head"
        return config.packs(device) and isinstance(self.network, ms.nn.Cell) and not by_head

    @property
    def batch_size(self) -> int | None:
        """Rows a call takes; None: any number."""
        return getattr(self.network, "batch_size", None)

    @property
    def length(self) -> int | None:
        """Tokens of the longest row an exported file takes; None: as many as there are positions."""
        return getattr(self.network, "length", None)

    def uncalibrated_ranges(self) -> list[str]:
        """Names of the moving-average ranges that no training step has set."""
        cells = self.network.cells_and_names()
        return [
            name for name, cell in cells if isinstance(cell, MovingAverageRange) and not cell.calibrated()
        ]

    # --- what it does ---------------------------------------------------------------------------------------

    def __call__(self, *columns: np.ndarray) -> np.ndarray:
        """Logits, float32 (B, C), or (B, S, C) of a head that answers for tokens, of input_ids, input_mask,
        segment_ids: int32 NumPy arrays (B, S); or of all five inputs of a `MicroBatch`.
        """
        if not isinstance(self.network, ms.nn.Cell):
            return self.network(*columns)
        cell, inputs = self._cell(), [ms.Tensor(column) for column in columns]
        if ms.get_context("mode") == ms.PYNATIVE_MODE:  # within `eager`: there is no graph to compile
            return cell(*inputs).asnumpy()
        rows, tokens = columns[0].shape
        return runtime.run(f"evaluation, {rows} x {tokens}", cell, *inputs).asnumpy()

    def _cell(self):
        if self._logits is None:  # one cell for all calls: a new one would be compiled anew
            self._logits = Logits(self.network)
        return self._logits

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """While this lasts, dropout is off."""
        if not isinstance(self.network, ms.nn.Cell):
            yield
            return
        training = self.network.training
        self._cell().set_train(False)
        try:
            yield
        finally:
            self.network.set_train(training)

    def release(self) -> None:
        """Let go of the graphs that evaluation has compiled, and of their memory."""
        self._logits = None

    def narrow(self, token_ids: np.ndarray) -> None:
        """Train only these rows of the word embeddings from now on, until `widen`: the tokens of the data,
        sorted, 0 among them. Quantizers that look at several rows keep them all.
        """
        table = self.network.bert.embeddings.word_embeddings
        if table.by_itself and len(token_ids) + 1 < len(table.weight):
            self._narrowed = OccurringRows(table, token_ids)
            self.release()

    def widen(self) -> None:
        """Have all rows of the word embeddings again."""
        if self._narrowed:
            self._narrowed.undo()
            self._narrowed = None
            self.release()

    def weights(self) -> dict[str, np.ndarray]:
        """{name: float32 array} of its network, what quantizers remember included."""
        weights = {name: item.asnumpy() for name, item in self.network.parameters_and_names()}
        if self._narrowed:
            weights[WORD_EMBEDDINGS] = self._narrowed.values()
            del weights[WORD_PLACES]
        return weights

    def restore(self, folder: str) -> None:
        """Take the weights that were saved in `folder` back into the network; others there are left aside."""
        assign(self.network, checkpoints.load(folder).weights, folder, allow_unexpected=("fit_dense.",))

    def save(
        self, folder: str, name: str = checkpoints.WEIGHTS_FILE, further: dict[str, np.ndarray] | None = None
    ) -> None:
        """Write its folder: weights (as the file `name`), config.json, vocab.txt; `further` weights beside
        them.
        """
        weights = {**self.weights(), **(further or {})}
        checkpoints.save(folder, weights, self.description, self.vocabulary, name)


def read(path: str, known: Known = NOTHING) -> Checkpoint:
    """The `Checkpoint` to run that a path means: a packed model where it is named or no .ckpt lies beside it,
    else as `read_any` finds it; `known` (Known): what the user says of it, which must not contradict it.
    """
    packed = checkpoints.packed_folder(path)
    if not packed:
        return read_as_run(path, known)[0]
    checkpoint = load_packed(packed)
    known.net.check(checkpoint.description.bert, known.section, path)
    return checkpoint


def read_as_run(path: str, known: Known, free: tuple[str, ...] = ()) -> tuple[Checkpoint, BertConfig]:
    """(`Checkpoint` with float32 weights, its `BertConfig` as this run has it).

    Args:
        known (Known): the run's own settings for its network, which must not contradict it, but for run's
            choices and the keys that are `free`.
    """
    found = _read_float(path, known)
    net, own = known.net, found.checkpoint.description.bert
    if net.hidden_act == "gelu" and found.gelu == own.hidden_act:
        net = replace(net, hidden_act=None)  # in the words of the program that wrote it
    return found.checkpoint, net.check(own, known.section, path, free)


def _read_float(path: str, known: Known) -> Imported:
    """The `Imported` of float32 weights; where they are another program's, a line says so."""
    found = read_any(path, known)
    if found.file_format != "ours":
        say(found.summary)
    return found


def new_network(description: Description, compute_type: ms.Type = ms.float32) -> ms.nn.Cell:
    """The network that a `Description` describes, with random weights."""
    if description.kind is None:
        return BertEncoder(description.bert, compute_type)
    return HEADS[description.kind.logits_per](
        description.bert, description.outputs, compute_type, description.quantization
    )


def layer_weights(weights: dict[str, np.ndarray], layers: Iterable[int]) -> dict[str, np.ndarray]:
    """`weights` with only the encoder layers of these numbers, renumbered from 0 in the given order."""
    prefix = "bert.encoder.layers."
    kept = {name: value for name, value in weights.items() if not name.startswith(prefix)}
    for new, old in enumerate(layers):
        before = f"{prefix}{old}."
        layer = {name: value for name, value in weights.items() if name.startswith(before)}
        kept.update({f"{prefix}{new}.{name.removeprefix(before)}": value for name, value in layer.items()})
    return kept
