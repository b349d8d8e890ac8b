"""SQuAD's official JSON layout: data[].paragraphs[].{context, qas[].{id, question, answers, is_impossible}}.

A row is a question with its context; its label holds the right answers.
"""

from collections.abc import Iterator
from json import JSONDecodeError
from typing import Any

from src.data.readers.rows import BadRows, RawRow, Where, is_text
from src.errors import UserError, shown
from src.json_file import MOST_DATA_BYTES, parse
from src.tasks import Task

_SHOWN = 40  # characters of a text in a message


def count_rows(path: str) -> int:
    """About how many questions a file has."""
    with open(path, "rb") as file:
        return file.read().count(b'"question"')


def read_rows(path: str, task: Task, test: bool, bad_rows: BadRows) -> Iterator[RawRow]:
    """The `RawRow`s of a file. A label is ((first character, answer), ...), () where the question has no
    answer, and None where a test set keeps its answers.
    """
    number = 0
    seen: set[str] = set()
    for place, paragraph in _paragraphs(path):
        for index, question in enumerate(_list_in(path, place, paragraph, "qas")):
            context = paragraph.get("context")
            number += 1
            name = question.get("id") if isinstance(question, dict) else None
            if not isinstance(name, str) or not name or not is_text(name):
                bad_rows.add(f'{path}, {place}.qas[{index}]: "id" is missing or no text')
                continue
            where = Where(path, number, "question", name)
            fault = "its id stands there twice" if name in seen else _fault(question, context, test)
            seen.add(name)
            if fault:
                bad_rows.add(f"{where}: {fault}")
                continue
            answers = question.get("answers")
            if answers is not None:
                answers = tuple((answer["answer_start"], answer["text"]) for answer in answers)
            yield RawRow(question["question"], context, answers, where, name)


def _paragraphs(path: str) -> Iterator[tuple[str, Any]]:
    """(place in the file, as `data[0].paragraphs[1]`, paragraph) of each paragraph."""
    with open(path, "rb") as file:
        try:
            value = parse(file.read(MOST_DATA_BYTES))
        except ValueError as error:  # what is no UTF-8 is a ValueError too
            hint = "; where it has an object a line, call it .jsonl" if _more_follows(error) else ""
            raise UserError(f"{path} is not JSON: {error}{hint}") from error
    if not isinstance(value, dict) or "data" not in value:
        raise UserError(
            f'{path}: its object has no list "data", as SQuAD\'s layout has it; rows with keys of their own '
            "are an object a line in a .jsonl file"
        )
    for number, article in enumerate(_list_in(path, "its object", value, "data")):
        place = f"data[{number}]"
        for index, paragraph in enumerate(_list_in(path, place, article, "paragraphs")):
            yield f"{place}.paragraphs[{index}]", paragraph


def _more_follows(error: ValueError) -> bool:
    """Whether something follows a first JSON value."""
    return isinstance(error, JSONDecodeError) and error.msg == "Extra data"


def _list_in(path: str, place: str, value: object, key: str) -> list[Any]:
    found = value.get(key) if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise UserError(f'{path}: {place} has no list "{key}", as SQuAD\'s layout has it')
    return found


def _fault(question: dict[str, Any], context: object, test: bool) -> str | None:
    """What is wrong with one question, or None."""
    if not isinstance(context, str) or not context.strip():
        return "its paragraph has no context"
    text = question.get("question")
    if not isinstance(text, str) or not text.strip():
        return '"question" is missing or empty'
    if not is_text(context + text):
        return "a text holds half a surrogate pair, which is no character"
    answers, impossible = question.get("answers"), question.get("is_impossible")
    if answers is None and test:
        return None
    if not isinstance(answers, list):
        return '"answers" is missing or no list'
    if impossible is not None and impossible is not (not answers):
        return f'"is_impossible" is {shown(impossible)}, but it has {len(answers)} answers'
    faults = (_answer_fault(answer, context) for answer in answers)
    return next((fault for fault in faults if fault), None)


def _answer_fault(answer: object, context: str) -> str | None:
    """What is wrong with one answer, or None."""
    text, start = (answer.get("text"), answer.get("answer_start")) if isinstance(answer, dict) else (0, 0)
    if not isinstance(text, str) or not text.strip() or type(start) is not int:
        return 'an answer needs its "text" and "answer_start", a whole number'
    if start >= 0 and context.startswith(text, start):
        return None
    there = context[start : start + len(text)] if start >= 0 else ""
    return (
        f"its answer {text[:_SHOWN]!r} is not at character {start} of its context, where "
        f"{repr(there[:_SHOWN]) if there else 'nothing'} stands"
    )
