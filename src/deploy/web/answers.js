// What a model's numbers say: the answers of src/kinds, as predict.py prints them.

export function softmax(scores) {
  const most = Math.max(...scores);
  const shifted = scores.map((score) => Math.exp(score - most));
  const sum = shifted.reduce((total, value) => total + value, 0);
  return shifted.map((value) => value / sum);
}

/** [{label, share}], the most probable first. */
export function rankedLabels(logits, labels) {
  const shares = softmax([...logits]);
  return labels.map((label, index) => ({ label, share: shares[index] })).sort((a, b) => b.share - a.share);
}

const PREFIXES = { B: "B", I: "I", M: "I", E: "E", L: "E", S: "S", U: "S" };

function readTag(name) {
  const dash = name.indexOf("-");
  return name === "O"
    ? { prefix: "O", type: "" }
    : { prefix: PREFIXES[name.slice(0, dash)], type: name.slice(dash + 1) };
}

/**
 * [{type, start, end, share}] of a text: the runs of tags of one type that are whole (src/kinds/tagging.py).
 *
 * @param {number[][]} logits of every token of the text, without [CLS] and [SEP]
 * @param {{start: number, end: number}[]} pieces of the text
 */
export function entitiesOf(logits, pieces, labels) {
  const tags = labels.map(readTag);
  const hasEnds = tags.some((tag) => tag.prefix === "E" || tag.prefix === "S");
  const runs = [];
  logits.forEach((scores, index) => {
    const shares = softmax(scores);
    const share = Math.max(...shares);
    const tag = tags[shares.indexOf(share)];
    const run = runs.at(-1);
    const before = run?.tags.at(-1);
    const goesOn =
      before && "BI".includes(before.prefix) && "IE".includes(tag.prefix) && before.type === tag.type;
    if (goesOn) {
      run.tags.push(tag);
      run.shares.push(share);
    } else runs.push({ first: index, tags: [tag], shares: [share] });
  });
  const whole = ({ tags: run }) => {
    const [first, last] = [run[0].prefix, run.at(-1).prefix];
    return hasEnds ? first === "S" || (first === "B" && last === "E") : first === "B";
  };
  return runs.filter(whole).map(({ first, tags: run, shares }) => ({
    type: run[0].type,
    start: pieces[first].start,
    end: pieces[first + run.length - 1].end,
    share: shares.reduce((total, value) => total + value, 0) / shares.length,
  }));
}

/** [[first token, the one after the last]] of the windows of a text (`cuts` of src/kinds/span.py). */
export function cuts(tokens, room, stride) {
  const windows = [[0, Math.min(tokens, room)]];
  while (windows.at(-1)[1] < tokens) {
    const start = windows.at(-1)[0] + Math.min(stride, room);
    windows.push([start, Math.min(tokens, start + room)]);
  }
  return windows;
}

/** The best answers of a window: [{start, end, text, score}]. */
function candidates({ starts, ends, pieces, head }, text, { longest_answer: longest }) {
  const found = [];
  pieces.forEach(({ start }, first) => {
    const furthest = Math.min(pieces.length, first + longest);
    for (let last = first; last < furthest; last += 1) {
      const { end } = pieces[last];
      const score = starts[head + first] + ends[head + last];
      found.push({ start, end, text: text.slice(start, end), score });
    }
  });
  return found;
}

/**
 * The best answers to a question over all windows of a text, with their shares, and the chosen one or null.
 *
 * @param {{starts: Float32Array, ends: Float32Array, pieces: object[], head: number}[]} windows `head` is the
 *     number of tokens before the window's first
 * @param {object} settings of page.json: `longest_answer`, `best_answers`, `kind`, `threshold`
 */
export function answersOf(windows, text, settings) {
  const order = (a, b) => b.score - a.score || a.start - b.start || a.end - b.end;
  const best = new Map();
  const kept = windows.flatMap((window) =>
    candidates(window, text, settings).sort(order).slice(0, settings.best_answers),
  );
  for (const answer of kept.sort(order)) if (!best.has(answer.text)) best.set(answer.text, answer);
  const listed = [...best.values()].slice(0, settings.best_answers);
  const none = {
    start: null,
    end: null,
    text: "",
    score: Math.min(...windows.map(({ starts, ends }) => starts[0] + ends[0])),
  };
  const mayBeNone = settings.kind === "span_or_none";
  const chosen = listed.length && !(mayBeNone && none.score - listed[0].score > settings.threshold) ? listed[0] : null;
  if (mayBeNone || !listed.length) listed.push(none);
  listed.sort((a, b) => b.score - a.score);
  const shares = softmax(listed.map((answer) => answer.score));
  const ranked = listed.map((answer, index) => ({ ...answer, share: shares[index] }));
  return { ranked, chosen: ranked.find((answer) => answer.text === (chosen?.text ?? "")) };
}
