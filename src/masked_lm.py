"""A masked-language model, and the augmentation that asks it for words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import mindspore as ms
import numpy as np

from src import runtime
from src.checkpoint.assign import assign
from src.checkpoint.folder import digest
from src.checkpoint.formats import read_any
from src.data.augment.augmenter import Augmentation, Augmenter, AugmentRecipe
from src.data.augment.vectors import WordVectors
from src.data.tokenization import Tokenizer
from src.errors import UserError
from src.nn.heads import BertForMaskedLM
from src.vocabulary import vocabulary_hash

if TYPE_CHECKING:
    from src.data.prepare import Options
    from src.settings.shared import DeviceConfig
    from src.settings.tools import AugmentConfig


class MaskedLanguageModel:
    """Called with input_ids and input_mask, int32 (B, S), and places, int32 (B,), it gives the logits of the
    tokens at these places, float32 (B, V).

    Args:
        network (BertForMaskedLM): it never trains. identity (str): tells its weights from others.
    """

    def __init__(self, network: BertForMaskedLM, identity: str = ""):
        self.network, self.identity = network, identity
        network.set_train(False)

    @classmethod
    def load(cls, path: str, device: DeviceConfig, vocabulary: Sequence[str]) -> MaskedLanguageModel:
        """The one that `--augment` names, on a device.

        Args:
            path (str): as of `read_any`. device (DeviceConfig).
            vocabulary (sequence of str): of the data, which must be its own.

        Raises:
            UserError: it has no such head or another vocabulary, or is no BERT at all.
        """
        if "[MASK]" not in vocabulary:
            raise UserError("vocab_file: the vocabulary has no [MASK], which a masked-language model needs")
        checkpoint = _read(path)
        own = checkpoint.vocabulary
        if own is None or vocabulary_hash(own) != vocabulary_hash(vocabulary):
            raise UserError(
                f"augment: {path} has {'no vocab.txt' if own is None else 'another vocabulary'}; it must "
                "have the one of vocab_file, for both read the same tokens"
            )
        compute_type = runtime.compute_type("auto", runtime.set_up(device, 0))
        network = BertForMaskedLM(checkpoint.description.frozen().bert, compute_type)
        # Google's files have a pooler, which nothing here reads.
        assign(network, checkpoint.weights, path, allow_unexpected=("bert.pooler.", "classifier."))
        return cls(network, digest(checkpoint.weights, str(checkpoint.description.bert)))

    @property
    def longest(self) -> int:
        """Tokens of the longest row it reads."""
        return self.network.config.max_position_embeddings

    def __call__(self, input_ids: np.ndarray, input_mask: np.ndarray, places: np.ndarray) -> np.ndarray:
        rows, tokens = input_ids.shape
        # Not in the graph, where the compiler of fused kernels fails on it.
        among_all = np.arange(rows, dtype=np.int32) * tokens + places
        columns = (input_ids, input_mask, np.zeros_like(input_ids), among_all)
        title = f"masked-language model, {rows} x {tokens}"
        return runtime.run(title, self.network, *(ms.Tensor(column) for column in columns)).asnumpy()


def _read(path):
    """The `Checkpoint` of a masked-language model."""
    if not os.path.exists(path) and not os.path.exists(path + ".index"):
        raise UserError(f"augment: {path} does not exist")
    try:
        checkpoint = read_any(path, masked_lm=True).checkpoint
    except UserError as error:
        raise UserError(f"augment: {error}") from error
    if "predictions.bias" not in checkpoint.weights:
        raise UserError(
            f"augment: {path} has no masked-language head (cls.predictions); give a pre-trained BERT with "
            "one, such as bert-base-uncased, as Hugging Face or Google's TensorFlow code saved it"
        )
    return checkpoint


def load_augmentation(
    config: AugmentConfig, seed: int, options: Options, max_seq_length: int
) -> Augmentation:
    """The `Augmentation` that settings describe.

    Args:
        config (AugmentConfig). seed (int): of every random choice.
        options (Options): of the records. max_seq_length (int): of their rows, in tokens.

    Raises:
        UserError: the model or the vectors cannot be used.
    """
    vectors = WordVectors.read(config.augment_vectors) if config.augment_vectors else None
    model = MaskedLanguageModel.load(config.augment, config, options.vocabulary)
    # jsonargparse's range-checked numbers are classes of their own.
    recipe = AugmentRecipe(
        int(config.augment_copies),
        float(config.augment_probability),
        int(config.augment_candidates),
        int(seed),
    )
    longest = min(max_seq_length, model.longest)
    tokenizer = Tokenizer(options.vocabulary, options.lower_case, options.strip_accents)
    augmenter = Augmenter(tokenizer, model, options.vocabulary, longest, vectors, recipe)
    identity = {
        "augment": model.identity,
        "augment_vectors": vectors.identity if vectors else "",
        "longest": longest,
        **asdict(recipe),
    }
    return Augmentation(augmenter, identity)
