"""A word-embedding table without the rows that the data do not use, for as long as a stage trains."""

import mindspore as ms
import numpy as np

from src.nn.layers import Embedding


class OccurringRows:
    """Keeps of an `Embedding` only the rows that some tokens look up.

    No other row has a gradient, so Adam moves none and weight decay shrinks them all by one factor: there is
    no need to carry their gradients and moments along, which are most of a small network's. The table ends
    with a row of ones that nothing looks up; it is what the factor has become, rounding included.

    Args:
        table: its rows must be looked up one by one (`Embedding.by_itself`).
        token_ids: int, sorted, each once, 0 among them: the first row stays padding's.
    """

    def __init__(self, table: Embedding, token_ids: np.ndarray):
        self.table, self.token_ids = table, token_ids
        self.all = table.weight.asnumpy()  # (vocabulary, width)
        places = np.zeros(len(self.all), np.int32)
        places[token_ids] = np.arange(len(token_ids))
        kept = np.concatenate([self.all[token_ids], np.ones_like(self.all[:1])])
        table.weight = ms.Parameter(kept, name=table.weight.name)
        table.places = ms.Parameter(places, name=f"{table.weight.name}.places", requires_grad=False)

    def values(self) -> np.ndarray:
        """The whole table as it would be now, float32 (vocabulary, width)."""
        kept = self.table.weight.asnumpy()
        values = self.all * kept[-1, 0]
        values[self.token_ids] = kept[:-1]
        return values

    def undo(self) -> None:
        """Give the table all its rows back."""
        self.table.weight = ms.Parameter(self.values(), name=self.table.weight.name)
        del self.table.places
        self.table.places = None
