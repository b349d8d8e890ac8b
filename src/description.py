"""What a model says of itself, and whether it belongs to some data.

A `Description` is what config.json, ONNX metadata and `.mindir.json` are read into and written from.
"""

import math
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Dict, Optional, Tuple

from msgspec import Struct

from src import tasks
from src.errors import UserError, listed, shown
from src.json_file import Scalar, Size, Text, checked
from src.kinds import kind_of_problem
from src.kinds.base import TaskKind
from src.settings.network import BertConfig, QuantConfig
from src.settings.parsing import from_json

LONGEST_ROW = 512
"""Tokens of a row where neither the model nor the user sets fewer."""
_PLACEHOLDER = re.compile(r"label_\d+", re.IGNORECASE)


class Said(Struct):
    """What a config.json, ours or Hugging Face's, says besides the network; null is nothing."""

    num_labels: Optional[Size] = None
    problem_type: Optional[Text] = None
    id2label: Optional[Dict[Text, Scalar]] = None
    label2id: Optional[Dict[Text, Scalar]] = None
    task_name: Optional[Text] = None
    do_lower_case: Optional[bool] = None
    strip_accents: Optional[bool] = None
    vocab_sha256: Optional[Text] = None
    null_score_diff_threshold: Optional[float] = None


@dataclass(frozen=True)
class DataFacts:
    """What some rows say of themselves, for a model to be held against."""

    rows: str = "the data"
    """What messages call them, as `the train records`."""
    longest: int = 0
    """Tokens of the longest row; 0, like the next two, where there are no rows yet."""
    largest_token_id: int = 0
    largest_segment_id: int = 0
    vocab_sha256: str = ""
    """Of the vocabulary they were tokenized with; "" where unknown."""
    task_name: str = ""
    """"" for a corpus without a task; the fields below then have no meaning."""
    kind: Optional[TaskKind] = None
    labels: Tuple[str, ...] = ()
    """Class names in index order; () where unknown or none."""
    outputs: int = 0
    """Outputs of a head for them."""
    do_lower_case: Optional[bool] = None
    """Whether their text was lower-cased; None where unknown."""
    strip_accents: Optional[bool] = None
    """Whether accents were taken off; None: where it was lower-cased."""


def fewer_layers(layers: int) -> int:
    """The most layers of a student that is smaller than its teacher of so many, which they divide; 1 of 1."""
    return max((count for count in range(1, layers) if layers % count == 0), default=1)


def smaller_student(layers: int) -> str:
    """What run_task_distill.py is given for a smaller student of a teacher of so many layers."""
    return f"--student_init teacher_layers --td_student_net_cfg.num_hidden_layers {fewer_layers(layers)}"


@dataclass(frozen=True)
class Description:
    """All that a model says of itself.

    Raises:
        UserError: the head contradicts the kind of task or the labels.
    """

    bert: BertConfig
    kind: Optional[TaskKind] = None
    """What its head answers; None for an encoder without one."""
    outputs: int = 0
    """Of the head; 0 for an encoder."""
    labels: Tuple[str, ...] = ()
    """Class names in index order; () where unknown or none."""
    task_name: str = ""
    """The task it was trained on; "" where unknown."""
    do_lower_case: Optional[bool] = None
    """Whether its text is lower-cased; None where unknown: its vocabulary tells then."""
    vocab_sha256: str = ""
    """Of the vocabulary it was trained with; "" where unknown."""
    quantization: Optional[QuantConfig] = None
    strip_accents: Optional[bool] = None
    """Whether accents are taken off its text; None: where it is lower-cased."""
    source: str = field(default="", compare=False)
    """Where its model was read from, for messages."""

    def __post_init__(self):
        if self.kind is not None:
            self.kind.check_outputs(self.outputs, self.source)
            if self.labels and len(self.labels) != self.outputs:
                raise UserError(
                    f"{self.source} names {len(self.labels)} labels but the classifier has {self.outputs} "
                    "outputs"
                )

    @property
    def head_kind(self) -> TaskKind:
        """The `kind` of a model that has a head.

        Raises:
            ValueError: this one has none.
        """
        if self.kind is None:
            raise ValueError(f"{self.source} is an encoder")
        return self.kind

    @property
    def student_flags(self) -> str:
        """What run_task_distill.py is given for a smaller student of this teacher."""
        return smaller_student(self.bert.num_hidden_layers)

    # --- as JSON --------------------------------------------------------------------------------------------

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names, with Hugging Face's placeholders where there are none."""
        return self.labels or tuple(f"LABEL_{index}" for index in range(self.outputs))

    def to_json(self) -> dict[str, Any]:
        """The content of config.json: Hugging Face's field names, and in addition ours."""
        values = {"model_type": "bert", **asdict(self.bert)}
        if self.do_lower_case is not None:
            values["do_lower_case"] = self.do_lower_case
        if self.strip_accents is not None:
            values["strip_accents"] = self.strip_accents
        if self.task_name:
            values["task_name"] = self.task_name
        if self.kind is not None:
            values.update(num_labels=self.outputs, problem_type=self.kind.problem_type, **self.label_fields())
            if self.kind.threshold:
                values["null_score_diff_threshold"] = self.kind.threshold
        if self.quantization is not None:
            values["quantization"] = asdict(self.quantization)
        if self.vocab_sha256:
            values["vocab_sha256"] = self.vocab_sha256
        return values

    def label_fields(self) -> dict[str, dict[str, Any]]:
        """id2label and label2id."""
        names = self.label_names
        return {
            "id2label": {str(index): name for index, name in enumerate(names)},
            "label2id": {name: index for index, name in enumerate(names)},
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], file: str, source: str) -> "Description":
        """The `Description` in a config.json's content.

        Args:
            values (dict): as `to_json` gives it; other keys have no meaning here.
            file (str): what holds them, for messages. source (str): the model's path, as the user gave it.

        Raises:
            UserError: a field is missing or has a value of another kind.
        """
        said = checked(values, Said, file)
        own = {item.name: values[item.name] for item in fields(BertConfig) if item.name in values}
        bert = from_json(BertConfig, own, file, complete=True)
        quantization = values.get("quantization")
        if quantization is not None:
            quantization = from_json(QuantConfig, quantization, f"{file}: quantization")
        return cls(
            bert,
            **_head(said, file),
            task_name=said.task_name or "",
            do_lower_case=said.do_lower_case,
            strip_accents=said.strip_accents,
            vocab_sha256=said.vocab_sha256 or "",
            quantization=quantization,
            source=source,
        )

    # --- other descriptions ---------------------------------------------------------------------------------

    def with_head(self, kind: TaskKind, outputs: int, labels: Iterable[str], task_name: str) -> "Description":
        """This one as a network for a task; arguments as the fields."""
        return replace(self, kind=kind, outputs=outputs, labels=tuple(labels), task_name=task_name)

    def without_head(self) -> "Description":
        """This one as an encoder."""
        return replace(self, kind=None, outputs=0, labels=(), task_name="")

    def frozen(self) -> "Description":
        """This one for a network that never trains: without dropout."""
        bert = replace(
            self.bert, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=None
        )
        return replace(self, bert=bert)

    def at_threshold(self, null_score_diff_threshold: float | None) -> "Description":
        """This one with another threshold between the best answer and none; None for its own."""
        if null_score_diff_threshold is None or self.kind is None:
            return self
        return replace(self, kind=self.kind.at_threshold(null_score_diff_threshold))

    def shares_head_with(self, other: "Description") -> bool:
        """Whether its head answers the same as another one's, as far as both say it."""
        own, others = tasks.real_names(self.labels, other.labels), tasks.real_names(other.labels, self.labels)
        return (
            _name_of(self.kind) == _name_of(other.kind)
            and self.outputs == other.outputs
            and not tasks.differ(self.task_name, other.task_name)
            and tasks.same_labels(own, others)
            and bool(own or not tasks.why_order_matters(other.task_name))
        )

    @property
    def longest_row(self) -> int:
        """Tokens of the longest row a text may become: all its positions, at most `LONGEST_ROW`."""
        bert = self.bert
        return LONGEST_ROW if bert.use_relative_positions else min(LONGEST_ROW, bert.max_position_embeddings)

    @property
    def is_quantized(self) -> bool:
        """Whether any of its numbers is rounded to few bits."""
        return self.quantization is not None and self.quantization.is_active

    # --- the one check against data -------------------------------------------------------------------------

    def check_fits(self, facts: DataFacts, key: str, seq_length: int | None = None) -> None:
        """Raise a `UserError` where this model was not made for some rows, or cannot read them.

        Args:
            facts (DataFacts): the rows'. An encoder, or rows without a task, are compared in their tokens
                only.
            key (str): the setting that named the model, for the message.
            seq_length (int): the run's own bound on row length in tokens, or None.
        """
        self._check_vocabulary(facts, key)
        self._check_text_form(facts, key)
        self._check_head(facts, key)
        self._check_bounds(facts, seq_length)

    def _check_vocabulary(self, facts, key):
        if self.vocab_sha256 and facts.vocab_sha256 and self.vocab_sha256 != facts.vocab_sha256:
            raise UserError(
                f"{key}: the data was prepared with another vocabulary than {self.source} was trained "
                f"with; run prepare_data.py with --vocab_file {self._vocabulary_file()}"
            )

    def _check_text_form(self, facts, key):
        if None in (self.do_lower_case, facts.do_lower_case):
            return
        own, theirs = (_text_form(item.do_lower_case, item.strip_accents) for item in (self, facts))
        if own != theirs:
            raise UserError(
                f"{key}: {facts.rows} were prepared with {theirs}, but {self.source} reads its text with "
                f"{own}; run prepare_data.py with --vocab_file {self._vocabulary_file()} and do_lower_case "
                f"{str(self.do_lower_case).lower()} (or, where the model is wrong, mend do_lower_case in its "
                "tokenizer_config.json or config.json)"
            )

    def _vocabulary_file(self):
        folder = self.source if os.path.isdir(self.source) else os.path.dirname(self.source)
        own, only = (os.path.join(folder, name) for name in ("vocab.txt", "tokenizer.json"))
        if os.path.isfile(only) and not os.path.isfile(own):  # another program's
            folder = shlex.quote(self.source)
            return f"FOLDER/vocab.txt of convert_checkpoint.py --input {folder} --output FOLDER"
        return shlex.quote(own)

    def _check_head(self, facts, key):
        if self.kind is None or facts.kind is None:
            return
        if self.task_name and tasks.differ(self.task_name, facts.task_name):
            raise UserError(f"{key}: {self.source} was trained on {self.task_name}, not {facts.task_name}")
        if self.outputs != facts.outputs or self.kind.name != facts.kind.name:
            raise UserError(
                f"{key}: {self.source} has {self.outputs} output(s) ({self.kind.problem_type}) but "
                f"{facts.task_name} is a task of {facts.kind.describe(facts.outputs)}; {self._new_head()}"
            )
        names = tasks.real_names(self.labels, facts.labels)
        if not tasks.same_labels(names, facts.labels):
            raise UserError(
                f"{key}: {self.source} numbers its labels {', '.join(self.labels)} but the data has "
                f"{', '.join(facts.labels)}; {self._label_advice(facts)}"
            )
        why = "" if names else tasks.why_order_matters(facts.task_name)
        if why:
            raise UserError(
                f"{key}: {self.source} does not name its labels, {why}; say which order it was trained with: "
                f"{self._conversion(facts)} --label_order NAME,NAME,..."
            )

    def assumed_labels(self, names: Sequence[str]) -> str:
        """A line that says that this model, which names none itself, is taken to have the class names of rows
        that it fits; "" where it names its own, or an output's number is its name.
        """
        if self.kind is None or tasks.real_names(self.labels, names) or all(map(str.isdigit, names)):
            return ""
        return (
            f"note: {self.source} does not name its labels; they are taken as {listed(names)} "
            "(--label_order of convert_checkpoint.py says another order)"
        )

    def _label_advice(self, facts):
        """What to run where the labels of the data are other ones."""
        same_names = sorted(tasks.plain_labels(self.labels)) == sorted(tasks.plain_labels(facts.labels))
        if tasks.get_task(facts.task_name).is_own:
            asked = self.head_kind.asked_labels(self.labels)
            if not asked:
                return f"no data has its names in that order; {self._new_head()}"
            where = "in its order" if same_names else "with its labels"
            return f"prepare the data {where}: prepare_data.py --labels {shlex.quote(','.join(asked))}"
        if same_names:
            return f"put its classifier into that order: {self._conversion(facts)}"
        conversion = f"{self._conversion(facts)} --label_order NAME,NAME,..."
        return f"if they mean the same, {conversion} says which is which"

    def _new_head(self):
        return f"a head for this data: run_finetune.py --load_ckpt_path {shlex.quote(self.source)}"

    def _conversion(self, facts):
        source = "CHECKPOINT" if self.source.endswith((".onnx", ".mindir")) else self.source
        return (
            f"convert_checkpoint.py --input {shlex.quote(source)} --output FOLDER --task_name "
            f"{facts.task_name}"
        )

    def _check_bounds(self, facts, seq_length):
        bert, source = self.bert, self.source
        if facts.largest_token_id >= bert.vocab_size:
            raise UserError(
                f"{facts.rows} hold token id {facts.largest_token_id} but {source} has a vocabulary of "
                f"{bert.vocab_size}; prepare the data with that model's vocabulary"
            )
        if facts.largest_segment_id >= bert.type_vocab_size:
            raise UserError(
                f"{facts.rows} hold pairs of texts but {source} has a type_vocab_size of "
                f"{bert.type_vocab_size}; it reads single texts only"
            )
        positions = None if bert.use_relative_positions else bert.max_position_embeddings
        for bound, why in ((positions, f"{source} has positions for"), (seq_length, "seq_length allows")):
            if bound and facts.longest > bound:
                raise UserError(
                    f"{facts.rows} hold a row of {facts.longest} tokens but {why} {bound}; run "
                    f"prepare_data.py with --max_seq_length {bound}"
                )


def _name_of(kind):
    return kind and kind.name


def _text_form(lower_case, strip_accents):
    """How text is written, in words."""
    stripped = lower_case if strip_accents is None else strip_accents
    accents = "" if stripped == lower_case else f" and accents {'taken off' if stripped else 'kept'}"
    return ("lower-cased words" if lower_case else "case kept") + accents


def said_labels(said: Said, source: str) -> tuple[str, ...]:
    """Class names of a config.json (`Said`) in index order; () where there are none or only placeholders
    (LABEL_0). Some programs write only label2id, which counts where there is no id2label.

    Raises:
        UserError: id2label does not number its labels 0, 1, ..., or calls two of them the same.
    """
    if not said.id2label:
        numbers = said.label2id or {}
        return _in_order({str(number): name for name, number in numbers.items()}, "label2id", source)
    return _in_order(said.id2label, "id2label", source)


def _in_order(names, field, source):
    """The names that {number: name} gives in order; () for placeholders. `field`: of config.json."""
    keys = {int(key): key for key in names if re.fullmatch("[0-9]{1,9}", key)}
    if sorted(keys) != list(range(len(names))):
        raise UserError(f"{field} in {source} must number its labels 0 to {len(names) - 1} without a gap")
    values = [names[keys[index]] for index in range(len(names))]
    ordered = tuple("" if value is None else str(value) for value in values)
    if all(_PLACEHOLDER.fullmatch(name) for name in ordered) or set(values) == {None}:
        return ()
    twice = [name for name in ordered if ordered.count(name) > 1 or not name.strip()]
    if twice:
        raise UserError(
            f"{field} in {source} calls several labels {shown(twice[0])}; every class needs a name"
        )
    return ordered


def _head(said, file):
    """kind, outputs and labels of a config.json, as a dict; {} for an encoder's."""
    if said.num_labels is None and said.problem_type is None:
        return {}
    absent = [name for name in ("num_labels", "problem_type") if getattr(said, name) is None]
    if absent:
        raise UserError(f"{file} lacks {', '.join(absent)}")
    kind = at_own_threshold(kind_of_problem(said.problem_type, file), said, file)
    return {"kind": kind, "outputs": said.num_labels, "labels": said_labels(said, file)}


def at_own_threshold(kind: TaskKind, said: Said, file: str) -> TaskKind:
    """The kind with the threshold that a config.json (`Said`) says; 0 where it says none."""
    threshold = said.null_score_diff_threshold or 0.0
    if not math.isfinite(threshold):
        raise UserError(f"{file}: null_score_diff_threshold must be a finite number, not {threshold}")
    return kind.at_threshold(threshold, f"{file}: ")
