// Codec 4, `codes`, and its models (codecs.md 5.3 to 5.5).

import { Cursor, isZero } from "./bytes.mjs";
import { need } from "./failure.mjs";
import { Tables, decodeLanes } from "./lanes.mjs";

const RULE = "codecs.md 5";
const MODEL = "codecs.md 5.3";
const FORMS = "codecs.md 5.5";

/** Parse the content of a code model, for a column of codes below `size` and frames of at most `shapeWidth` values. */
export function parseCodeModel(content, size, shapeWidth) {
  const cursor = new Cursor(content, MODEL);
  const head = cursor.take(24, "the head of the model");
  const view = cursor.view;
  const [log, lowBits, features] = head;
  const width = view.getUint16(4, true);
  const frames = view.getUint16(6, true);
  const codes = view.getUint32(8, true);
  const classes = [12, 14, 16].map((at) => view.getUint16(at, true));
  const tableCount = view.getUint16(18, true);
  const lowTableCount = view.getUint16(20, true);
  need(log >= 8 && log <= 15, `tables of log ${log}`, MODEL, 0);
  need(lowBits <= 11, `${lowBits} low bits`, MODEL, 1);
  need(features >> 3 === 0, "a reserved feature", MODEL, 2);
  need(head[3] === 0 && isZero(head.subarray(22)), "a reserved byte is set", MODEL);
  need(width === 1 || width === shapeWidth, `frames of ${width} values`, MODEL, 4);
  need(width * frames >= 1 && width * frames <= 4096, `lanes of ${width * frames} values`, MODEL, 6);
  need(codes >= 1 && codes <= size, `${codes} codes of ${size}`, MODEL, 8);
  let contexts = 1;
  for (let i = 0; i < 3; i++) {
    const has = ((features >> i) & 1) === 1;
    need(has ? classes[i] >= 1 : classes[i] === 0, `${classes[i]} classes of a feature`, MODEL, 12 + 2 * i);
    if (has) contexts *= classes[i];
  }
  const highs = Math.floor((codes - 1) / 2 ** lowBits) + 1;
  need(highs <= 2048, `${highs} high symbols`, MODEL);
  need(contexts <= 65536, `${contexts} contexts`, MODEL);
  need(tableCount >= 1 && tableCount <= contexts, `${tableCount} tables of ${contexts} contexts`, MODEL, 18);
  need(lowBits === 0 ? lowTableCount === 0 : lowTableCount >= 1 && lowTableCount <= highs,
    `${lowTableCount} low tables`, MODEL, 20);
  const lows = lowBits === 0 ? 0 : 2 ** lowBits;
  const all = tableCount + lowTableCount;
  need(all * 2 ** log <= 2 ** 22 && all * Math.max(highs, lows) <= 2 ** 22, `${all} tables`, MODEL);
  const ids = cursor.packed(codes, "ids", 0, size - 1);
  need(new Set(ids).size === codes, "a code stands twice", MODEL);
  const map = (bit, count, what) =>
    (features >> bit) & 1 ? Uint16Array.from(cursor.packed(count, what, 0, classes[bit] - 1)) : null;
  const column = map(0, width, "column");
  const left = map(1, highs + 1, "left");
  const up = map(2, highs + 1, "up");
  const table = features === 0 ? new Uint16Array(1)
    : Uint16Array.from(cursor.packed(contexts, "table", 0, tableCount - 1));
  const lowTable = lowBits === 0 ? null : Uint16Array.from(cursor.packed(highs, "low_table", 0, lowTableCount - 1));
  const most = 2 ** log;
  const frequency = cursor.packed(tableCount * highs, "frequency", 0, most);
  const lowFrequency = cursor.packed(lowTableCount * lows, "low_frequency", 0, most);
  cursor.end();
  const tables = [];
  for (let i = 0; i < tableCount; i++) tables.push(frequency.subarray(i * highs, (i + 1) * highs));
  for (let i = 0; i < lowTableCount; i++) tables.push(lowFrequency.subarray(i * lows, (i + 1) * lows));
  return {
    lowBits, width, frames, codes, highs, tableCount, classes, ids, column, left, up, table, lowTable,
    tables: new Tables(log, tables),
  };
}

export function decodeCodes(block) {
  const { n, context } = block;
  const size = context.meaning.bound;
  const { shape } = context.meaning;
  const w = shape === null || shape[shape.length - 1] === 0 ? 1 : shape[shape.length - 1];
  need(n % w === 0, `${n} codes in lines of ${w}`, RULE);
  const values = size <= 256 ? new Uint8Array(n) : new Uint16Array(n);
  switch (block.form) {
    case 0: {
      const wide = size <= 256 ? 1 : 2;
      const coded = block.coded(wide * n, wide * n, [1]);
      for (let i = 0; i < n; i++) values[i] = wide === 1 ? coded[i] : coded[2 * i] | (coded[2 * i + 1] << 8);
      break;
    }
    case 1:
      fromLanes(block, values);
      break;
    case 2:
      fromBits(block, values, size);
      break;
    default:
      block.unknownForm();
  }
  for (let i = 0; i < n; i++) if (values[i] >= size) need(false, `code ${values[i]} of ${size}`, RULE);
  return values;
}

/** Form 2: every code in the same number of bits. */
function fromBits(block, values, size) {
  const { n } = block;
  let bits = 1;
  while (2 ** bits < size) bits++;
  const count = Math.ceil((bits * n) / 8);
  const coded = block.coded(count, count, []);
  const used = (bits * n) % 8;
  need(used === 0 || coded[count - 1] >> used === 0, "a bit past the last code is set", FORMS);
  for (let i = 0; i < n; i++) {
    let at = bits * i;
    let value = 0;
    for (let got = 0; got < bits; got++, at++) value |= ((coded[at >> 3] >> (at & 7)) & 1) << got;
    values[i] = value;
  }
}

/** Form 1: the lanes of 5.4. */
function fromLanes(block, values) {
  const model = block.context.object;
  need(model !== undefined, "lanes in a column without a model", FORMS);
  const { n } = block;
  const { width, lowBits, highs, tableCount, classes, ids, column, left, up, table, lowTable } = model;
  need(n % width === 0, `${n} codes in frames of ${width}`, "codecs.md 5.4");
  const laneValues = Math.min(n, width * model.frames);
  const lanes = Math.ceil(n / laneValues);
  const last = n - (lanes - 1) * laneValues;
  const each = lowBits === 0 ? 1 : 2;
  const high = new Uint16Array(n);
  const symbols = each * n;
  const coded = block.coded(2 + 4 * lanes, 2 + 4 * lanes + 2 * symbols, []);
  const contextOf = (lane, index) => {
    const at = lane * laneValues + index;
    const j = index % width;
    let c = 0;
    if (column !== null) c = column[j];
    if (left !== null) c = c * classes[1] + left[j === 0 ? highs : high[at - 1]];
    if (up !== null) c = c * classes[2] + up[index < width ? highs : high[at - width]];
    return table[c];
  };
  const rank = (at, value) => {
    if (value >= model.codes) need(false, `rank ${value} of ${model.codes}`, "codecs.md 5.4");
    values[at] = ids[value];
  };
  if (lowBits === 0) {
    decodeLanes(coded, lanes, laneValues, last, model.tables, contextOf, (lane, index, symbol) => {
      const at = lane * laneValues + index;
      high[at] = symbol;
      rank(at, symbol);
    });
    return;
  }
  decodeLanes(coded, lanes, 2 * laneValues, 2 * last, model.tables,
    (lane, index) => (index % 2 === 0 ? contextOf(lane, index >> 1)
      : tableCount + lowTable[high[lane * laneValues + (index >> 1)]]),
    (lane, index, symbol) => {
      const at = lane * laneValues + (index >> 1);
      if (index % 2 === 0) high[at] = symbol;
      else rank(at, high[at] * 2 ** lowBits + symbol);
    });
}
