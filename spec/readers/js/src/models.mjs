// Objects of columns, parsed once for all files that share them (format.md 5, codecs.md).

import { need } from "./failure.mjs";
import { parseCodeModel } from "./codes.mjs";
import { parseCategories } from "./numbers.mjs";
import { CATEGORY_LIST, CODE_MODEL, DICTIONARY, RANK_TABLE, VECTOR_MODEL } from "./objects.mjs";
import { CATEGORY } from "./schema.mjs";
import { checkDictionary, parseRankTable } from "./tokens.mjs";
import { parseVectorModel } from "./vectors.mjs";

const KIND_OF_CODEC = { 1: RANK_TABLE, 3: DICTIONARY, 4: CODE_MODEL, 5: VECTOR_MODEL };
const parsed = new WeakMap(); // content -> what it is for a column -> model

/** The kind of object that a column with a codec takes; undefined where it takes none. */
export function kindOf(column, codec) {
  return column.type === CATEGORY ? CATEGORY_LIST : KIND_OF_CODEC[codec];
}

/** The model that the content of an object is for a column, and the dictionary in it, if there is one. */
export function modelOf(kind, content, { meaning }) {
  const { shape } = meaning;
  const line = shape === null || shape.at(-1) === 0 ? 1 : shape.at(-1);
  const key = `${kind} ${meaning.bound} ${line} ${meaning.width}`;
  if (!parsed.has(content)) parsed.set(content, new Map());
  const mine = parsed.get(content);
  if (!mine.has(key)) mine.set(key, parse(kind, content, meaning, line));
  return mine.get(key);
}

function parse(kind, content, meaning, line) {
  switch (kind) {
    case RANK_TABLE: {
      const table = parseRankTable(content);
      need(table.largest < meaning.bound, `the table has the id ${table.largest}`, "codecs.md 2.1");
      return { object: table, dictionary: table.dictionary };
    }
    case DICTIONARY:
      return { dictionary: checkDictionary(content) };
    case CODE_MODEL:
      return { object: parseCodeModel(content, meaning.bound, line) };
    case VECTOR_MODEL:
      return { object: parseVectorModel(content, meaning.width) };
    default:
      return { object: parseCategories(content) };
  }
}
