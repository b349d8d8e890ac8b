"""Tiny raw files for every task that the documents' commands name, each learnable from its words."""

import json
import os
import random

from src.tasks import get_task

WORDS = "the a film was story plot and it rather good fine bad dull very much here".split()
ANIMALS = "cat dog bird fish horse".split()
CHINESE = "张三李四王五在北京上海南去了看书"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MNLI = "entailment neutral contradiction".split()
CLUES = dict(zip(MNLI, ("good", "rather", "bad")))
"""{a class of MNLI: the word of the second sentence that gives it away}"""


def vocabulary():
    """The lines of vocab.txt."""
    further = "an hour after left came who ? . , gripping good ##s".split()
    return list(dict.fromkeys([*SPECIAL, *WORDS, *ANIMALS, *further, *CHINESE]))


def _write(path, lines):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def _sentence(rng, *words):
    found = [*rng.sample(WORDS[:8], 4), *words]
    rng.shuffle(found)
    return " ".join(found)


def _table(folder, name, header, rows):
    _write(os.path.join(folder, name), ["\t".join(map(str, row)) for row in [header, *rows]])


def _films(rng, rows):
    labels = [rng.randrange(2) for _ in range(rows)]
    return [(_sentence(rng, "good" if label else "bad"), label) for label in labels]


def _pairs(rng, rows):
    scores = [rng.randrange(6) for _ in range(rows)]
    return [(_sentence(rng), " ".join(["fine"] * score + ["dull"] * (5 - score)), score) for score in scores]


def _inferences(rng, rows):
    labels = [rng.choice(MNLI) for _ in range(rows)]
    return [(_sentence(rng), _sentence(rng, CLUES[label]), label) for label in labels]


def _paraphrases(rng, rows):
    labels = [rng.randrange(2) for _ in range(rows)]
    return [(label, 1, 2, _sentence(rng), _sentence(rng, "good" if label else "bad")) for label in labels]


def _topics(rng, rows):
    made = []
    for _ in range(rows):
        index, (number, name) = rng.choice(list(enumerate(get_task("TNEWS").source.names)))
        title = "".join(rng.sample([*CHINESE[:4], CHINESE[index]], 5))
        made.append({"label": number, "label_desc": name, "sentence": title, "keywords": ""})
    return _json_lines(made)


def _tickets(rng, rows):
    labels = [rng.choice(("billing", "delivery", "praise")) for _ in range(rows)]
    clues = {"billing": "bad", "delivery": "rather", "praise": "good"}
    return _json_lines([{"text": _sentence(rng, clues[label]), "label": label} for label in labels])


def _json_lines(values):
    return [json.dumps(value, ensure_ascii=False) for value in values]


def _names(rng, rows):
    made = []
    for _ in range(rows):
        person, place = rng.choice(("张三", "李四", "王五")), rng.choice(("北京", "上海"))
        label = {"name": {person: [[0, 1]]}, "address": {place: [[3, 4]]}}
        made.append({"text": f"{person}在{place}看书", "label": label})
    return _json_lines(made)


def _questions(rng, rows, version):
    paragraphs = []
    for number in range(rows):
        animal = rng.choice(ANIMALS)
        text = f"After an hour the {animal} left."
        asked = {"id": str(number), "question": "Who left?"}
        asked["answers"] = [{"text": animal, "answer_start": text.index(animal)}]
        if version == "v2.0":
            asked["is_impossible"] = rng.random() < 0.3
            if asked["is_impossible"]:
                asked.update(question="Who came?", answers=[])
        paragraphs.append({"context": text, "qas": [asked]})
    return json.dumps({"version": version, "data": [{"title": "animals", "paragraphs": paragraphs}]})


def write_raw(folder, train=320, dev=64):
    """SST-2, STS-B, MRPC, MNLI, TNEWS, CLUENER, SQuAD and SQuAD2 below `folder` as their benchmarks do, own
    data (custom), a corpus, and a rank table of 8 devices.
    """
    rng = random.Random(0)
    of = lambda *parts: os.path.join(folder, *parts)  # noqa: E731
    for split, rows in (("train", train), ("dev", dev)):
        _table(of("SST-2"), f"{split}.tsv", ("sentence", "label"), _films(rng, rows))
        _table(of("STS-B"), f"{split}.tsv", ("sentence1", "sentence2", "score"), _pairs(rng, rows))
        header = "Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"
        _table(of("MRPC"), f"{split}.tsv", header, _paraphrases(rng, rows))
        _write(of("TNEWS", f"{split}.json"), _topics(rng, rows))
        _write(of("CLUENER", f"{split}.json"), _names(rng, rows))
        _write(of("custom", f"{split}.jsonl"), _tickets(rng, rows))
        for name, version in (("SQuAD", "v1.1"), ("SQuAD2", "v2.0")):
            _write(of(name, f"{split}-{version}.json"), [_questions(rng, rows, version)])
    header = "sentence1", "sentence2", "gold_label"
    for name, rows in (("train", train), ("dev_matched", dev), ("dev_mismatched", dev)):
        _table(of("MNLI"), f"{name}.tsv", header, _inferences(rng, rows))
    for name in ("test_matched", "test_mismatched"):
        rows = [(number, *row[:2]) for number, row in enumerate(_inferences(rng, 10))]
        _table(of("MNLI"), f"{name}.tsv", ("index", *header[:2]), rows)
    _table(of("MRPC"), "test.tsv", ("index", "#1 ID", "#2 ID", "#1 String", "#2 String"),
           [(number, *row[1:]) for number, row in enumerate(_paraphrases(rng, 10))])  # fmt: skip
    _write(of("corpus.txt"), [_sentence(rng) + "." + "\n" * (number % 4 == 3) for number in range(400)])
    devices = [{"device_id": str(n), "device_ip": f"192.168.1.{n + 1}", "rank_id": str(n)} for n in range(8)]
    table = {"version": "1.0", "server_count": "1", "status": "completed"}
    table["server_list"] = [{"server_id": "10.0.0.1", "device": devices}]
    _write(of("hccl.json"), [json.dumps(table)])
