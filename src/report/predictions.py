"""What a run's student answered to every evaluation row: `predictions.npz` of the run's folder, with the rows
and their right answers. NumPy reads it without pickle.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from src.errors import ZIP_FAULTS, UserError
from src.examples import Examples, Origin
from src.files import replacing
from src.json_file import parse
from src.kinds import kind_named
from src.kinds.base import TaskKind


@dataclass(frozen=True)
class Predictions:
    """Logits, and what they are compared with."""

    logits: np.ndarray
    """float32, a row for each of the examples, or for each of their tokens."""
    examples: Examples
    kind: TaskKind
    labels: tuple[str, ...]
    """Class names in index order."""

    def save(self, path: str) -> None:
        """Write the file, compressed; all its texts are UTF-8 JSON in the array `about`."""
        examples, origin = self.examples, self.examples.origin
        about = {"kind": self.kind.name, "labels": self.labels, "texts": origin.texts if origin else ()}
        arrays = {column.name: values for column, values in examples.columns.items()}
        if origin:
            arrays |= {"origin_rows": origin.rows, "origin_spans": origin.spans}
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(
                file,
                about=np.frombuffer(json.dumps(about).encode(), np.uint8),
                logits=self.logits,
                input_ids=examples.input_ids,
                segment_ids=examples.segment_ids,
                offsets=examples.offsets,
                **arrays,
            )

    @classmethod
    def load(cls, path: str) -> Predictions:
        """The content of the file.

        Raises:
            UserError: it is missing, damaged, or not of this program.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                about = parse(file["about"].tobytes())
                kind = kind_named(about["kind"], path)
                origin = None
                if kind.needs_texts or "origin_rows" in file:
                    texts = tuple(about["texts"])
                    origin = Origin(file["origin_rows"], file["origin_spans"], texts)
                rows = file["input_ids"], file["segment_ids"], file["offsets"]
                columns = {column: file[column.name] for column in kind.columns}
                return cls(file["logits"], Examples(*rows, columns, origin), kind, tuple(about["labels"]))
        except FileNotFoundError as error:
            raise UserError(f"{path} is not there") from error
        except (*ZIP_FAULTS, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged, or no answers of a run: {error}") from error
