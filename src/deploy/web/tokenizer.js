// BERT's tokenization with the ids, cuts and places of src/data/tokenization.py.
//
// Places are offsets into the text as it was given, in JavaScript's units (UTF-16).

const MARK = /^\p{M}$/u;

/** Whether `code` is in one of the ranges [first, last, first, last, ...], which are in order. */
function inside(ranges, code) {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[middle] < code) low = middle + 1;
    else high = middle;
  }
  return ranges[low] === code || low % 2 === 1;
}

/** Put marks into Unicode's canonical order, as normalizing the whole text would. */
function orderMarks(found) {
  for (let last = 1; last < found.length; last += 1) {
    for (let place = last; place > 0 && MARK.test(found[place].character); place -= 1) {
      const pair = found[place - 1].character + found[place].character;
      if (pair.normalize("NFD") === pair) break;
      [found[place - 1], found[place]] = [found[place], found[place - 1]];
    }
  }
}

/** How many tokens of two texts stay where both may have `budget`: Google's rule (`truncate_pair`). */
export function truncatePair(first, second, budget) {
  if (first + second <= budget) return [first, second];
  const half = Math.floor(budget / 2);
  if (second <= half) return [budget - second, second];
  if (first <= budget - half) return [first, budget - first];
  return [budget - half, half];
}

export class Tokenizer {
  /**
   * @param {string} vocabulary the text of vocab.txt: a token a line
   * @param {object} settings of page.json: `lower_case`, `strip_accents` (null: where the text is lower-cased),
   *     `longest_word` and the `characters` of each class
   */
  constructor(vocabulary, settings) {
    const tokens = vocabulary.replace(/\r?\n$|\r$/, "").split(/\r\n|\r|\n/);
    this.ids = new Map(tokens.map((token, id) => [token, id])); // of one listed twice the later line counts
    [this.unknown, this.cls, this.sep] = ["[UNK]", "[CLS]", "[SEP]"].map((token) => this.ids.get(token));
    this.lowerCase = settings.lower_case;
    this.stripAccents = settings.strip_accents ?? settings.lower_case;
    this.longestWord = settings.longest_word;
    this.characters = settings.characters;
  }

  /** [{id, start, end}] of a text, without [CLS] and [SEP] and uncut. */
  pieces(text) {
    const found = this.words(text).flatMap((word) => this.piecesOf(word));
    // A token ends behind the accents on its last character, which are left out of it.
    for (let index = found.length - 1, following = text.length; index >= 0; index -= 1) {
      let { end } = found[index];
      while (end < following) {
        const code = text.codePointAt(end);
        if (!inside(this.characters.accents, code)) break;
        end += String.fromCodePoint(code).length;
      }
      found[index].end = end;
      following = found[index].start;
    }
    return found;
  }

  /** `[CLS] text [SEP]` or `[CLS] text [SEP] pair [SEP]`: {ids, segments, pieces, cut}. */
  encode(text, pair, longest) {
    const first = this.pieces(text);
    const second = pair === null ? null : this.pieces(pair);
    const [keep, keepSecond] = second
      ? truncatePair(first.length, second.length, longest - 3)
      : [Math.min(first.length, longest - 2), 0];
    const ids = (pieces) => pieces.map((piece) => piece.id);
    const head = [this.cls, ...ids(first.slice(0, keep)), this.sep];
    const tail = second ? [...ids(second.slice(0, keepSecond)), this.sep] : [];
    return {
      ids: [...head, ...tail],
      segments: [...head.map(() => 0), ...tail.map(() => 1)],
      pieces: first.slice(0, keep),
      cut: keep < first.length || (second !== null && keepSecond < second.length),
      empty: !first.length || (second !== null && !second.length),
    };
  }

  /** The words of a text: lists of {character, start, end}. */
  words(text) {
    const words = [];
    let word = [];
    const close = () => {
      if (word.length) words.push(word);
      word = [];
    };
    for (const item of this.normalized(text)) {
      const alone = inside(this.characters.punctuation, item.character.codePointAt(0));
      if (item.character === " " || alone) close();
      if (alone) words.push([item]);
      else if (item.character !== " ") word.push(item);
    }
    close();
    return words;
  }

  /** Text as it is cut into words, [{character, start, end}]: clean, and as the settings say bare and lower. */
  normalized(text) {
    const clean = this.clean(text);
    const bare = this.stripAccents ? this.withoutAccents(clean) : clean;
    if (!this.lowerCase) return bare;
    // Letter by letter, as Python's library does: a last sigma is like any other, and a letter may become two.
    return bare.flatMap((item) =>
      Array.from(item.character.toLowerCase(), (character) => ({ ...item, character })),
    );
  }

  /** Text without control characters, with spaces around Chinese ones, in that form. */
  clean(text) {
    const { spaces, dropped, chinese } = this.characters;
    const found = [];
    let start = 0;
    for (const given of text) {
      const end = start + given.length;
      const code = given.codePointAt(0);
      const put = (character) => found.push({ character, start, end });
      if (inside(spaces, code)) put(" ");
      else if (inside(chinese, code)) [" ", given, " "].forEach(put);
      else if (!inside(dropped, code)) put(given);
      start = end;
    }
    return found;
  }

  /** Such text in Unicode's decomposed form, without its accents. */
  withoutAccents(clean) {
    const found = clean.flatMap((item) =>
      Array.from(item.character.normalize("NFD"), (character) => ({ ...item, character })),
    );
    orderMarks(found);
    return found.filter(({ character }) => !inside(this.characters.accents, character.codePointAt(0)));
  }

  /** WordPiece: the longest token of the vocabulary first; a word that is not made of them is [UNK]. */
  piecesOf(word) {
    const whole = [{ id: this.unknown, start: word[0].start, end: word.at(-1).end }];
    if (word.length > this.longestWord) return whole;
    const characters = word.map((item) => item.character);
    const pieces = [];
    for (let start = 0, end; start < word.length; start = end) {
      let id;
      for (end = word.length; end > start; end -= 1) {
        id = this.ids.get((start ? "##" : "") + characters.slice(start, end).join(""));
        if (id !== undefined) break;
      }
      if (id === undefined) return whole;
      pieces.push({ id, start: word[start].start, end: word[end - 1].end });
    }
    return pieces;
  }
}
