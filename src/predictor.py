"""A model that answers texts: where it runs, how long a row may be, how rows are put into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from src.data.dataset import Batches, rows_to_evaluate
from src.data.pool import available_cores
from src.data.test_sets import Reader, read_test_sets
from src.data.tokenization import Tokenizer
from src.deploy.sessions import EXPORTED_ENDINGS
from src.deploy.vocab_file import vocabulary_beside
from src.evaluate import predict
from src.metrics import check_finite
from src.model import Model
from src.runtime import compute_type, set_up
from src.settings.network import Known
from src.settings.shared import DeviceConfig, PackingConfig
from src.submission import write_predictions
from src.terminal import say

if TYPE_CHECKING:
    from src.examples import Examples
    from src.tasks import Task


@dataclass(frozen=True)
class Predictor:
    """A `Model` with its vocabulary, on its device."""

    model: Model
    device: str
    batch_size: int
    """Rows of a padded batch."""
    config: PackingConfig

    @classmethod
    def load(
        cls, path: str, known: Known, device: DeviceConfig, batch_size: int, config: PackingConfig
    ) -> Predictor:
        """Any model that `Model.load` reads; an exported file runs on the CPU unless a device is named.

        Args:
            path (str): the model. known (Known): what the user says of it, its vocabulary included.
            device (DeviceConfig): where to run. batch_size (int), config (PackingConfig): as the fields.
        """
        if path.endswith(EXPORTED_ENDINGS):
            name: str = "CPU" if device.device_target == "auto" else device.device_target
            model = Model.load(path, device=name, device_id=device.device_id)
        else:
            name = set_up(device, seed=0)
            model = Model.load(path, compute_type("auto", name), known=known)
        if known.vocab_file or not model.vocabulary:
            model.vocabulary = vocabulary_beside(path, model.description, known.vocab_file)
        return cls(model, name, model.batch_size or batch_size, config)

    @property
    def tokenizer(self) -> Tokenizer:
        """The `Tokenizer` of its texts."""
        return Tokenizer(self._vocabulary, self.model.lower_case, self.model.description.strip_accents)

    @property
    def _vocabulary(self) -> Sequence[str]:
        assert self.model.vocabulary is not None  # `load` has found one
        return self.model.vocabulary

    def longest_row(self, wanted: int = 0) -> int:
        """Tokens of the longest row: those wanted (0: as many as can be), as far as the model takes them."""
        most = self.model.length or self.model.description.longest_row
        return min(wanted or most, most)

    def logits(self, examples: Examples, title: str = "predict") -> np.ndarray:
        """The logits of `Examples`, in their order; `title` is the progress bar's. A model with one type of
        token reads a second text as it does a first.

        Raises:
            UserError: one of them is no finite number.
        """
        if self.model.config.type_vocab_size == 1:
            examples = replace(examples, segment_ids=np.zeros_like(examples.segment_ids))
        logits = predict(self.model, self._batches(examples), title).logits
        check_finite(logits)
        return logits

    def _batches(self, examples):
        """The rows in batches of few shapes, whatever their number and lengths: graphs are kept by shape."""
        size, rows = self.batch_size, len(examples)
        if rows > size:
            packs = self.model.packs(self.config, self.device)
            return rows_to_evaluate(examples, size, self.config, packs)
        size = min(size, 1 << (rows - 1).bit_length())
        return Batches(examples, size, self.config.bucket_boundaries, longest=self.longest_row())

    def answer_test_sets(
        self,
        task: Task,
        folder: str,
        split: str,
        wanted: int,
        num_workers: int,
        dataset_type: str,
        output_dir: str,
        layout: str = "benchmark",
    ) -> Iterator[tuple[dict[str, Any], str]]:
        """Write the predictions for every row of a task's test sets; yields of each what there is to know of
        it as JSON has it, and a line about it.

        Args:
            wanted (int): tokens of the longest row of raw files; 0: the task's own.
            num_workers (int): processes that tokenize these; 0: one for every core.
            output_dir (str): takes the files. layout (str): as for `write_predictions`.
            task, folder, split, dataset_type: as for `read_test_sets`.
        """
        description, longest = self.model.description, self.longest_row(wanted or task.max_seq_length)
        workers = num_workers or available_cores()
        written = self.model.lower_case, longest, workers, description.strip_accents
        reader = Reader(tuple(self._vocabulary), *written)
        sets = read_test_sets(task, folder, split, description, reader, dataset_type)
        if note := description.assumed_labels(sets[0].labels):
            say(note)
        for rows in sets:
            logits = self.logits(rows.examples, f"predict {rows.split}")
            paths = write_predictions(output_dir, task, description, rows, logits, layout)
            cut = f" ({rows.cut} were longer than {longest} tokens and were cut)" if rows.cut else ""
            facts = {"split": rows.split, "rows": len(rows.names), "cut": rows.cut, "files": paths}
            yield facts, f"{rows.split}: {len(rows.names)} rows answered in {', '.join(paths)}{cut}"
