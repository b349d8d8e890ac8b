// A model of this project in ONNX Runtime Web: texts in, answers of its kind out.

import { answersOf, cuts, entitiesOf, rankedLabels } from "./answers.js";
import { Tokenizer } from "./tokenizer.js";

async function fetched(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name} cannot be loaded: the server says ${response.status}`);
  return response;
}

/** The bytes of a gzip file, whether or not the server has told the browser to unpack it already. */
async function unpacked(name) {
  const bytes = new Uint8Array(await (await fetched(name)).arrayBuffer());
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export class Model {
  constructor(ort, session, tokenizer, settings) {
    Object.assign(this, { ort, session, tokenizer, settings });
  }

  /** Load settings (page.json), vocabulary, runtime and model, which lie beside this file. */
  static async load() {
    const settings = await (await fetched("page.json")).json();
    const [ort, wasm, model, vocabulary] = await Promise.all([
      import("./runtime/ort.js"),
      unpacked("runtime/ort.wasm.gz"),
      fetched("model.onnx").then((response) => response.arrayBuffer()),
      fetched("vocab.txt").then((response) => response.text()),
    ]);
    ort.env.wasm.wasmPaths = { mjs: new URL("runtime/loader.js", import.meta.url).href };
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.numThreads = 1; // more need headers that a plain web server does not send
    ort.env.logLevel = "error";
    const session = await ort.InferenceSession.create(new Uint8Array(model), {
      executionProviders: ["wasm"],
    });
    return new Model(ort, session, new Tokenizer(vocabulary, settings), settings);
  }

  /** {answer, tokens, windows, cut, milliseconds: {tokenizer, model}}; `pair` is null for one text alone. */
  async answer(text, pair) {
    const started = performance.now();
    const rows = this.settings.kind.startsWith("span") ? this.windows(text, pair) : [this.row(text, pair)];
    const encoded = performance.now();
    const outputs = [];
    for (const row of rows) outputs.push(await this.run(row));
    const ended = performance.now();
    return {
      answer: this.read(rows, outputs, pair),
      tokens: rows.reduce((total, row) => total + row.ids.length, 0),
      windows: rows.length,
      cut: rows[0].cut,
      milliseconds: { tokenizer: encoded - started, model: ended - encoded },
    };
  }

  row(text, pair) {
    const row = this.tokenizer.encode(text, pair, this.settings.longest);
    if (row.empty) throw new Error("That holds no word, only characters that BERT's tokenizer leaves out.");
    return row;
  }

  /** The rows of a question: a long context gives several, as src/kinds/span.py cuts it. */
  windows(question, context) {
    const { longest, longest_question: most, stride } = this.settings;
    const { cls, sep } = this.tokenizer;
    const [asked, pieces] = [question, context].map((text) => this.tokenizer.pieces(text));
    if (!asked.length || !pieces.length) return [this.row(question, context)]; // tells what is wrong
    const head = [cls, ...asked.slice(0, most).map((piece) => piece.id), sep];
    const room = longest - head.length - 1;
    if (room < 1) throw new Error(`The question leaves no room for the text: a row has ${longest} tokens.`);
    return cuts(pieces.length, room, stride).map(([start, end]) => {
      const inside = pieces.slice(start, end);
      const tail = [...inside.map((piece) => piece.id), sep];
      const segments = [...head.map(() => 0), ...tail.map(() => 1)];
      return {
        ids: [...head, ...tail],
        segments,
        pieces: inside,
        head: head.length,
        cut: asked.length > most,
      };
    });
  }

  /** The outputs of one row, by name. */
  run({ ids, segments }) {
    const column = (values) => new this.ort.Tensor("int32", Int32Array.from(values), [1, ids.length]);
    return this.session.run({
      input_ids: column(ids),
      input_mask: column(ids.map(() => 1)),
      segment_ids: column(this.settings.segments > 1 ? segments : ids.map(() => 0)),
    });
  }

  read(rows, outputs, pair) {
    const { kind, labels } = this.settings;
    if (kind.startsWith("span")) {
      const windows = rows.map(({ pieces, head }, index) => {
        const { start_logits: starts, end_logits: ends } = outputs[index];
        return { pieces, head, starts: starts.data, ends: ends.data };
      });
      return answersOf(windows, pair, this.settings);
    }
    const { data, dims } = outputs[0].logits;
    if (kind === "regression") return data[0];
    if (kind === "classification") return rankedLabels(data, labels);
    const width = dims[2];
    const logits = rows[0].pieces.map((_, index) => [
      ...data.slice((index + 1) * width, (index + 2) * width),
    ]);
    return entitiesOf(logits, rows[0].pieces, labels);
  }
}
