"""Label texts with any model of this project: a checkpoint, a packed model, ONNX or MINDIR.

    python predict.py --model MODEL --text "a gripping film"
    python predict.py --model MODEL --text "first sentence" --text_pair "second sentence"
    python predict.py --model MODEL --question "who left?" --context "After an hour the cat left."
    python predict.py --model MODEL --file lines.txt
    cat lines.txt | python predict.py --model MODEL

Prints one line a text: label, probability (for a regression task the value), text, with tabs between them.
For a question: the answer, its first character in the text and the one after the last, its share of the
probability among the best answers; - for none.
"""

import sys

from src.data.dataset import Batches
from src.data.texts import encode_texts, read_texts
from src.data.tokenization import Tokenizer
from src.deploy.vocab_file import find_vocabulary
from src.errors import UserError, command
from src.evaluate import predict
from src.kinds.base import BERT_WINDOWS
from src.model import Model
from src.runtime import use_device
from src.settings.parsing import read_settings, required
from src.settings.tools import PredictConfig

LONGEST = 512
"""Tokens of a row where neither the model nor the user sets fewer."""


def longest_row(model, wanted):
    """Tokens of the longest row: what the user wants (0: as many as can be), as far as the model takes it."""
    positions = LONGEST if model.config.use_relative_positions else model.config.max_position_embeddings
    most = model.length or min(LONGEST, positions)
    return min(wanted or most, most)


@command
def main():
    """Settings, model, texts, answers."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8")
    settings = read_settings(PredictConfig)
    required(settings, "model")
    use_device("CPU")
    model = Model.load(settings.model)
    description = model.description
    if settings.vocab_file or not model.vocabulary:
        model.vocabulary = find_vocabulary(settings.model, description, settings.vocab_file)
    tokenizer = Tokenizer(model.vocabulary, model.lower_case)
    texts = read_texts(*settings.texts, settings.file)
    longest = longest_row(model, settings.max_seq_length)
    kind, threshold = description.kind, settings.null_score_diff_threshold
    kind = kind.at_threshold(threshold) if threshold else kind
    if settings.question is not False and not kind.needs_texts:
        raise UserError(
            f"question, context: {settings.model} is a {kind.name} model, it answers no questions"
        )
    examples, cut = encode_texts(texts, kind, tokenizer, longest, model.config.type_vocab_size)
    logits = predict(model, Batches(examples, min(settings.batch_size, len(texts))), "predict").logits
    answers = kind.answers(logits, examples, texts, description.label_names)
    for lines, row in zip(answers, texts):
        for columns in lines:
            print("\t".join([*columns, row.text, *([row.text_pair] if row.text_pair else [])]))
    if cut:
        longest = BERT_WINDOWS.max_query_length if kind.needs_texts else longest  # only questions are cut
        print(f"{cut} of {len(texts)} texts were longer than {longest} tokens and were cut", file=sys.stderr)


if __name__ == "__main__":
    main()
