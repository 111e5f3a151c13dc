// The form byte of a block, and which codec decodes it (codecs.md 1).

import { need } from "./failure.mjs";
import { decodeBits } from "./bits.mjs";
import { decodeCodes } from "./codes.mjs";
import { decodeNumbers } from "./numbers.mjs";
import { decodeTokens } from "./tokens.mjs";
import { decodeVectors } from "./vectors.mjs";

const RULE = "codecs.md 1";
export const MOST_CODED = 2 ** 24;

/** The stored bytes of one block, with what is needed to decode them. */
export class StoredBlock {
  /**
   * @param {Uint8Array} bytes as stored, their checksum verified
   * @param {number} form the form byte
   * @param {number} n values in the block
   * @param {number} width values of a row, or of an item, in this block
   * @param {object} context of the column: codec, dtype, meaning, object, dictionary, zstd
   */
  constructor(bytes, form, n, width, context) {
    this.bytes = bytes;
    this.form = form & 15;
    this.packing = (form >> 4) & 3;
    this.n = n;
    this.width = width;
    this.context = context;
    need(form >> 6 === 0, "a reserved bit of the form byte is set", RULE);
    need(this.packing !== 3, "packing 3", RULE);
  }

  unknownForm() {
    need(false, `value form ${this.form} of the codec`, RULE);
  }

  /** Undo the packing and return `least` to `most` coded bytes; the codec has packing 0 and the others that it names. */
  coded(least, most, packings) {
    need(this.packing === 0 || packings.includes(this.packing), `packing ${this.packing} of value form ${this.form}`, RULE);
    const cap = Math.min(most, MOST_CODED);
    if (this.packing === 0) {
      const count = this.bytes.length;
      need(count >= least && count <= cap, `${count} coded bytes, not ${least} to ${cap}`, RULE);
      return this.bytes;
    }
    const dictionary = this.packing === 2 ? this.context.dictionary : undefined;
    if (this.packing === 2) {
      need(dictionary !== undefined && dictionary.length > 0, "packing 2 without a dictionary", RULE);
    }
    return this.context.zstd.decode(this.bytes, least, cap, dictionary);
  }
}

/** Decode a block to an array of stored values (dtypes.mjs). */
export function decodeBlock(block) {
  switch (block.context.codec) {
    case 1:
      return decodeTokens(block);
    case 2:
      return decodeNumbers(block);
    case 3:
      if (block.form !== 0) block.unknownForm();
      return block.coded(block.n, block.n, [1, 2]).slice();
    case 4:
      return decodeCodes(block);
    case 5:
      return decodeVectors(block);
    default:
      return decodeBits(block);
  }
}
