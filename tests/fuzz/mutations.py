"""Valid bytes with some edits, as a Hypothesis strategy: it finds the smallest edit that still fails."""

import re

from hypothesis import strategies as st

TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"|[^\s,:;\t\[\]{}"]+')
"""A value, or a key, in JSON, YAML, TSV or a command line."""
WORDS = (
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-0.0", b"0", b"-1", b"1.5", b"2147483648", b'"x"'),
    *(b"1e20", b"18446744073709551616", b"1" * 5000, b"9" * 50, b"[]", b"{}", b"[[]]", b'{"a": null}', b""),
    *(b'"\\ud800"', b'""', b'"' + b"x" * 3000 + b'"', b"[" * 3000, b'{"a":' * 3000, b"\xff", b"\x00", b"\n"),
    *(
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\t",
        b'"',
        b"'",
        b"\\",
        b"%",
        b"*",
        b"&a",
        b"!!python/object",
        b"..",
        b"/",
    ),
    *(b"\xe2\x80\xa8", b"\r", b"\x1f\x8b", b"<doc ", b"</doc>", b"~", b"--", b"=", b"True", b"/"),
)
"""What breaks readers: other types, numbers beyond every type, halves of characters, nesting, magic bytes."""
KINDS = ("value", "value", "value", "part", "byte", "bit", "insert", "delete", "repeat", "cut", "append")


def _value(data, at, size, word):
    found = list(TEXT.finditer(data))
    if not found:
        return word
    start, end = found[at % len(found)].span()
    return data[:start] + word + data[end:]


def _part(data, at, size, word):
    """A list or object with all in it replaced."""
    starts = [place for place, byte in enumerate(data) if byte in b"[{"]
    if not starts:
        return _value(data, at, size, word)
    start, depth = starts[at % len(starts)], 0
    for end in range(start, len(data)):
        depth += (data[end] in b"[{") - (data[end] in b"]}")
        if not depth:
            return data[:start] + word + data[end + 1 :]
    return data[:start] + word


def _bit(data, at, size, word):
    at %= len(data)
    return data[:at] + bytes([data[at] ^ (1 << size % 8)]) + data[at + 1 :]


def edited(data, kind, at, size, word):
    """One edit.

    Args:
        data (bytes): what is edited. kind (str): one of `KINDS`. at (int): where, modulo the length. size
            (int): of a part. word (bytes): what is put there.
    """
    if kind == "value":
        return _value(data, at, size, word)
    if kind == "part":
        return _part(data, at, size, word)
    if not data:
        return word
    if kind == "bit":
        return _bit(data, at, size, word)
    at %= len(data)
    if kind == "byte":
        return data[:at] + bytes([size * 4 % 256]) + data[at + 1 :]
    if kind == "insert":
        return data[:at] + word + data[at:]
    if kind == "delete":
        return data[:at] + data[at + size :]
    if kind == "repeat":
        return data[:at] + data[at : at + size] * 3 + data[at + size :]
    return data[:at] if kind == "cut" else data + word


@st.composite
def mutated(draw, seeds):
    """One of some valid contents with one to four edits."""
    data = draw(st.sampled_from(seeds))
    edit = st.tuples(
        st.sampled_from(KINDS), st.integers(0, 1 << 16), st.integers(1, 64), st.sampled_from(WORDS)
    )
    for kind, at, size, word in draw(st.lists(edit, min_size=1, max_size=4)):
        data = edited(data, kind, at, size, word)
    return data
