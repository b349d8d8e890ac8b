"""The page's scripts in one Node process: token ids, places, cuts and answers against the Python code."""

import json
import random
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from src.data.readers.rows import Row
from src.data.tokenization import Tokenizer
from src.deploy import web
from src.kinds import KINDS, SPAN, SPAN_OR_NONE, TAGGING
from src.kinds.base import Windows
from tests.helpers import our_description
from tests.texts import TRICKY, printed

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="no node")
FORMS = [(True, None), (False, None), (True, False), (False, True)]  # lower_case, strip_accents
LETTERS = "abcdefghijklmnopqrstuvwxyzßøæđłαβγσςбвгдеёйאבגאابتक\u093fขก็ท\u1100\u1161\u11a8ABCXÉéöñ"
VOCABULARY = [
    *(
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "fox",
        "##es",
        "run",
        "##ning",
        "twice",
        "twice",
        "",
        "[PAD]",
    ),
    *LETTERS,
    *(f"##{letter}" for letter in LETTERS),
    *"!?.,-'$+[]()。、「」¡¿0123456789中国人文가々ー",
    *("e\u0301", "##\u0301", "##\u0307", "한", "##국", "\u2028", "##😀", "😀", "x" * 99, "##" + "y" * 40),
]
NASTY = [
    *TRICKY,
    *("İ" * 50, "İ" * 51, "É" * 100, "É" * 101, "İa\u0301b\u0323 Ɓ\u0301"),
    *("ΑΣ ΣΑΣ ς", "İİ ıI", "ǅ ǆ Ǆ", "ﬁ ﬂ ﬀ", "ẞß", "Å Å Å", "ﷺ", "Ω Ω", "K K", "½ ² ①", "Ⅷ ⅷ"),
    *(
        "a\u0301\u0323b",
        "a\u0323\u0301b",
        "\u0301a",
        "\u0301",
        "\u0301\u0301 \u0301",
        "q\u0307\u0323",
        "ệ ế ẹ̣",
    ),
    *(
        "각 각 각",
        "한국어한국어",
        "\u302e가\u302f",
        "がぎぐ がぎ",
        "カタカナー",
        "々〆〇",
        "㐀豈𠀀𪜀",
        "﨎﨏 兀",
    ),
    *("👩‍👩‍👧 👍🏽 🇩🇪", "❤️ ☎︎", "a\u200bb\u200cc\u200dd", "a\u2060b\ufeffc", "\u202eabc\u202c", "a\u00adb"),
    *(
        "a\u0085b",
        "a\x0bb\x0cc",
        "a\x1cb\x1fc",
        "a\x7fb",
        "a\u2028b\u2029c",
        "a\u3000b\u1680c\u180ed",
        "\t\n\r a",
    ),
    *("\ue000a\uf8ffb", "\U000f0000a", "\ufdd0a\uffffb", "\U0001ffffa", "\ufff9a\ufffab\ufffbc", "a\ufffdb"),
    *(
        "a/b\\c|d~e`f^g=h<i>j",
        "“a”‘b’«c»„d‟",
        "a…b‥c·d•e",
        "a—b–c‐d−e",
        "¿a? ¡b!",
        "€5 £6 ¥7 ₹8 ₿9",
        "a_b__c",
    ),
    *("x" * 99, "x" * 100, "x" * 101, "é" * 100, "e\u0301" * 100, "e\u0301" * 101, "😀" * 100, "😀" * 101),
    *("가" * 50, "가" * 51, "\u200b" * 200 + "fox", "中" * 150, "a" * 100 + "中", "!" * 300, "ab " * 200),
    *("नमस्ते", "हिन्दी ज़ क़", "ภาษาไทย", "မြန်မာ", "العَرَبِيَّة", "עִבְרִית", "ཨོཾ", "ქართული Ა ა", "Ꭰꭰ", "𐐀𐐨", "𝔸𝐚"),
    *(
        "\u1d165\U0001d15f",
        "\U0001d157\U0001d165",
        "a\u0f71\u0f72\u0f74",
        "\u0f73",
        "\u0958",
        "\u2adc",
        "\u0344\u0340",
    ),
    *(
        "foxes running THE FOX",
        "twice",
        "fox's don't U.S.A.",
        "[CLS][SEP][PAD][UNK]",
        "##es fox##es",
        "a\n\n\nb",
        "\u00a0",
    ),
]


def random_texts(count):
    """Of characters that have something to them, many in one word."""
    chooser = random.Random(5)
    odd = "".join(NASTY) + "abcfoxes " * 20
    texts = ["".join(chooser.choices(odd, k=chooser.randint(1, 60))) for _ in range(count)]
    anything = [chr(code) for code in range(0x30000) if code not in range(0xD800, 0xE000)]
    return texts + ["".join(chooser.choices(anything, k=40)) for _ in range(count)]


def every_character():
    """Each character of the first planes between two letters, a hundred in a text."""
    codes = [
        code for code in (*range(0x20000), *range(0xE0000, 0xE0200)) if code not in range(0xD800, 0xE000)
    ]
    words = [f"a{chr(code)}b" for code in codes]
    return [" ".join(words[start : start + 100]) for start in range(0, len(words), 100)]


def texts():
    return NASTY + random_texts(100)


def pairs():
    """(text, its pair or None, longest row)."""
    chooser, words = random.Random(6), ["fox", "foxes", "a", "b!", "é", "中国"]
    for longest in (5, 6, 9, 12, 17):
        for _ in range(12):
            text, pair = (" ".join(chooser.choices(words, k=chooser.randint(1, 12))) for _ in range(2))
            yield text, chooser.choice([pair, None]), longest


TAGS = {"BIOES": TAGGING.tags(("city", "who")), "BIO": ("O", "B-who", "I-who", "B-city", "I-city")}
CONTEXT = "The foxes run. 😀 Café, naïve e\u0301 中国人 running twice! " * 4


def tagged():
    """(text, labels, its `Examples`, logits of its tokens), some of few tags so that runs are long."""
    random_logits, tokenizer = np.random.default_rng(1), Tokenizer(VOCABULARY, True)
    for labels in (*TAGS.values(), *TAGS.values()):
        for text in ("the foxes of 中国 running 😀 cafe\u0301 a b c", "x", CONTEXT):
            examples, _ = TAGGING.encode(tokenizer, [Row(text, None, None, 1)], 512)
            logits = random_logits.normal(size=(len(examples.input_ids), len(labels))) * 3
            logits[:, 0] -= 2
            yield text, labels, examples, logits.astype(np.float32)


def asked():
    """(kind, longest row, stride, row, its `Examples`, cut, logits of the tokens)."""
    random_logits, tokenizer = np.random.default_rng(2), Tokenizer(VOCABULARY, True)
    for kind in (SPAN, SPAN_OR_NONE, SPAN_OR_NONE.at_threshold(1.5)):
        for longest, stride, words in (
            (400, 128, 3),
            (40, 16, 3),
            (100, 30, 80),
            (90, 128, 1),
            (400, 128, 2),
        ):
            row = Row("fox? " * words, CONTEXT, None, 1)
            examples, cut = kind.encode(tokenizer, [row], longest, Windows(stride, 64))
            logits = random_logits.normal(size=(len(examples.input_ids), 2)) * 2
            yield kind, longest, stride, row, examples, cut, logits.astype(np.float32)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the scripts make of all of it."""
    folder = tmp_path_factory.mktemp("scripts")
    shutil.copytree(web.PAGE, folder, dirs_exist_ok=True)
    shutil.copy(Path(__file__).with_name("web_driver.js"), folder)
    (folder / "package.json").write_text('{"type": "module"}')
    described = replace(our_description(), task_name="custom")
    settings, *_ = forms = [
        web.page_settings(replace(described, strip_accents=accents), lower) for lower, accents in FORMS
    ]
    given = {
        "settings": {**settings, "longest": 512},
        "vocabulary": "".join(token + "\n" for token in VOCABULARY),
        "forms": forms,
        "texts": texts(),
        "singles": every_character(),
        "rows": list(pairs()),
        "tagged": [
            {"text": text, "labels": labels, "logits": [logits.ravel().tolist(), [1, *logits.shape]]}
            for text, labels, _, logits in tagged()
        ],
        "asked": [
            {
                "question": row.text,
                "context": row.text_pair,
                "kind": kind.name,
                "threshold": kind.threshold,
                "longest": longest,
                "stride": stride,
                "outputs": [
                    {
                        name: [logits[start:end, index].tolist(), [1, int(end - start)]]
                        for index, name in enumerate(("start_logits", "end_logits"))
                    }
                    for start, end in zip(examples.offsets[:-1], examples.offsets[1:])
                ],
            }
            for kind, longest, stride, row, examples, _, logits in asked()
        ],
    }
    run = subprocess.run(
        ["node", "web_driver.js"],
        cwd=folder,
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_page_shows_every_kind(kind):
    script = Path(web.PAGE, "page.js").read_text(encoding="utf-8")
    for table in ("SHOW", "WORDS"):
        inside = script.split(f"const {table} = {{")[1].split("};")[0]
        assert f"\n  {kind.name}:" in inside or f"{table}.{kind.name} =" in script


@pytest.mark.parametrize("form", FORMS)
def test_token_ids_and_places_are_pythons(found, form):
    given, tokenizer, place = texts(), Tokenizer(VOCABULARY, *form), FORMS.index(form)
    assert len(set(given)) > 300
    for text, (ids, spans), item in zip(given, tokenizer.pieces(given), found["texts"][place]):
        assert item == [[token, *span] for token, span in zip(ids, spans)], text
    # Python's tables of marks and the tokenizer's differ a little, so of every character the ids alone.
    singles = every_character()
    for text, ids, item in zip(singles, tokenizer.token_ids(singles), found["singles"][place]):
        assert item == ids, text


def test_rows_segments_and_cuts_are_pythons(found):
    tokenizer = Tokenizer(VOCABULARY, True)
    for (text, pair, longest), row in zip(pairs(), found["rows"]):
        ids, segments, lengths, cut = tokenizer.encode_flat([text], pair and [pair], longest)
        assert (row["ids"], row["segments"]) == (ids.tolist(), segments.tolist()) and row["cut"] == bool(cut)


def test_entities_are_pythons(found):
    count = 0
    for (text, labels, examples, logits), answer in zip(tagged(), found["tagged"]):
        lines = printed(TAGGING, logits, examples, [Row(text, None, None, 1)], labels)[0]
        expected = [line for line in lines if line != ("-",)]
        assert [(kind, str(start), str(end)) for kind, start, end, _ in answer] == [
            line[:3] for line in expected
        ]
        shares = [float(line[4]) for line in expected]
        assert [share for *_, share in answer] == pytest.approx(shares, abs=1e-4)
        count += len(expected)
    assert count > 20


def test_answers_to_questions_are_pythons(found):
    for (kind, _, _, row, examples, cut, logits), answer in zip(asked(), found["asked"]):
        starts, ends = examples.offsets[:-1], examples.offsets[1:]
        assert answer["ids"] == [examples.input_ids[start:end].tolist() for start, end in zip(starts, ends)]
        (text, start, end, share), *_ = printed(kind, logits, examples, [row], ())[0]
        assert (" ".join(answer["text"].split()) or "-") == text and answer["cut"] == bool(cut)
        assert answer["place"] == ([int(start), int(end)] if start != "-" else None)
        assert answer["share"] == pytest.approx(float(share), abs=1e-4)
