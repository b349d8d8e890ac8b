"""SQuAD's raw files with more texts in the training set, which a teacher can answer for a student.

    python benchmarks/more_questions.py --squad_dir SQUAD_DIR --texts FILE ... --output_dir RAW_DIR

A student of few questions learns them by heart. Distillation needs no right answers, so any text of the same
kind is worth training on: each gets the training question that shares its rare words (tf-idf). FILEs are laid
out as WikiText's: a paragraph a line, words and marks apart. The answer written for a text, its first word,
means nothing: train without labels, as ternary_config.yaml does.
"""

import argparse
import os
import re
import shutil
import sys

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from src.errors import UserError, command  # noqa: E402
from src.files import write_json  # noqa: E402
from src.json_file import read_json  # noqa: E402

LONGEST, SHORTEST = 130, 40
"""Words of a text. Sentences stay whole; one that is longer is a text of its own."""


def sentences(line):
    """Of a line of WikiText, whose words stand apart and whose rare ones are <unk>."""
    for mark, plain in ((" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", "."), ("<unk>", "")):
        line = line.replace(mark, plain)
    return [" ".join(sentence.split()) for sentence in re.split(r"(?<= [.?!]) ", line.strip())]


def pieces(lines):
    """Texts of whole sentences, none across two lines; headings, which stand between =, are left out."""
    texts = []
    for line in lines:
        if line.strip().startswith("= "):
            continue
        words = []
        for sentence in map(str.split, sentences(line)):
            if len(words) + len(sentence) > LONGEST:
                texts.append(words)
                words = []
            words = words + sentence
        texts.append(words)
    return [" ".join(words) for words in texts if len(words) >= SHORTEST]


def nearest(texts, questions):
    """For each text the question nearest to it."""
    model = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit([*texts, *questions])
    alike = model.transform(texts) @ model.transform(questions).T
    return [questions[place] for place in np.asarray(alike.argmax(1)).ravel()]


@command
def main():
    """Arguments, texts, files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--squad_dir", required=True, help="folder with train-v1.1.json and dev-v1.1.json")
    parser.add_argument("--texts", required=True, nargs="+", help="files with a paragraph a line")
    parser.add_argument(
        "--output_dir", required=True, help="folder for both files, the first with more in it"
    )
    parser.add_argument("--count", type=int, default=3200, help="texts that are added at most, 1 or more")
    options = parser.parse_args()
    if os.path.realpath(options.squad_dir) == os.path.realpath(options.output_dir):
        raise UserError("output_dir must be another folder than squad_dir: its files would be replaced")

    squad = read_json(os.path.join(options.squad_dir, "train-v1.1.json"), "the training file")
    asked = [
        item["question"]
        for article in squad["data"]
        for paragraph in article["paragraphs"]
        for item in paragraph["qas"]
    ]
    texts = []
    for path in options.texts:
        with open(path, encoding="utf-8") as file:
            texts += pieces(file)
    if not texts:
        raise UserError(f"texts: no line of {SHORTEST} words and more in {', '.join(options.texts)}")
    questions = nearest(texts, asked)
    chosen = np.random.default_rng(0).permutation(len(texts))[: options.count]
    paragraphs = []
    for place in chosen:
        answer = {"text": texts[place].split()[0], "answer_start": 0}
        item = {"id": f"more{place}", "question": questions[place], "answers": [answer]}
        paragraphs.append({"context": texts[place], "qas": [item]})
    squad["data"].append({"title": "more", "paragraphs": paragraphs})

    os.makedirs(options.output_dir, exist_ok=True)
    shutil.copy(os.path.join(options.squad_dir, "dev-v1.1.json"), options.output_dir)
    write_json(os.path.join(options.output_dir, "train-v1.1.json"), squad)
    print(f"{len(asked):,} questions and {len(chosen):,} of {len(texts):,} texts are in {options.output_dir}")


if __name__ == "__main__":
    main()
