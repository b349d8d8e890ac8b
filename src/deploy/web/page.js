// The page: the form's fields for the model's kind of task, and its answers as text and bars.

import { Model } from "./model.js";

const part = (id) => document.getElementById(id);
const SHOWN_LABELS = 6;
const SHOWN_ANSWERS = 3;

/** An element with a class and children, which may be texts. */
function made(tag, className, ...children) {
  const element = document.createElement(tag);
  element.className = className;
  element.append(...children);
  return element;
}

const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 2 : 1)}\u00a0MB`;
const duration = (time) => `${time.toFixed(time < 10 ? 1 : 0)}\u00a0ms`;

function say(text, isError = false) {
  part("state").textContent = text;
  part("state").className = isError ? "error" : "";
  part("state").hidden = !text;
}

/** A label with its share as a bar. */
function bar(name, share) {
  const filled = made("span", "filled");
  filled.style.width = `${100 * share}%`;
  const row = made("div", "row", made("span", "name", name), made("span", "share", percent(share)));
  return made("li", "", row, made("div", "bar", filled));
}

/** A text with parts of it marked; they do not overlap. */
function marked(text, places) {
  const block = made("p", "marked");
  block.dir = "auto";
  let done = 0;
  for (const { start, end, type, colour } of places) {
    const mark = made("mark", `colour-${colour ?? 0}`, text.slice(start, end));
    if (type) mark.append(made("small", "", type));
    block.append(text.slice(done, start), mark);
    done = end;
  }
  block.append(text.slice(done));
  return block;
}

const headline = (text) => made("p", "headline", text);
const bars = (items) => made("ul", "bars", ...items.map(([name, share]) => bar(name, share)));

/** The first bars, and the others on demand. */
function foldedBars(items) {
  if (items.length <= SHOWN_LABELS + 1) return [bars(items)];
  const others = items.slice(SHOWN_LABELS);
  return [
    bars(items.slice(0, SHOWN_LABELS)),
    made("details", "", made("summary", "", `${others.length} more`), bars(others)),
  ];
}

const SHOW = {
  classification: (answer) => {
    const named = answer.map(({ label, share }) => [label, share]);
    return [headline(answer[0].label), ...foldedBars(named)];
  },
  regression: (answer) => [headline(answer.toFixed(4))],
  ner: (answer, text) => {
    const types = [...new Set(answer.map(({ type }) => type))];
    const places = answer.map((entity) => ({ ...entity, colour: types.indexOf(entity.type) % 6 }));
    const named = answer.map(({ type, start, end, share }) => [`${text.slice(start, end)} · ${type}`, share]);
    return [
      headline(`${answer.length || "no"} ${answer.length === 1 ? "entity" : "entities"}`),
      marked(text, places),
      bars(named),
    ];
  },
  span: ({ ranked, chosen }, _, context) => {
    const named = ranked.slice(0, SHOWN_ANSWERS).map(({ text, share }) => [text || "no answer", share]);
    return [headline(chosen.text || "no answer"), marked(context, chosen.text ? [chosen] : []), bars(named)];
  },
};
SHOW.span_or_none = SHOW.span;

const WORDS = {
  classification: ["Text", "Second text", "Classify"],
  regression: ["Text", "Second text", "Rate"],
  ner: ["Text", "", "Find entities"],
  span: ["Question", "Text that may answer it", "Answer"],
};
WORDS.span_or_none = WORDS.span;

function show(found, first, second, { kind, longest, longest_question: question }) {
  const { milliseconds: time, tokens, windows } = found;
  const inWindows = windows > 1 ? ` in ${windows} windows` : "";
  const total = duration(time.tokenizer + time.model);
  const shares = `tokenizer ${duration(time.tokenizer)}, model ${duration(time.model)}`;
  const lines = SHOW[kind](found.answer, first, second);
  lines.push(made("p", "time", made("b", "", total), ` · ${shares}, ${tokens} tokens${inWindows}`));
  const most = kind.startsWith("span")
    ? `The question was longer than ${question}`
    : `Longer than ${longest}`;
  if (found.cut) lines.push(made("p", "time", `${most} tokens: cut.`));
  part("result").replaceChildren(...lines);
  part("result").hidden = false;
}

function prepare({ kind, task, second_text: second, bytes }) {
  const [first, other, action] = WORDS[kind];
  document.title = part("title").textContent = task;
  const sizes = `A model of ${megabytes(bytes.model)} and a runtime of ${megabytes(bytes.runtime)}`;
  part("facts").textContent = `${sizes}, on this device; what you type stays here.`;
  part("first-label").textContent = second === "always" && !kind.startsWith("span") ? "First text" : first;
  part("second-label").textContent = second === "maybe" ? `${other} (may be empty)` : other;
  part("second-part").hidden = second === "never";
  part("second").required = second === "always";
  if (kind.startsWith("span")) {
    part("first").rows = 1;
    part("second").rows = 8;
  }
  part("run").textContent = action;
}

/** The answer to what the form holds, shown. */
async function answer(model) {
  const first = part("first").value;
  const second = part("second").value;
  const withPair = !part("second-part").hidden && (part("second").required || second.trim() !== "");
  part("run").disabled = true;
  try {
    show(await model.answer(first, withPair ? second : null), first, second, model.settings);
    say("");
  } catch (error) {
    part("result").hidden = true;
    say(error.message, true);
  }
  part("run").disabled = false;
}

async function start() {
  say("Loading the model …");
  const model = await Model.load();
  prepare(model.settings);
  const warm = "a b c d e f g h"; // the browser compiles what runs often; the first runs are no measure
  for (let run = 0; run < 3; run += 1)
    await model.answer(warm, model.settings.second_text === "always" ? warm : null);
  part("form").addEventListener("submit", (event) => {
    event.preventDefault();
    answer(model);
  });
  for (const field of [part("first"), part("second")]) {
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        if (!part("run").disabled) part("form").requestSubmit();
      }
    });
  }
  part("form").hidden = false;
  part("run").disabled = false;
  part("first").focus();
  say("");
}

start().catch((error) => say(`The page cannot start: ${error.message}`, true));
