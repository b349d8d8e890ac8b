// Reads {settings, forms, vocabulary, texts, singles, rows, tagged, asked} as JSON, prints what the page's
// scripts make of it. Forms are settings of several tokenizers. Places are counted in characters, as Python does.

import { readFileSync } from "node:fs";
import { Model } from "./model.js";
import { Tokenizer } from "./tokenizer.js";

const given = JSON.parse(readFileSync(0, "utf8"));

const characters = (text, place) => Array.from(text.slice(0, place)).length;
const placed = (text, { start, end }) => [characters(text, start), characters(text, end)];
const ids = (tokenizer, text) => tokenizer.pieces(text).map((piece) => piece.id);

/** A model whose session gives the outputs listed, one after another. */
function modelWith(settings, outputs) {
  const queue = outputs.map((named) =>
    Object.fromEntries(
      Object.entries(named).map(([name, [data, dims]]) => [name, { data: Float32Array.from(data), dims }]),
    ),
  );
  const fed = [];
  const run = (feed) => {
    fed.push(Object.fromEntries(Object.entries(feed).map(([name, { data }]) => [name, [...data]])));
    return Promise.resolve(queue.shift());
  };
  const ort = {
    Tensor: class {
      constructor(type, data, dims) {
        Object.assign(this, { type, data, dims });
      }
    },
  };
  return { fed, model: new Model(ort, { run }, new Tokenizer(given.vocabulary, settings), settings) };
}

const [texts, singles] = [[], []];
for (const form of given.forms) {
  const tokenizer = new Tokenizer(given.vocabulary, form);
  singles.push(given.singles.map((text) => ids(tokenizer, text)));
  texts.push(
    given.texts.map((text) => tokenizer.pieces(text).map((piece) => [piece.id, ...placed(text, piece)])),
  );
}
const tokenizer = new Tokenizer(given.vocabulary, given.settings);
const rows = given.rows.map(([text, pair, longest]) => {
  const { ids, segments, cut } = tokenizer.encode(text, pair, longest);
  return { ids, segments, cut };
});

const tagged = [];
for (const { text, labels, logits } of given.tagged) {
  const { model } = modelWith({ ...given.settings, kind: "ner", labels }, [{ logits }]);
  const { answer } = await model.answer(text, null);
  tagged.push(answer.map((entity) => [entity.type, ...placed(text, entity), entity.share]));
}

const asked = [];
for (const { question, context, outputs, ...settings } of given.asked) {
  const { fed, model } = modelWith({ ...given.settings, ...settings }, outputs);
  const { answer, cut } = await model.answer(question, context);
  const { chosen } = answer;
  const place = chosen.text ? placed(context, chosen) : null;
  asked.push({ text: chosen.text, place, share: chosen.share, cut, ids: fed.map((feed) => feed.input_ids) });
}

console.log(JSON.stringify({ texts, singles, rows, tagged, asked }));
