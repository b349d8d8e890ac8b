"""Label texts with any model of this project: a checkpoint, a packed model, ONNX or MINDIR.

    python predict.py --model MODEL --text "a gripping film"
    python predict.py --model MODEL --text "first sentence" --text_pair "second sentence"
    python predict.py --model MODEL --question "who left?" --context "After an hour the cat left."
    python predict.py --model MODEL --file lines.txt
    cat lines.txt | python predict.py --model MODEL
    python predict.py --model MODEL --task_name MNLI --data_dir RAW_OR_RECORDS --split test --output_dir DIR

Prints one line a text: label, probability (for a regression task the value), text, with tabs between them.
For a question: the answer, its first character in the text and the one after the last, its share of the
probability among the best answers; - for none. With --json true an object a line, for scripts.
The last form writes the predictions for a task's test sets as its benchmark asks for them.
"""

import contextlib
import sys
from dataclasses import replace

from src.data.texts import encode_texts, read_texts
from src.errors import UserError, command
from src.kinds.base import BERT_WINDOWS
from src.predictor import Predictor
from src.settings.parsing import part, read_settings, required
from src.settings.shared import DeviceConfig, PackingConfig
from src.settings.tools import PredictConfig
from src.tasks import get_task, task_folder
from src.terminal import result


def load(settings: PredictConfig, few: bool = False) -> Predictor:
    """The `Predictor` that the settings name; `few`: for so few rows that fusing would cost more than it
    saves.
    """
    device, packing = part(settings, DeviceConfig), part(settings, PackingConfig)
    if few and device.enable_graph_kernel == "auto":
        device = replace(device, enable_graph_kernel=False)
    kind = get_task(settings.task_name).kind if settings.task_name else None
    predictor = Predictor.load(settings.model, settings.known(kind), device, settings.batch_size, packing)
    description = predictor.model.description
    predictor.model.description = description.at_threshold(settings.null_score_diff_threshold)
    return predictor


def label_texts(settings: PredictConfig) -> None:
    """Print the answers to the texts of the command line, a file or standard input."""
    with contextlib.redirect_stdout(sys.stderr):  # what is said meanwhile is no answer
        text, text_pair = settings.texts
        texts = read_texts(text, text_pair, settings.file)
        predictor = load(settings, few=len(texts) <= settings.batch_size)
        description = predictor.model.description
        kind = description.head_kind
        if settings.question is not False and not kind.needs_texts:
            raise UserError(
                f"question, context: {settings.model} is a {kind.name} model, it answers no questions"
            )
        longest = predictor.longest_row(settings.max_seq_length)
        examples, cut = encode_texts(texts, kind, predictor.tokenizer, longest)
        logits = predictor.logits(examples)
    names = ("question", "context") if kind.needs_texts else ("text", "text_pair")
    for outcome, row in zip(kind.outcomes(logits, examples, texts, description.label_names), texts):
        given = {name: text for name, text in zip(names, (row.text, row.text_pair)) if text}
        plain = [" ".join(text.split()) for text in given.values()]
        lines = ["\t".join([*columns, *plain]) for columns in kind.columns_of(outcome)]
        result({**given, **outcome}, "\n".join(lines))
    if cut:
        longest = BERT_WINDOWS.max_query_length if kind.needs_texts else longest  # only questions are cut
        print(f"{cut} of {len(texts)} texts were longer than {longest} tokens and were cut", file=sys.stderr)


def answer_test_sets(settings: PredictConfig) -> None:
    """Write the predictions for every row of a task's test sets."""
    required(settings, "output_dir")
    given = settings.text, settings.text_pair, settings.question, settings.context
    if settings.file or any(text is not False for text in given):
        raise UserError("data_dir: give either it, or a text, a question or a file")
    predictor = load(settings)
    name = settings.task_name or predictor.model.description.task_name
    if not name:
        raise UserError(f"task_name: {settings.model} does not say of which task it is; give --task_name")
    task = get_task(name)
    asked = task, task_folder(settings.data_dir, task), settings.split
    reading = settings.max_seq_length, settings.num_workers, settings.dataset_type
    for facts, line in predictor.answer_test_sets(*asked, *reading, settings.output_dir, settings.layout):
        result(facts, line)


@command
def main() -> None:
    """Settings, then texts or test sets."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    settings = read_settings(PredictConfig)
    required(settings, "model")
    (answer_test_sets if settings.data_dir else label_texts)(settings)


if __name__ == "__main__":
    main()
