"""A templated English sentiment corpus of our own words, in SST-2's file layout: for the quick start and for
tests.

Train and dev share words and sentence patterns but no sentence, and single words do not give the label away:
every adjective also occurs negated, and in a contrast ("the plot was dull , but i loved the songs") the last
opinion decides.

    python -m src.data.synthetic --output_dir FOLDER
"""

import argparse
import os
import random
import string
from collections.abc import Iterable

from src.errors import UserError, command
from src.files import make_folder, replacing

MAX_ROWS = 200_000  # far below what the patterns can give, so that drawing new sentences stays quick
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# Noun that is judged -> what of it is judged. Every adjective and verb below fits every aspect.
_ASPECTS = {
    "film": ("plot", "ending", "cast", "soundtrack", "script", "dialogue", "editing", "opening scene"),
    "novel": ("story", "last chapter", "language", "hero", "villain", "preface", "humour"),
    "hotel": ("room", "breakfast", "view", "service", "garden", "bed", "lobby"),
    "restaurant": ("soup", "dessert", "menu", "waiter", "bread", "wine list", "terrace"),
    "concert": ("singer", "drummer", "sound", "stage design", "encore", "first song", "lighting"),
    "lecture": ("speaker", "topic", "introduction", "discussion", "slides", "summary"),
    "game": ("level design", "music", "tutorial", "final boss", "world", "puzzle system"),
    "exhibition": ("sculptures", "layout", "audio guide", "photographs", "catalogue", "main hall"),
}
_PLURAL = frozenset(("slides", "sculptures", "photographs"))
_GOOD = (
    "good",
    "great",
    "lovely",
    "brilliant",
    "charming",
    "delightful",
    "clever",
    "superb",
    "fresh",
    "moving",
    "elegant",
    "impressive",
    "pleasant",
    "memorable",
    "wonderful",
    "splendid",
    "thoughtful",
    "inspired",
    "graceful",
    "excellent",
)
_BAD = (
    "bad",
    "awful",
    "dreadful",
    "dull",
    "clumsy",
    "boring",
    "poor",
    "weak",
    "stale",
    "lifeless",
    "shabby",
    "disappointing",
    "unpleasant",
    "forgettable",
    "terrible",
    "sloppy",
    "careless",
    "tedious",
    "crude",
    "mediocre",
)
_LIKE = ("enjoyed", "loved", "admired", "liked", "adored", "appreciated")
_DISLIKE = ("hated", "disliked", "regretted", "loathed", "resented", "despised")
_LIKE_BASE = ("enjoy", "love", "admire", "like", "adore", "appreciate")
_DISLIKE_BASE = ("hate", "dislike", "regret", "loathe", "resent", "despise")
_DEGREE = (
    "really",
    "truly",
    "quite",
    "rather",
    "very",
    "thoroughly",
    "remarkably",
    "absolutely",
    "fairly",
    "simply",
)
_DEGREE_OF_VERB = ("really", "truly", "thoroughly", "absolutely", "simply", "certainly")
_WHO = (
    "i",
    "we",
    "my sister",
    "my friends",
    "our whole group",
    "the children",
    "most visitors",
    "my neighbour",
    "everyone",
)
_OTHERS = (
    "the critics",
    "my uncle",
    "the local paper",
    "a colleague",
    "some reviewers",
    "the brochure",
    "an old friend",
)
_NEUTRAL = (
    "it was a tuesday evening",
    "the ticket cost ten coins",
    "we came by train",
    "it lasted two hours",
    "it rained outside",
    "my brother paid for both of us",
    "we sat near the door",
    "it was our third visit this year",
    "the place opened in may",
    "we had booked a month before",
    "it is close to the river",
    "a large crowd was there",
    "i went with two friends",
    "the whole thing ended at nine",
)
_CONTRAST = (", but", ", yet", ". still ,", "; however ,", ". even so ,", ", but in the end")
_CONCESSION = ("although", "though", "even though", "while", "even if")
_ADDITION = (", and", ". also ,", "; besides ,", ". what is more ,", ", and on top of that")


class _Writer:
    """Random sentences of one corpus. `good` is the sentiment a part must express."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.pick = rng.choice

    def sentence(self, good: bool) -> str:
        """One whole sentence whose last opinion is `good`."""
        thing = self.pick(sorted(_ASPECTS))
        pattern = self.pick(
            (
                self._plain,
                self._plain,
                self._agreement,
                self._contrast,
                self._contrast,
                self._concession,
                self._others,
                self._others,
            )
        )
        text = pattern(thing, good)
        chance = self.rng.random()
        if chance < 0.15:
            text = f"{self.pick(_NEUTRAL)} ; {text}"
        elif chance < 0.3:
            text = f"{text} ; {self.pick(_NEUTRAL)}"
        return f"{text} {self.pick(('.', '.', '.', '!'))}"

    def _plain(self, thing, good):
        return self._opinion(thing, good)

    def _agreement(self, thing, good):
        return f"{self._opinion(thing, good)} {self.pick(_ADDITION)} {self._opinion(thing, good)}"

    def _contrast(self, thing, good):
        return f"{self._opinion(thing, not good)} {self.pick(_CONTRAST)} {self._opinion(thing, good)}"

    def _concession(self, thing, good):
        return f"{self.pick(_CONCESSION)} {self._opinion(thing, not good)} , {self._opinion(thing, good)}"

    def _others(self, thing, good):
        """Somebody else's opinion, which may be either, before the writer's own."""
        heard = self._adjective(self.rng.random() < 0.5)
        verb = self.pick(("called", "found", "declared", "had called"))
        said = f"{self.pick(_OTHERS)} {verb} the {self._aspect(thing)} {heard}"
        return f"{said} {self.pick(_CONTRAST)} {self._opinion(thing, good)}"

    def _opinion(self, thing, good):
        """One clause that says something `good` or bad."""
        return self.pick(
            (self._is, self._is, self._is_not, self._felt, self._felt_not, self._nobody, self._such)
        )(thing, good)

    def _aspect(self, thing):
        name = self.pick(_ASPECTS[thing])
        return self.pick((name, name, f"{name} of the {thing}", f"{thing} 's {name}"))

    def _adjective(self, good):
        return self.pick(_GOOD if good else _BAD)

    def _degree(self, words=_DEGREE):
        return self.pick(words) + " " if self.rng.random() < 0.4 else ""

    def _is(self, thing, good):
        aspect = self._aspect(thing)
        were, seems = ("were", "seemed") if _PLURAL & set(aspect.split()) else ("was", "seemed")
        return (
            f"the {aspect} {self.pick((were, were, seems, 'turned out'))} "
            f"{self._degree()}{self._adjective(good)}"
        )

    def _is_not(self, thing, good):
        aspect = self._aspect(thing)
        verb = "were" if _PLURAL & set(aspect.split()) else "was"
        negation = self.pick(
            (
                f"{verb} not",
                f"{verb} never",
                f"{verb} hardly",
                f"{verb} by no means",
                f"{verb} anything but",
                "did not seem",
                f"{verb} far from",
            )
        )
        return f"the {aspect} {negation} {self._degree()}{self._adjective(not good)}"

    def _felt(self, thing, good):
        verb = self.pick(_LIKE if good else _DISLIKE)
        return f"{self.pick(_WHO)} {self._degree(_DEGREE_OF_VERB)}{verb} the {self._aspect(thing)}"

    def _felt_not(self, thing, good):
        negation = self.pick(("did not", "never could", "could not", "would not"))
        return (
            f"{self.pick(_WHO)} {negation} {self.pick(_DISLIKE_BASE if good else _LIKE_BASE)} the "
            f"{self._aspect(thing)}"
        )

    def _nobody(self, thing, good):
        who = self.pick(("nobody", "no one", "not one of us", "hardly anyone"))
        verb = self.pick(("would call", "could call", "found", "thought"))
        return f"{who} {verb} the {self._aspect(thing)} {self._adjective(not good)}"

    def _such(self, thing, good):
        """The adjective before its noun."""
        adjective = self._adjective(good)
        article = "an" if adjective[0] in "aeiou" else "a"
        return f"{self.pick(('it was', 'this was', 'they gave us'))} {article} {adjective} {thing}"


def sentences(rows: int, seed: int) -> list[tuple[str, int]]:
    """`rows` different (sentence, label) pairs in random order, half of them positive (label 1)."""
    rng = random.Random(seed)
    writer, seen = _Writer(rng), set()
    pairs: list[tuple[str, int]] = []
    while len(pairs) < rows:
        label = len(pairs) % 2
        text = writer.sentence(bool(label))
        if text not in seen:
            seen.add(text)
            pairs.append((text, label))
    rng.shuffle(pairs)
    return pairs


def vocabulary(pairs: Iterable[tuple[str, int]]) -> list[str]:
    """A WordPiece vocabulary: BERT's special tokens, all ASCII characters (alone and as ##), then every word
    of `pairs`.

    With the single characters, no word that a user types becomes [UNK].
    """
    characters = sorted(string.ascii_lowercase + string.digits)
    single = sorted(set(string.punctuation)) + characters
    words = {word for text, _ in pairs for word in text.split()} - set(single)
    return [*_SPECIAL, *single, *("##" + character for character in characters), *sorted(words)]


def write_corpus(folder: str, train_rows: int, dev_rows: int, seed: int) -> None:
    """Write train.tsv, dev.tsv (SST-2's columns sentence and label) and vocab.txt into `folder`.

    Args:
        folder: made if missing; files of these names are replaced.
        train_rows, dev_rows: sentences in each file; no sentence is in both.
        seed: same seed and sizes, same files.

    Raises:
        UserError: a number of rows below 1 or above what the patterns surely give, or a folder that cannot be
            made.
    """
    for name, rows in (("train_rows", train_rows), ("dev_rows", dev_rows)):
        if not 1 <= rows <= MAX_ROWS:
            raise UserError(f"{name} must be from 1 to {MAX_ROWS}, not {rows}")
    make_folder(folder)
    pairs = sentences(train_rows + dev_rows, seed)
    for name, part in (("train", pairs[:train_rows]), ("dev", pairs[train_rows:])):
        _write_lines(
            os.path.join(folder, f"{name}.tsv"),
            ["sentence\tlabel", *(f"{text}\t{label}" for text, label in part)],
        )
    _write_lines(os.path.join(folder, "vocab.txt"), vocabulary(pairs))


def _write_lines(path: str, lines: Iterable[str]) -> None:
    with replacing(path) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.writelines(line + "\n" for line in lines)


@command
def main() -> None:
    """Write one corpus as the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m src.data.synthetic",
        description="Write a templated sentiment corpus in SST-2's layout.",
    )
    parser.add_argument("--output_dir", required=True, help="folder for train.tsv, dev.tsv and vocab.txt")
    parser.add_argument(
        "--train_rows", type=int, default=8000, help="training sentences (default: %(default)s)"
    )
    parser.add_argument("--dev_rows", type=int, default=1000, help="dev sentences (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="same seed, same corpus (default: %(default)s)")
    settings = parser.parse_args()
    write_corpus(settings.output_dir, settings.train_rows, settings.dev_rows, settings.seed)
    print(
        f"wrote {settings.train_rows:,} training and {settings.dev_rows:,} dev sentences and vocab.txt to "
        f"{settings.output_dir}"
    )


if __name__ == "__main__":
    main()
