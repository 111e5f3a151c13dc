// Codec 1, `tokens`: ids, or ranks by frequency (codecs.md 2).

import { Cursor, viewOf } from "./bytes.mjs";
import { need } from "./failure.mjs";

const FORMS = "codecs.md 2.2";
const TABLE = "codecs.md 2.1";
const MOST_ENTRIES = 2 ** 20;
const MOST_DICTIONARY = 2 ** 23;

/** Parse the content of a rank table. */
export function parseRankTable(content) {
  const cursor = new Cursor(content, TABLE);
  const entries = cursor.u32("entries");
  const dictionaryBytes = cursor.u32("dictionary_bytes");
  need(entries >= 1 && entries <= MOST_ENTRIES, `a table of ${entries} entries`, TABLE);
  need(dictionaryBytes <= MOST_DICTIONARY, `a dictionary of ${dictionaryBytes} bytes`, TABLE);
  const ids = Uint32Array.from(cursor.packed(entries, "ids", 0, 2 ** 32 - 1));
  const dictionary = cursor.take(dictionaryBytes, "the dictionary");
  cursor.end();
  const sorted = ids.slice().sort();
  for (let i = 1; i < entries; i++) need(sorted[i] !== sorted[i - 1], `the id ${sorted[i]} stands twice`, TABLE);
  return { ids, dictionary: checkDictionary(dictionary), largest: sorted[entries - 1] };
}

/** Check that a raw-content dictionary is none of a trained kind, and not too long (format.md 2.5, 11). */
export function checkDictionary(dictionary) {
  need(dictionary.length <= MOST_DICTIONARY, `a dictionary of ${dictionary.length} bytes`, "format.md 11");
  need(dictionary.length < 4 || viewOf(dictionary).getUint32(0, true) !== 0xec30a437,
    "the dictionary begins like a trained one", "format.md 2.5");
  return dictionary;
}

export function decodeTokens(block) {
  const { n, context } = block;
  const bound = context.meaning.bound;
  const ids = context.meaning.dtype === 2 ? new Uint16Array(n) : new Uint32Array(n);
  switch (block.form) {
    case 0:
    case 1: {
      const size = block.form === 0 ? 2 : 4;
      const view = viewOf(block.coded(size * n, size * n, [1, 2]));
      for (let i = 0; i < n; i++) {
        const id = size === 2 ? view.getUint16(2 * i, true) : view.getUint32(4 * i, true);
        ids[i] = below(id, bound);
      }
      return ids;
    }
    case 2:
      return fromRanks(block, ids, bound);
    case 3:
    case 4:
      return fromCodes(block, ids, bound);
    default:
      return block.unknownForm();
  }
}

function below(id, bound) {
  if (id >= bound) need(false, `id ${id} is not below vocab_size ${bound}`, "codecs.md 2");
  return id;
}

function tableOf(block) {
  const table = block.context.object;
  need(table !== undefined, "ranks in a column without a rank table", FORMS);
  return table.ids;
}

/** Form 2: ranks as u16, and a list of ids for those that are 65,535. */
function fromRanks(block, ids, bound) {
  const table = tableOf(block);
  const { n } = block;
  const coded = block.coded(2 * n, 6 * n, [1, 2]);
  const view = viewOf(coded);
  let escape = 2 * n;
  for (let i = 0; i < n; i++) {
    const rank = view.getUint16(2 * i, true);
    if (rank === 65535) {
      need(escape + 4 <= coded.length, "more escapes than ids for them", FORMS);
      ids[i] = below(view.getUint32(escape, true), bound);
      escape += 4;
    } else {
      if (rank >= table.length) need(false, `rank ${rank} of a table of ${table.length}`, FORMS);
      ids[i] = table[rank];
    }
  }
  need(escape === coded.length, "more ids than escapes", FORMS);
  return ids;
}

/** Forms 3 and 4: a code is a rank, or an id plus the entries of the table. */
function fromCodes(block, ids, bound) {
  const table = tableOf(block);
  const { n } = block;
  const isLeb = block.form === 3;
  const coded = isLeb ? block.coded(n, 5 * n, [1, 2]) : block.coded(3 * n, 3 * n, [1, 2]);
  let at = 0;
  for (let i = 0; i < n; i++) {
    let code;
    if (isLeb) {
      let scale = 1;
      let byte;
      code = 0;
      const from = at;
      do {
        need(at < coded.length, "the coded bytes hold fewer codes than values", FORMS);
        need(at - from < 5, "a code of more than five bytes", FORMS);
        byte = coded[at++];
        code += (byte & 127) * scale;
        scale *= 128;
      } while (byte >= 128);
      if (byte === 0) need(at - from === 1, "a code is not in the shortest form", FORMS);
    } else {
      code = coded[at] | (coded[at + 1] << 8) | (coded[at + 2] << 16);
      at += 3;
    }
    ids[i] = code < table.length ? table[code] : below(code - table.length, bound);
  }
  need(at === coded.length, "the coded bytes hold more codes than values", FORMS);
  return ids;
}
