// Column types with their parameters, and column records (registry.md 1, format.md 6).

import { need } from "./failure.mjs";
import { isInteger, needFields, needKind } from "./metadata.mjs";

const RULE = "registry.md 1";
const TWO32 = 2 ** 32;
const WIDEST = 2 ** 18;
export const MOST_COLUMNS = 65535;

export const TYPE_NAMES = {
  1: "Tokens", 2: "Codes", 3: "Vector", 4: "Score", 5: "Label", 6: "SoftLabel",
  7: "Mask", 8: "Category", 9: "Text", 10: "Bytes", 11: "Array",
};
export const TOKENS = 1, CODES = 2, VECTOR = 3, SCORE = 4, LABEL = 5, SOFT_LABEL = 6;
export const MASK = 7, CATEGORY = 8, TEXT = 9, BYTES = 10, ARRAY = 11;

export const CODEC_NAMES = { 1: "tokens", 2: "numbers", 3: "text", 4: "codes", 5: "vectors", 6: "bits" };

/** What a type with its parameters means: the shape, the dtype, and the bounds of values. */
class Meaning {
  /** @param {number[] | null} shape null for one value; a first axis of 0 is ragged */
  constructor(shape, dtype, more = {}) {
    this.shape = shape;
    this.dtype = dtype;
    this.isRagged = shape !== null && shape[0] === 0;
    const axes = shape === null ? [] : this.isRagged ? shape.slice(1) : shape;
    this.width = axes.reduce((product, size) => product * size, 1);
    this.groups = more.groups ?? [this.width];
    this.bound = more.bound ?? Infinity; // values are below it
    this.topClasses = more.topClasses;
    this.probability = more.probability;
  }
}

/** One column as the schema has it. */
export class Column {
  constructor(record) {
    this.id = Number(record.get(1));
    this.name = record.get(2);
    this.type = Number(record.get(3));
    this.parameters = record.get(4);
    this.optional = record.get(5);
    this.isPrimary = record.get(7) === true;
    this.meaning = meaningOf(this.type, this.parameters);
  }

  get typeName() {
    return TYPE_NAMES[this.type];
  }
}

/** Parse the records of a schema. */
export function parseColumns(records, rule, ascending = true) {
  need(records.length >= 1 && records.length <= MOST_COLUMNS, `a schema of ${records.length} columns`, "format.md 6.1");
  const names = new Set();
  let primary = 0;
  let before = -1;
  return records.map((record) => {
    const column = parseColumn(record);
    need(column.type < 2 ** 16, `type ${column.type}`, "format.md 6.1");
    need(!names.has(column.name), `two columns are named ${column.name}`, "format.md 6.1");
    need(column.id !== before && (!ascending || column.id > before), "column ids do not ascend", rule);
    before = column.id;
    names.add(column.name);
    primary += column.isPrimary ? 1 : 0;
    need(primary <= 1, "two columns are the primary one", "format.md 6.1");
    return column;
  });
}

export function parseColumn(record) {
  const rule = "format.md 6.1";
  needFields(record, { 1: "integer", 2: "string", 3: "integer", 4: "map", 5: "boolean", 6: "string?", 7: "boolean?" },
    "a column record");
  need(record.get(1) <= TWO32 - 2, `the column id ${record.get(1)}`, rule);
  need(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(record.get(2)), `a column is named ${JSON.stringify(record.get(2))}`, rule);
  need(record.get(7) !== false, "key 7 of a column record is false", rule);
  return new Column(record);
}

/** The primary column (6.2). */
export function primaryOf(columns) {
  const byId = [...columns].sort((a, b) => a.id - b.id);
  return byId.find((column) => column.isPrimary)
    ?? byId.find((column) => column.type === TOKENS)
    ?? byId.find((column) => column.meaning?.isRagged)
    ?? byId[0];
}

/** Check the parameters of a type; null for a type that this reader does not know. */
function meaningOf(type, parameters) {
  const read = READERS[type];
  return read === undefined ? null : read(parameters);
}

function fields(parameters, kinds, type) {
  return needFields(parameters, kinds, `the parameters of ${TYPE_NAMES[type]}`);
}

/** Read an integer in a range; undefined where it is optional and not there. */
function integer(parameters, key, low, high, what) {
  const value = parameters.get(key);
  if (value !== undefined) need(value >= low && value <= high, `${what} is ${value}, not ${low} to ${high}`, RULE);
  return value === undefined ? undefined : Number(value);
}

function above0(parameters, key, what) {
  const value = parameters.get(key);
  if (value !== undefined) need(value.value > 0 && value.value < Infinity, `${what} is ${value.value}`, RULE);
  return value?.value;
}

function shapeOf(items) {
  need(items.length <= 4, `a shape of ${items.length} axes`, RULE);
  let width = 1;
  for (const [axis, size] of items.entries()) {
    needKind(size, "integer", "an axis of a shape", RULE);
    need(size >= (axis === 0 ? 0 : 1), `axis ${axis} of a shape is ${size}`, RULE);
    if (size > 0) width *= Number(size);
    need(width <= WIDEST, `a width above ${WIDEST}`, RULE);
  }
  return items.length === 0 ? null : items.map(Number);
}

/** The smallest unsigned dtype for that many different values. */
function unsigned(count) {
  return count <= 256 ? 1 : count <= 65536 ? 2 : 3;
}

const READERS = {
  [TOKENS](parameters) {
    fields(parameters, { 1: "integer", 2: "integer?", 3: "integer?", 4: "integer?" }, TOKENS);
    const size = integer(parameters, 1, 1, TWO32, "vocab_size");
    for (const key of [2, 3, 4]) integer(parameters, key, 0, size - 1, "a special id");
    return new Meaning([0], size <= 65536 ? 2 : 3, { bound: size });
  },
  [CODES](parameters) {
    fields(parameters, { 1: "integer", 2: "array" }, CODES);
    const size = integer(parameters, 1, 2, 65536, "size");
    return new Meaning(shapeOf(parameters.get(2)), unsigned(size), { bound: size });
  },
  [VECTOR](parameters) {
    fields(parameters,
      { 1: "integer", 2: "integer", 3: "array", 4: "integer", 5: "float?", 6: "float?", 7: "boolean?" }, VECTOR);
    const dtype = integer(parameters, 1, 9, 11, "the dtype of a Vector");
    const dim = integer(parameters, 2, 1, 65535, "dim");
    const ends = parameters.get(3);
    need(ends.length >= 1 && ends.length <= 256, `${ends.length} groups of dimensions`, RULE);
    let before = 0;
    for (const end of ends) {
      need(isInteger(end) && end > before, "the ends of the groups do not ascend", RULE);
      before = end;
    }
    need(before === dim, `the last group ends at ${before} of ${dim}`, RULE);
    const method = integer(parameters, 4, 0, 2, "method");
    const bounds = (above0(parameters, 5, "max_error") === undefined ? 0 : 1)
      + (above0(parameters, 6, "bytes_per_vector") === undefined ? 0 : 1);
    need(bounds === (method === 2 ? 1 : 0), `method ${method} with ${bounds} bounds`, RULE);
    need(parameters.has(7) === (method === 2), `method ${method} and parameter 7 do not go together`, RULE);
    need(method === 0 || dtype === 11, `method ${method} with dtype ${dtype}`, RULE);
    return new Meaning([dim], dtype, { groups: ends.map(Number) });
  },
  [SCORE](parameters) {
    fields(parameters, { 1: "integer", 2: "float?" }, SCORE);
    const dtype = Number(parameters.get(1));
    need([9, 11, 12].includes(dtype), `a Score of dtype ${dtype}`, RULE);
    above0(parameters, 2, "max_error");
    return new Meaning(null, dtype);
  },
  [LABEL](parameters) {
    fields(parameters, { 1: "integer", 2: "integer?", 3: "string?", 4: "array?" }, LABEL);
    const classes = integer(parameters, 2, 1, TWO32, "classes");
    const dtype = classes === undefined ? 8 : unsigned(classes);
    need(parameters.get(1) === dtype, `a Label of dtype ${parameters.get(1)}, not ${dtype}`, RULE);
    const names = parameters.get(3);
    if (names !== undefined) {
      need(classes !== undefined, "names without classes", RULE);
      need(names.endsWith("\n") && names.split("\n").length - 1 === classes, `not a name for each of ${classes}`, RULE);
    }
    const shape = parameters.get(4);
    need(shape === undefined || shape.length > 0, "an empty shape", RULE);
    return new Meaning(shape === undefined ? null : shapeOf(shape), dtype, { bound: classes });
  },
  [SOFT_LABEL](parameters) {
    fields(parameters, { 1: "integer", 2: "integer?", 3: "integer" }, SOFT_LABEL);
    const classes = integer(parameters, 1, 2, TWO32, "classes");
    const top = integer(parameters, 2, 1, Math.min(classes, 2 ** 17), "top");
    const probability = Number(parameters.get(3));
    need(probability === 9 || probability === 1, `probabilities of dtype ${probability}`, RULE);
    if (top === undefined) need(classes <= WIDEST, `a width of ${classes}`, RULE);
    const few = top === undefined || classes <= (probability === 1 ? 256 : 65536);
    const dtype = few ? (probability === 1 ? 1 : 2) : classes <= 65536 ? 2 : 3;
    const shape = top === undefined ? [classes] : [2, top];
    return new Meaning(shape, dtype, { probability, topClasses: top === undefined ? undefined : classes });
  },
  [MASK](parameters) {
    fields(parameters, { 1: "string?" }, MASK);
    return new Meaning([0], 13);
  },
  [CATEGORY](parameters) {
    fields(parameters, {}, CATEGORY);
    return new Meaning(null, 2);
  },
  [TEXT](parameters) {
    fields(parameters, {}, TEXT);
    return new Meaning([0], 1);
  },
  [BYTES](parameters) {
    fields(parameters, {}, BYTES);
    return new Meaning([0], 1);
  },
  [ARRAY](parameters) {
    fields(parameters, { 1: "integer", 2: "array" }, ARRAY);
    return new Meaning(shapeOf(parameters.get(2)), integer(parameters, 1, 1, 13, "the dtype of an Array"));
  },
};

/** Whether a codec is known for a type with its dtype (registry.md 2). */
export function codecFits(codec, column) {
  const { type, meaning } = column;
  if (meaning === null) return false;
  switch (codec) {
    case 1:
      return type === TOKENS;
    case 2:
      return [CODES, VECTOR, SCORE, LABEL, SOFT_LABEL, CATEGORY].includes(type) || (type === ARRAY && meaning.dtype !== 13);
    case 3:
      return type === TEXT || type === BYTES;
    case 4:
      return type === CODES;
    case 5:
      return type === VECTOR;
    case 6:
      return type === MASK || (type === ARRAY && meaning.dtype === 13);
    default:
      return false;
  }
}

