"""A folder that any web server makes a page of, where the browser itself runs a model: the files of
`src/deploy/web/`, an ONNX file with its vocabulary, ONNX Runtime Web, and page.json, which says what the
scripts need to know.
"""

from __future__ import annotations

import functools
import itertools
import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from src.checkpoint.folder import VOCABULARY_FILE, write_vocabulary
from src.data.tokenization import Tokenizer
from src.deploy.exports import ONNX_FILE, export_onnx
from src.deploy.web_runtime import FILES, write_runtime
from src.description import Description
from src.errors import UserError
from src.files import check_replaceable, replacing_folder, write_json
from src.kinds.base import BERT_WINDOWS
from src.kinds.span import LONGEST_ANSWER, N_BEST
from src.tasks import get_task
from src.terminal import say
from src.vocabulary import MAX_WORD_CHARACTERS, SPECIAL

if TYPE_CHECKING:
    from src.model import Model
    from src.sources import ClueTopics, GlueTsv, OwnRows
PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "web")
SETTINGS_FILE = "page.json"
_RUNTIME = "runtime"
_SURROGATES = range(0xD800, 0xE000)


def export_web(
    path: str, model: Model, description: Description, asked: str, length: int, given_runtime: str
) -> str:
    """Write the folder.

    Args:
        model (Model): with its vocabulary. description (Description): what the file says of itself.
        asked (str), length (int): as in `export_onnx`.
        given_runtime (str): as in `write_runtime`.

    Returns:
        The path of the ONNX file in it.

    Raises:
        UserError: the model has no vocabulary, another folder would be replaced, or there is no runtime.
    """
    if model.vocabulary is None:
        raise UserError(
            f"ckpt_file: {model.source} has no {VOCABULARY_FILE}, which the page tokenizes with; put the one "
            "the model was trained with beside it"
        )
    check_own(path)
    with replacing_folder(path) as folder:
        version = write_runtime(os.path.join(folder, _RUNTIME), given_runtime)
        export_onnx(os.path.join(folder, ONNX_FILE), model, description, asked, length)
        write_page(folder, description, model.vocabulary, model.lower_case)
        sizes = sizes_of(folder)
    say(
        f"a page with a model of {sizes['model']:,} bytes and ONNX Runtime Web {version} of "
        f"{sizes['runtime']:,} bytes"
    )
    return os.path.join(path, ONNX_FILE)


def check_own(path: str) -> None:
    """Refuse to replace a folder that `export_web` did not write."""
    own = {*os.listdir(PAGE), ONNX_FILE, VOCABULARY_FILE, SETTINGS_FILE, _RUNTIME}
    check_replaceable(path, "file_name", "|".join(name.replace(".", r"\.") for name in own))
    if os.path.isdir(path) and os.listdir(path) and not os.path.isfile(os.path.join(path, SETTINGS_FILE)):
        raise UserError(
            f"file_name: {path} holds files but no {SETTINGS_FILE}: this program did not write them, and "
            "they would be replaced; name another folder"
        )


def write_page(folder: str, description: Description, vocabulary: Sequence[str], lower_case: bool) -> None:
    """Write what belongs to the page into a folder that holds the ONNX file and the runtime."""
    for name in os.listdir(PAGE):
        shutil.copyfile(os.path.join(PAGE, name), os.path.join(folder, name))
    write_vocabulary(os.path.join(folder, VOCABULARY_FILE), vocabulary)
    settings = page_settings(description, lower_case)
    write_json(os.path.join(folder, SETTINGS_FILE), {**settings, "bytes": sizes_of(folder)})


def sizes_of(folder: str) -> dict[str, int]:
    """Bytes of the model and of the runtime's files."""
    sizes = [os.path.getsize(os.path.join(folder, _RUNTIME, name)) for name in FILES]
    return {"model": os.path.getsize(os.path.join(folder, ONNX_FILE)), "runtime": sum(sizes)}


def page_settings(description: Description, lower_case: bool) -> dict[str, Any]:
    """What page.json says of a model: its `Description`, and whether its text is lower-cased; `strip_accents`
    is as in `Tokenizer`.
    """
    kind = description.kind
    assert kind is not None  # what is exported has a head
    return {
        "task": description.task_name,
        "kind": kind.name,
        "labels": list(description.label_names),
        "second_text": second_text(description),
        "longest": description.longest_row,
        "segments": description.bert.type_vocab_size,
        "longest_question": BERT_WINDOWS.max_query_length,
        "stride": BERT_WINDOWS.doc_stride,
        "longest_answer": LONGEST_ANSWER,
        "best_answers": N_BEST,
        "threshold": kind.threshold,
        "lower_case": lower_case,
        "strip_accents": description.strip_accents,
        "longest_word": MAX_WORD_CHARACTERS,
        "characters": character_classes(),
    }


def second_text(description: Description) -> str:
    """Whether a row has two texts: "always", "never" or "maybe"."""
    kind = description.kind
    assert kind is not None  # what is exported has a head
    if kind.needs_texts:
        return "always"
    if kind.logits_per == "token":
        return "never"
    # Of the others' kinds every row has two texts, or is one of tokens.
    source = cast("GlueTsv | ClueTopics | OwnRows", get_task(description.task_name).source)
    columns, *_ = source.layouts("jsonl", False)
    return "never" if columns.text_pair is None else "maybe" if columns.pair_is_optional else "always"


@functools.lru_cache(maxsize=1)
def character_classes() -> dict[str, list[int]]:
    """{class: [first, last, first, last, ...] code points} as the tokenizer has them, asked of itself: its
    tables are of another Unicode than a browser's.
    """
    cased, lower = (Tokenizer(SPECIAL, lower_case) for lower_case in (False, True))
    plain, bare = (_each_normalized(tokenizer) for tokenizer in (cased, lower))
    # Between two letters a punctuation mark is a word of its own, and what is none joins them.
    words = cased.split("a".join(map(chr, _codes("a"))))
    classes = {
        "spaces": [code for code, text in plain.items() if text == " "],
        "dropped": sorted([*(code for code, text in plain.items() if not text), *_SURROGATES]),
        "chinese": [code for code, text in plain.items() if text == f" {chr(code)} "],
        "accents": [code for code, text in plain.items() if text and not bare[code]],
        "punctuation": sorted({ord(word) for word in words if len(word) == 1 and word != "a"}),
    }
    return {name: _ranges(codes) for name, codes in classes.items()}


def _codes(but: str) -> list[int]:
    """The code points of characters but for one; planes 4 to 13 of Unicode hold none."""
    used = itertools.chain(range(0x40000), range(0xE0000, 0x110000))
    return [code for code in used if code not in _SURROGATES and code != ord(but)]


def _each_normalized(tokenizer: Tokenizer) -> dict[int, str]:
    """{code point: what the tokenizer makes of it}, of all but |, to which it turns no other character."""
    codes = _codes("|")
    return dict(zip(codes, tokenizer.normalized("|".join(map(chr, codes))).split("|")))


def _ranges(codes: list[int]) -> list[int]:
    found: list[int] = []
    for code in codes:
        if found and found[-1] == code - 1:
            found[-1] = code
        else:
            found += [code, code]
    return found
