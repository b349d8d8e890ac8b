"""A tag for every token: named entities.

Tags are BIOES whatever the raw file has: `O` outside, `S-x` on the only token of an entity of type x, `B-x`,
`I-x` and `E-x` on the first, the middle and the last of several. Models of other sources may have BIO tags
(and write M for I, L for E, U for S). What a sequence of tags says is seqeval's strict mode: an entity is a
run of tags of one type that is whole; a run without its beginning or, in BIOES, without its end is none.

Legend: N rows, T tokens of all rows together, C tags, K entities.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from src.errors import UserError, listed, shown
from src.examples import Column, Examples, Origin, offsets_of
from src.kinds.base import BERT_WINDOWS, TaskKind, Windows, softmax

if TYPE_CHECKING:
    from src.data.readers.rows import Row, Where
    from src.data.tokenization import Tokenizer

UNTAGGED = -1  # of [CLS], [SEP], padding, and what the cut left of an entity
_BIOES = "BIES"
_BEGIN, _INSIDE, _END, _SINGLE = range(4)
_PREFIXES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
_NO_SPAN = (-1, -1)


class TokenClassification(TaskKind):
    """One of some tags for every token, from its hidden state."""

    name = "ner"
    problem_type = "token_classification"
    architecture = "BertForTokenClassification"
    columns = (Column("label_ids", np.int32, per="token", fill=UNTAGGED),)
    logits_per = "token"
    soft_loss = "soft_cross_entropy"
    label_loss = "label_cross_entropy_of_tokens"
    metrics = ("entity_f1", "entity_precision", "entity_recall", "accuracy", "entity_macro_f1")
    default_metrics = ("entity_f1", "entity_precision", "entity_recall", "accuracy")
    answers_called = submission = shown_as = "entities"

    def tags(self, types: Iterable[str]) -> tuple[str, ...]:
        """The class names for entities of these types, in index order: O, then B, I, E and S of each type."""
        return ("O", *(f"{prefix}-{name}" for name in types for prefix in _BIOES))

    def asked_labels(self, names: tuple[str, ...]) -> tuple[str, ...]:
        types = tuple(dict.fromkeys(name.partition("-")[2] for name in names if "-" in name))
        return types if self.tags(types) == tuple(names) else ()

    def check_outputs(self, outputs: int, source: str) -> None:
        if outputs < 2:
            raise UserError(
                f"{source}: problem_type '{self.problem_type}' with {outputs} outputs is not supported; a "
                "tagger has two or more"
            )

    def describe(self, outputs: int) -> str:
        return f"{outputs} tags of tokens"

    def parse_label(
        self, value: Any, names: tuple[str, ...], where: str | Where
    ) -> tuple[tuple[int, int, int], ...]:
        """((start, end, index of the type), ...) of a text's (start, end, type); `names` as `tags` gives
        them.
        """
        if not isinstance(value, tuple):
            raise UserError(f"{where}: {shown(value)} is no list of entities")
        types = [name.partition("-")[2] for name in names[1 :: len(_BIOES)]]
        for _, _, name in value:
            if name not in types:
                raise UserError(f"{where}: the entity type {shown(name)} is none of {listed(types)}")
        return tuple((start, end, types.index(name)) for start, end, name in value)

    def pair_fault(self, text_pair: str | None) -> str | None:
        return None if text_pair is None else f"a text of a {self.name} task has no second text"

    def count_answers(self, label: Any) -> int:
        return len(label or ())

    def kept_answers(self, examples: Examples) -> int:
        if not examples.columns:
            return 0
        tags = examples.labels
        first = np.isin((tags - 1) % len(_BIOES), (_BEGIN, _SINGLE))
        return int(np.count_nonzero(first & (tags > 0)))

    def check_labels(self, examples: Examples, names: Sequence[str], split: str) -> None:
        tags = examples.labels
        if tags.dtype.kind != "i":
            raise UserError(f"the {split} records hold fractional tags, which do not fit a {self.name} task")
        if tags.max() == UNTAGGED:
            raise UserError(f"the {split} records hold no tags")
        if not (tags.min() >= UNTAGGED and tags.max() < len(names)):
            raise UserError(
                f"the {split} records hold tags from {tags.min()} to {tags.max()}, but the task has the "
                f"{len(names)} tags {listed(names)} (and {UNTAGGED} for tokens without one)"
            )

    def encode(
        self, tokenizer: Tokenizer, rows: Sequence[Row], max_seq_length: int, windows: Windows = BERT_WINDOWS
    ) -> tuple[Examples, int]:
        """Rows to `Examples`: `[CLS] text [SEP]`, a tag a token. A WordPiece that is partly of an entity is
        of it. Of an entity that the row cannot hold as a whole, what is left is untagged.
        """
        if max_seq_length < 3:
            raise UserError(
                f"max_seq_length {max_seq_length} leaves no room for text between [CLS] and [SEP]"
            )
        room, cut = max_seq_length - 2, 0
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        tags: list[int] = []
        lengths: list[int] = []
        for row, (row_ids, row_spans) in zip(rows, tokenizer.pieces([row.text for row in rows])):
            cut += len(row_ids) > room
            row_ids = row_ids[:room]
            ids += [tokenizer.cls_id, *row_ids, tokenizer.sep_id]
            spans += [_NO_SPAN, *row_spans[:room], _NO_SPAN]
            tags += [UNTAGGED, *_tags_of(row_spans, row.label or (), room), UNTAGGED]
            lengths.append(len(row_ids) + 2)
        labelled = bool(rows) and rows[0].label is not None
        examples = Examples(
            np.array(ids, np.int32),
            np.zeros(len(ids), np.int32),
            offsets_of(lengths),
            {self.columns[0]: np.array(tags, np.int32)} if labelled else {},
            Origin(np.arange(len(rows)), np.array(spans, np.int32).reshape(-1, 2)),
        )
        return examples, cut

    def predictions(self, logits: np.ndarray) -> np.ndarray:
        return logits.argmax(axis=1)

    def evidence(
        self, metrics: Sequence[str], logits: np.ndarray, examples: Examples, labels: Sequence[str]
    ) -> dict[str, tuple[Any, Any]]:
        """Of `accuracy` the tags of the tokens that have one; else two sets of (start, end, type), of token
        places.
        """
        found, right = self.predictions(logits), examples.labels
        tagged = right != UNTAGGED
        tags_of_both = found[tagged], right[tagged]
        if set(metrics) == {"accuracy"}:
            return {"accuracy": tags_of_both}
        types, starts = _read(labels)[1], examples.offsets[:-1]

        def entities(tags):
            places = entities_of(np.where(tagged, tags, UNTAGGED), starts, labels)
            return {(first, after, types[tags[first]]) for first, after in places.tolist()}

        entities_of_both = entities(found), entities(right)
        return {name: tags_of_both if name == "accuracy" else entities_of_both for name in metrics}

    def outcomes(
        self, logits: np.ndarray, examples: Examples, rows: Sequence[Row], labels: Sequence[str]
    ) -> list[dict[str, Any]]:
        """The entities: type, first character, the one after the last, the characters, the mean probability
        of the tags.
        """
        origin, offsets = examples.origin, examples.offsets
        assert origin is not None  # `encode` gives one
        spans = origin.spans
        tags = np.where(spans[:, 0] < 0, UNTAGGED, self.predictions(logits))
        probabilities = softmax(logits).max(axis=1)
        types = _read(labels)[1]
        found: list[dict[str, Any]] = [{"entities": []} for _ in rows]
        for first, after in entities_of(tags, offsets[:-1], labels).tolist():
            text = origin.rows[np.searchsorted(offsets, first, side="right") - 1]
            start, end = int(spans[first, 0]), int(spans[after - 1, 1])
            entity: dict[str, Any] = {"type": types[tags[first]], "start": start, "end": end}
            entity["text"] = rows[text].text[start:end]
            entity["probability"] = float(probabilities[first:after].mean())
            found[text]["entities"].append(entity)
        return found

    def columns_of(self, outcome: dict[str, Any]) -> list[tuple[str, ...]]:
        """An entity a line; `-` for a text without any."""
        lines: list[tuple[str, ...]] = []
        for entity in outcome["entities"]:
            places, surface = (str(entity["start"]), str(entity["end"])), " ".join(entity["text"].split())
            lines.append((entity["type"], *places, surface, f"{entity['probability']:.4f}"))
        return lines or [("-",)]


def _tags_of(spans, entities, room):
    """The tags of a text's first `room` tokens.

    Args:
        spans (list of (start, end)): characters of every token of the text.
        entities (tuple of (start, end, index of type)): that do not overlap.
    """
    tags = [0] * len(spans)
    for start, end, kind in sorted(entities):
        held = [index for index, (a, b) in enumerate(spans) if a < end and start < b and not tags[index]]
        if not held:
            continue
        first, last, base = held[0], held[-1], 1 + len(_BIOES) * kind
        if last >= room:
            tags[first : last + 1] = [UNTAGGED] * (last + 1 - first)
        elif first == last:
            tags[first] = base + _SINGLE
        else:
            tags[first : last + 1] = [base + _INSIDE] * (last + 1 - first)
            tags[first], tags[last] = base + _BEGIN, base + _END
    return tags[:room]


def _read(labels):
    """(prefix of each tag as B, I, E, S or O; type of each, "" of O).

    Raises:
        UserError: a class name is no tag.
    """
    prefixes, types = [], []
    for name in labels:
        prefix, dash, kind = name.partition("-")
        if name != "O" and (prefix not in _PREFIXES or not dash or not kind):
            raise UserError(
                f"labels: {shown(name)} is no tag; tags are O, and B-, I-, E- or S- (in BIO: B- or I-) with "
                "a type"
            )
        prefixes.append(_PREFIXES.get(prefix, "O"))
        types.append(kind)
    return prefixes, types


def entities_of(tags: np.ndarray, starts: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """The entities that tags say, as seqeval's strict mode with IOBES (or, without E and S tags, IOB2).

    Args:
        tags (ndarray): int (T,), rows one after another; -1 is as good as O. starts (ndarray): where rows
            start. labels (tuple of str): the class names.

    Returns:
        int64 (K, 2): first token, and the one after the last
    """
    prefixes, types = _read(labels)
    if not len(tags):
        return np.zeros((0, 2), np.int64)
    prefix = np.array([*prefixes, "O"])[tags]  # -1 takes the last
    numbers = {name: number for number, name in enumerate(dict.fromkeys(types))}
    kind = np.array([*(numbers[name] for name in types), -1])[tags]
    goes_on = np.zeros(len(tags), bool)
    after_part = np.isin(prefix[:-1], ("B", "I"))
    goes_on[1:] = np.isin(prefix[1:], ("I", "E")) & after_part & (kind[1:] == kind[:-1])
    goes_on[starts] = False
    first = np.flatnonzero(~goes_on)  # of each run
    after = np.append(first[1:], len(tags))
    whole = prefix[first] == "B"
    if "E" in prefixes or "S" in prefixes:
        whole = (whole & (prefix[after - 1] == "E")) | (prefix[first] == "S")
    return np.stack([first[whole], after[whole]], axis=1)
