// The entropy coder of codecs.md 5.1 and 5.2: frequency tables, and lanes that are decoded step by step.

import { viewOf } from "./bytes.mjs";
import { need } from "./failure.mjs";

const RULE = "codecs.md 5.2";

/** Tables of symbols with one `log`, made for decoding. */
export class Tables {
  /**
   * @param {number} log
   * @param {Float64Array[]} frequencies of every table, symbol by symbol
   */
  constructor(log, frequencies) {
    this.log = log;
    const slots = 2 ** log;
    this.symbol = new Uint16Array(frequencies.length * slots); // of every slot
    this.most = frequencies.reduce((most, table) => Math.max(most, table.length), 0); // symbols of a table
    this.frequency = new Uint16Array(frequencies.length * this.most); // of every symbol, less 1: it has a slot
    this.start = new Uint16Array(frequencies.length * this.most);
    for (const [number, table] of frequencies.entries()) {
      let at = 0;
      for (let s = 0; s < table.length; s++) {
        const f = table[s];
        if (f === 0) continue;
        need(at + f <= slots, `the frequencies of a table sum to more than ${slots}`, "codecs.md 5.1");
        this.symbol.fill(s, number * slots + at, number * slots + at + f);
        this.frequency[number * this.most + s] = f - 1;
        this.start[number * this.most + s] = at;
        at += f;
      }
      need(at === slots, `the frequencies of a table sum to less than ${slots}`, "codecs.md 5.1");
    }
  }
}

/**
 * Decode lanes of symbols.
 * @param {Uint8Array} bytes tail, states and words
 * @param {number} lanes
 * @param {number} steps symbols of every lane but the last
 * @param {number} last symbols of the last lane, 1 to `steps`
 * @param {Tables} tables
 * @param {(lane: number, index: number) => number} tableOf the table of symbol number `index` of a lane
 * @param {(lane: number, index: number, symbol: number) => void} put
 */
export function decodeLanes(bytes, lanes, steps, last, tables, tableOf, put) {
  const head = 2 + 4 * lanes;
  const symbols = (lanes - 1) * steps + last;
  need(bytes.length >= head && (bytes.length - head) % 2 === 0 && bytes.length - head <= 2 * symbols,
    `${bytes.length} bytes of ${lanes} lanes`, RULE);
  const view = viewOf(bytes);
  const tail = view.getUint16(0, true);
  need(tail <= steps, `a tail of ${tail} of ${steps} steps`, RULE);
  const state = new Uint32Array(lanes);
  for (let lane = 0; lane < lanes; lane++) {
    state[lane] = view.getUint32(2 + 4 * lane, true);
    const count = lane === lanes - 1 ? last : steps;
    need(count <= tail || state[lane] >= 65536, "a first state below 2^16", RULE);
  }
  const { log, symbol, frequency, start, most } = tables;
  const mask = 2 ** log - 1;
  const late = steps - last; // the step in which the last lane begins
  let at = head;
  for (let step = 0; step <= steps; step++) {
    if (step === steps - tail) {
      for (let lane = 0; lane < lanes; lane++) {
        if ((lane === lanes - 1 ? last : steps) > tail) state[lane] -= 65536;
      }
    }
    if (step === steps) break;
    const taking = step < late ? lanes - 1 : lanes;
    const isTail = step >= steps - tail;
    for (let lane = 0; lane < taking; lane++) {
      const index = lane === lanes - 1 ? step - late : step;
      const x = state[lane];
      const table = tableOf(lane, index);
      const q = x & mask;
      const s = symbol[table * (mask + 1) + q];
      const of = table * most + s;
      let next = (Math.imul(frequency[of] + 1, x >>> log) + q - start[of]) >>> 0;
      put(lane, index, s);
      if (!isTail && next < 65536) {
        need(at < bytes.length, "the words run out", RULE);
        next = next * 65536 + view.getUint16(at, true);
        at += 2;
      }
      state[lane] = next;
    }
  }
  need(at === bytes.length, `${(bytes.length - at) / 2} words are left over`, RULE);
  need(state.every((x) => x === 0), "a lane does not end in state 0", RULE);
}
