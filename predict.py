"""Label texts with any model of this project: a checkpoint, a packed model, ONNX or MINDIR.

    python predict.py --model MODEL --text "a gripping film"
    python predict.py --model MODEL --text "first sentence" --text_pair "second sentence"
    python predict.py --model MODEL --file lines.txt
    cat lines.txt | python predict.py --model MODEL

Prints one line a text: label, probability (for a regression task the value), text, with tabs between them.
"""

import os
import sys

import numpy as np

from src import checkpoint as checkpoints
from src.data.dataset import Batches
from src.data.records import Examples, offsets_of
from src.data.tokenization import Tokenizer
from src.deploy.sessions import open_exported
from src.errors import UserError, command
from src.evaluate import predict
from src.settings.parsing import read_settings, required
from src.settings.tools import PredictConfig
from src.vocabulary import is_lower_case, read_vocabulary, vocabulary_hash


def open_model(path):
    """(network or session, description, length): what `predict` runs, the content of config.json, the longest
    row or None.
    """
    if path.endswith((".onnx", ".mindir")):
        model = open_exported(path)
        return model, checkpoints.Checkpoint({}, model.metadata, None, path), model.length
    from src.nn.heads import Logits
    from src.nn.loading import bert_config, load_model, task_network, without_dropout
    from src.runtime import use_device

    use_device("CPU")
    exported = os.path.isfile(os.path.join(path, "model.safetensors"))  # a Hugging Face folder
    checkpoint = checkpoints.read_any(path).checkpoint if exported else load_model(path)
    return Logits(task_network(checkpoint, without_dropout(bert_config(checkpoint)))), checkpoint, None


def find_vocabulary(settings, checkpoint):
    """The model's own vocabulary; its hash is checked."""
    path = settings.vocab_file
    if not path and checkpoint.vocabulary:
        return list(checkpoint.vocabulary)
    path = path or os.path.join(os.path.dirname(os.path.abspath(settings.model)), checkpoints.VOCABULARY_FILE)
    if not os.path.isfile(path):
        raise UserError(
            f"vocab_file: {path} does not exist; give the vocabulary the model was trained with: "
            "--vocab_file VOCAB_FILE"
        )
    vocabulary = read_vocabulary(path)
    known = checkpoint.config.get("vocab_sha256")
    if known and known != vocabulary_hash(vocabulary):
        raise UserError(
            f"vocab_file: {path} is not the vocabulary the model was trained with (their hashes differ)"
        )
    if len(vocabulary) > checkpoint.config["vocab_size"]:
        raise UserError(
            f"vocab_file: {path} has {len(vocabulary)} tokens, more than the "
            f"{checkpoint.config['vocab_size']} the model knows"
        )
    return vocabulary


def read_texts(settings):
    """[(text, second text or None)] from the flags, the file or standard input.

    Raises:
        UserError: no text, an empty one, or a file that cannot be read.
    """
    if settings.text is not False and settings.file:
        raise UserError("text, file: give only one of them")
    if settings.text is not False:
        return [_checked(settings.text, None if settings.text_pair is False else settings.text_pair, "text")]
    if settings.text_pair is not False:
        raise UserError("text_pair: needs a text before it: give --text")
    where = settings.file or "standard input"
    if not settings.file and sys.stdin is None:
        raise UserError("text is needed: give --text or --file; standard input is closed")
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
    try:
        with open(settings.file, encoding="utf-8-sig") if settings.file else sys.stdin as file:
            lines = [line.rstrip("\r\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"file: {where} cannot be read as UTF-8 text: {error}") from error
    if not lines:
        raise UserError(
            f"{where} holds no text"
            if settings.file
            else "text is needed: give --text, --file, or lines on standard input"
        )
    return [
        _checked(*(line.split("\t", 1) + [None])[:2], f"line {number} of {where}")
        for number, line in enumerate(lines, 1)
    ]


def _checked(text, pair, where):
    try:
        (text + (pair or "")).encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(f"{where} is not UTF-8 text") from error
    if not text.strip() or pair is not None and not pair.strip():
        raise UserError(f"{where} is empty; every text needs at least one word")
    return text, pair


def encode(tokenizer, texts, longest, segment_types):
    """The texts' `Examples`, cut to `longest` tokens, and how many had to be cut."""
    for number, text in enumerate(texts, 1):
        if not all(tokenizer.token_ids([part for part in text if part is not None])):
            raise UserError(f"text {number} holds no word, only characters that BERT's tokenizer leaves out")
    pairs = [pair for _, pair in texts]
    ids, segments, lengths, cut = tokenizer.encode_flat(
        [text for text, _ in texts], pairs if any(pairs) else None, longest
    )
    return Examples(
        ids, segments if segment_types > 1 else np.zeros_like(segments), offsets_of(lengths), None
    ), cut


def answers(logits, checkpoint):
    """[(label, probability)], or [(value, None)] of a regression."""
    if checkpoint.config["problem_type"] == "regression":
        return [(f"{value:.4f}", None) for value in logits[:, 0]]
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    names = checkpoint.labels or [f"LABEL_{index}" for index in range(logits.shape[1])]
    return [(names[best], float(row[best])) for best, row in zip(probabilities.argmax(axis=1), probabilities)]


@command
def main():
    """Settings, model, texts, answers."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")
    settings = read_settings(PredictConfig)
    required(settings, "model")
    model, checkpoint, fixed_length = open_model(settings.model)
    vocabulary = find_vocabulary(settings, checkpoint)
    tokenizer = Tokenizer(vocabulary, checkpoint.config.get("do_lower_case", is_lower_case(vocabulary)))
    texts = read_texts(settings)
    most = fixed_length or (
        512
        if checkpoint.config["use_relative_positions"]
        else min(512, checkpoint.config["max_position_embeddings"])
    )
    longest = min(settings.max_seq_length or most, most)
    examples, cut = encode(tokenizer, texts, longest, checkpoint.config["type_vocab_size"])
    logits = predict(model, Batches(examples, min(settings.batch_size, len(texts))), "predict").logits
    for (label, probability), (text, pair) in zip(answers(logits, checkpoint), texts):
        print(
            "\t".join(
                [
                    label,
                    *([f"{probability:.4f}"] if probability is not None else []),
                    text,
                    *([pair] if pair else []),
                ]
            )
        )
    if cut:
        print(f"{cut} of {len(texts)} texts were longer than {longest} tokens and were cut", file=sys.stderr)


if __name__ == "__main__":
    main()
