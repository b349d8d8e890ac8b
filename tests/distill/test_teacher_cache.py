"""Cached teacher logits."""

import numpy as np

from src.distill.teacher_cache import with_logits
from tests.helpers import as_model, make_examples, tiny_network, weights_of
from tests.numpy_bert import NumpyBert


def test_cached_logits_are_in_the_rows_own_order():
    teacher, examples = tiny_network(1, num_hidden_layers=1), make_examples(13, 20)
    columns = with_logits(as_model(teacher), examples, 4, (8, 16), True).columns
    (found,) = [values for column, values in columns.items() if column.name == "teacher_logits"]
    reference = NumpyBert(weights_of(teacher), teacher.config)
    assert found.shape == (13, 3) and found.dtype == np.float32
    for row in range(13):
        part = slice(*examples.offsets[row : row + 2])
        ids = examples.input_ids[part]
        np.testing.assert_allclose(
            found[row], reference.row(ids, np.ones(len(ids)), examples.segment_ids[part])[0], atol=1e-4
        )
