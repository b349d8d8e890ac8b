"""Where a task's raw rows come from: which columns of a file hold them. `src/data/readers` reads them."""

from dataclasses import dataclass
from typing import Dict, List, NamedTuple, Optional, Tuple

ROW_FILES = {"tsv": "tsv", "jsonl": "json_lines", "parquet": "parquet"}
"""{ending of a file: the reader in `src/data/readers` that takes it}, of tables with texts and a label."""
OWN_FILES = {**ROW_FILES, "conll": "conll", "txt": "conll"}
"""{ending: reader} of the user's own data."""
CLUE_FILES = {"json": "json_lines", "jsonl": "json_lines", "parquet": "parquet"}
"""{ending: reader} of CLUE's tasks, whose .json files have an object a line."""
SQUAD_FILES = {"-v1.1.json": "squad", "-v2.0.json": "squad", "json": "squad"}
"""{ending: reader} of SQuAD's layout, the official names first."""


class Columns(NamedTuple):
    """Where a row's parts are in a file."""

    text: str
    text_pair: Optional[str]
    """None: a row has one text."""
    label: str
    """"": there is none, as in a test set."""
    pair_is_optional: bool = False
    """Whether `text_pair` may be absent, in all rows or in some."""
    entities: Optional[str] = None
    """Key of the entities of a JSON object, which it may have in place of a label."""
    words: dict[str, str] = {}
    """{label of the file: name of the class}, where they differ."""


# How Hugging Face's data sets call texts.
_PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
)
_SINGLE = ("sentence", "question")


@dataclass(frozen=True)
class GlueTsv:
    """A task as GLUE's TSV files and Hugging Face's parquet files and JSON lines hold it."""

    text: str
    """Column of the first (or only) text."""
    text_pair: Optional[str]
    """Column of the second text, or None."""
    label: str
    """Column of the label in the train and dev files."""
    header: bool = True
    """Whether the TSV files start with a header row; without one, columns are numbers, of `width` columns."""
    width: int = 0
    """Columns of files without a header."""
    test_text: Optional[str] = None
    """Column of the text in the test file where it differs; that file then has a header."""
    parquet_text: Optional[str] = None
    """Column of the first text in parquet files where it differs."""
    parquet_text_pair: Optional[str] = None
    """Column of the second text there, likewise."""

    formats = {**ROW_FILES, "json": "json_lines"}

    def layouts(self, file_format: str, test: bool) -> Tuple[Columns, ...]:
        """The `Columns` that a file of that format (`tsv`, `jsonl` or `parquet`) may have, the first that it
        has counting; `test`: of a test set.
        """
        of_glue = self.test_text if test and self.test_text else self.text, self.text_pair
        of_hugging_face = self.parquet_text or self.text, self.parquet_text_pair or self.text_pair
        plain = "text", "text_pair" if self.text_pair else None
        order = (
            (of_hugging_face, plain, of_glue) if file_format != "tsv" else (of_glue, of_hugging_face, plain)
        )
        labels = ("label", self.label) if file_format != "tsv" else (self.label, "label")
        return _different(Columns(*texts, label) for texts in order for label in labels)

    def tsv_header(self, test: bool) -> Optional[List[str]]:
        """The column names of a TSV file that has no header row; None where the file itself has one."""
        if self.header or (test and self.test_text):
            return None
        return [str(number) for number in range(self.width)]


@dataclass(frozen=True)
class OwnRows:
    """The user's own data: `text`, optionally `text_pair`, and `label`, as JSON lines, TSV or parquet, or the
    texts under Hugging Face's names; or entities, as JSON lines or a word and its tag a line.
    """

    text: str = "text"
    text_pair: str = "text_pair"
    label: str = "label"
    entities: str = "entities"

    formats = {**OWN_FILES, **SQUAD_FILES}

    def layouts(self, file_format: str, test: bool) -> Tuple[Columns, ...]:
        """As `GlueTsv.layouts`: the same in every file."""
        own = Columns(self.text, self.text_pair, self.label, True, self.entities)
        pairs = [Columns(*names, self.label, entities=self.entities) for names in _PAIRS]
        return own, *pairs, *(own._replace(text=name) for name in _SINGLE)

    def tsv_header(self, test: bool) -> None:
        """As `GlueTsv.tsv_header`: there is always a header row."""
        return None


@dataclass(frozen=True)
class OwnTexts(OwnRows):
    """Texts that nobody need have labelled: as own rows, or a question and the text that it is about."""

    formats = {"jsonl": "json_lines", "parquet": "parquet", "conll": "conll"}

    def layouts(self, file_format: str, test: bool) -> Tuple[Columns, ...]:
        """As `GlueTsv.layouts`: the same in every file."""
        return Columns("question", "context", self.label), *super().layouts(file_format, test)


@dataclass(frozen=True)
class ClueTopics:
    """TNEWS as CLUE's JSON lines or Hugging Face's parquet files hold it."""

    names: Tuple[Tuple[str, str], ...]
    """((label as the files number it, class name), ...)"""

    formats = CLUE_FILES

    def layouts(self, file_format: str, test: bool) -> Tuple[Columns, ...]:
        """As `GlueTsv.layouts`. The files give a class its number, some its name besides."""
        return tuple(Columns(name, None, "label", words=dict(self.names)) for name in ("sentence", "text"))


@dataclass(frozen=True)
class ClueEntities:
    """CLUENER as CLUE's JSON lines hold it: `{"text", "label": {type: {surface: [[start, end], ...]}}}`."""

    formats = {"json": "cluener", "jsonl": "cluener"}


@dataclass(frozen=True)
class SquadJson:
    """Questions about a text, in SQuAD's official layout."""

    version: str
    """Of the official files to take where a folder has several: `v1.1` or `v2.0`."""

    @property
    def formats(self) -> Dict[str, str]:
        """As `ROW_FILES`."""
        return {ending: SQUAD_FILES[ending] for ending in (f"-{self.version}.json", "json")}


def _different(layouts):
    """Each of some `Columns` once, in order."""
    found = []
    for columns in layouts:
        if columns not in found:
            found.append(columns)
    return tuple(found)
