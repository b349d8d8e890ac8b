"""A text's words: which of them may be replaced, and the text with others in their place."""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from src.data.tokenization import Tokenizer

# Articles, pronouns, prepositions, conjunctions, auxiliaries, negations, and what BERT's tokenizer leaves of
# contractions. The published code keeps such words too; scikit-learn's list also has nouns and verbs.
STOP_WORDS = frozenset(
    """a an the this that these those
    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself
    she her hers herself it its itself they them their theirs themselves who whom whose which what
    about above after against along among around as at before behind below beneath beside between beyond by
    down during for from in inside into near of off on onto out outside over past per since through to toward
    towards under until up upon via with within without
    and but or nor so yet if because although though unless while whereas than whether
    am is are was were be been being do does did doing done have has had having can could may might must
    shall should will would
    no not never none neither cannot
    here there where when why how then again too very just only also both each either all any some such
    d ll m o re s t ve ain aren couldn didn doesn don hadn hasn haven isn mustn needn shan shouldn wasn weren
    wouldn""".split()
)


class Word(NamedTuple):
    """A word of a text, as BERT's tokenizer cuts it: by white space and punctuation, Chinese by character."""

    start: int
    """First character in the text."""
    end: int
    """The one after the last."""
    place: int
    """Of its first WordPiece among the text's."""
    pieces: int
    """How many WordPieces it has."""


SplitText = tuple[list[int], list[Word]]
"""WordPiece ids of a text, without [CLS] and [SEP], and its words."""


def has_letters(word: str) -> bool:
    """Whether a word has a letter or a digit."""
    return any(character.isalnum() for character in word)


def is_replaceable(word: str) -> bool:
    """Whether a word, as its text has it, may get another in its place."""
    return has_letters(word) and word.lower() not in STOP_WORDS


def split_words(tokenizer: Tokenizer, texts: Sequence[str]) -> list[SplitText]:
    """The texts as the tokenizer cuts them."""
    found = []
    for ids, numbers, spans in tokenizer.words(texts):
        words: list[Word] = []
        last = None
        for place, (number, (start, end)) in enumerate(zip(numbers, spans)):
            if number == last:
                words[-1] = words[-1]._replace(end=end, pieces=words[-1].pieces + 1)
            else:
                words.append(Word(start, end, place, 1))
            last = number
        found.append((ids, words))
    return found


def replace_words(text: str, words: Sequence[Word], chosen: Mapping[int, str]) -> str:
    """`text` with other words in the place of some.

    Args:
        words: the text's. chosen: {index of a word: what comes in its place}.
    """
    parts: list[str] = []
    end = 0
    for index in sorted(chosen):
        parts += [text[end : words[index].start], chosen[index]]
        end = words[index].end
    joined = ""
    for part in [*parts, text[end:]]:
        if joined and part and _would_merge(joined[-1], part[0]):
            joined += " "
        joined += part
    return joined


def _would_merge(left: str, right: str) -> bool:
    """Whether two characters that meet would become one word: a Chinese one stands for itself."""
    return left.isalnum() and right.isalnum() and not (is_chinese(left) or is_chinese(right))


def is_chinese(character: str) -> bool:
    """Whether a character is a Chinese one, which is a word by itself."""
    return unicodedata.name(character, "").startswith("CJK")
