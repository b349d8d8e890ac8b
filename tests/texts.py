"""Texts that several test files share: odd ones, and the documents of a small corpus."""

from src.data.synthetic import sentences, vocabulary

TRICKY = [
    "",
    " ",
    "\t\n",
    "The quick foxes",
    "unaffable!",
    "CAFÉ café cafe\u0301",
    "naïve",
    "中国 fox中fox",
    "run...!?--[]",
    "😀 fox😀",
    "fox\x00fox",
    "fox\u200dfox",
    "fox\ufffdfox",
    "\x07",
    "fox\u00a0run\u3000the",
    "[SEP] [MASK] [CLS]",
    "a" * 100,
    "a" * 101,
    "x" * 500 + " fox",
    "running,running",
    "'the'",
    "$1+1",
    "İstanbul",
    "ﬁne ß",
    "fox\u2028run",
    "\u00adfox",
    "１９ 19",
    "##es ##",
    "e\u0301\u0301",
    "한국어",
    "ไทย",
    "\r\nfox\r",
    "--",
    "\ufeffthe",
]
TRICKY_VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "quick",
    "fox",
    "##es",
    "run",
    "##ning",
    "cafe",
    "na",
    "##ive",
    ".",
    ",",
    "!",
    "?",
    "-",
    "'",
    "[",
    "]",
    "sep",
    "un",
    "##aff",
    "##able",
    "中",
    "国",
    "a",
    "##a",
    "x",
    "##x",
    "Fox",
    "café",
    "😀",
    "$",
    "+",
    "1",
    "##9",
]

_PAIRS = sentences(600, seed=1)
TEXTS = [text for text, _ in _PAIRS]
VOCABULARY = vocabulary(_PAIRS)
DOCUMENTS = [TEXTS[start : start + 12] for start in range(0, len(TEXTS), 12)]


def plain(documents=DOCUMENTS):
    """The documents as a corpus file holds them."""
    return "\n\n".join("\n".join(lines) for lines in documents) + "\n"


def encoded_rows(tokenizer, *arguments):
    """[(input_ids, segment_ids)] of each row that a `Tokenizer`'s `encode_flat` gives, as lists."""
    ids, segments, lengths, _ = tokenizer.encode_flat(*arguments)
    ends = lengths.cumsum().tolist()
    return [(ids[a:b].tolist(), segments[a:b].tolist()) for a, b in zip([0, *ends], ends)]


def printed(kind, *asked):
    """For each text the lines that predict.py prints, as tuples of columns; arguments as of `outcomes`."""
    return [kind.columns_of(outcome) for outcome in kind.outcomes(*asked)]


def yaml_bomb():
    """Settings in a kilobyte that mean a milliard of values."""
    rows = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join(rows) + "\n"


def merge_bomb():
    """The same of sections that are merged."""
    rows = ["a0: &a0 {seed: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40))]
    return "\n".join(rows) + "\n"
