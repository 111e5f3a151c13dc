// zstd frames (format.md 2.5): this file checks what a frame looks like, and a WebAssembly build of zstd decodes it.

import { viewOf } from "./bytes.mjs";
import { corrupt, need } from "./failure.mjs";

const RULE = "format.md 2.5";
const TWO32 = 2 ** 32;
const KEPT_BYTES = 64 << 20; // of dictionaries in the memory of the decoder: eight of the largest ones

/** The content size of a frame, after a check of its header and of the extent of its blocks. */
export function frameContentBytes(frame) {
  need(frame.length >= 6 && viewOf(frame).getUint32(0, true) === 0xfd2fb528, "there is no zstd frame", RULE);
  const view = viewOf(frame);
  const descriptor = frame[4];
  need((descriptor & 0x20) !== 0, "the frame is not a single segment", RULE);
  need((descriptor & 0x18) === 0, "an unused or reserved bit of the frame header is set", RULE);
  need((descriptor & 0x04) === 0, "the frame has a content checksum", RULE);
  need((descriptor & 0x03) === 0, "the frame has a dictionary id", RULE);
  const sizeBytes = [1, 2, 4, 8][descriptor >> 6];
  need(frame.length >= 5 + sizeBytes + 3, "the frame is cut", RULE);
  let content;
  if (sizeBytes === 1) content = frame[5];
  else if (sizeBytes === 2) content = view.getUint16(5, true) + 256;
  else if (sizeBytes === 4) content = view.getUint32(5, true);
  else content = view.getUint32(9, true) * TWO32 + view.getUint32(5, true);
  let at = 5 + sizeBytes;
  for (let isLast = false; !isLast; ) {
    need(at + 3 <= frame.length, "the frame is cut", RULE);
    const head = frame[at] | (frame[at + 1] << 8) | (frame[at + 2] << 16);
    const type = (head >> 1) & 3;
    need(type !== 3, "a block of the frame has the reserved type", RULE);
    at += 3 + (type === 1 ? 1 : head >>> 3);
    isLast = (head & 1) === 1;
  }
  need(at === frame.length, `the frame ends at byte ${at} of ${frame.length}`, RULE);
  return content;
}

/**
 * Decoder of frames, over the module of a zstd that was compiled by Emscripten. A dictionary is copied into its memory
 * once, where zstd uses it in place.
 */
export class Zstd {
  #module;
  #context;
  #source = { at: 0, bytes: 0 };
  #target = { at: 0, bytes: 0 };
  #dictionaries = new Map(); // Uint8Array -> pointer, the one that was used longest ago first
  #kept = 0;

  constructor(module) {
    this.#module = module;
    this.#context = module._ZSTD_createDCtx();
    if (this.#context === 0) throw new Error("zstd has no memory");
  }

  /**
   * Decode one frame of `least` to `most` bytes.
   * @param {Uint8Array} frame
   * @param {number} least
   * @param {number} most
   * @param {Uint8Array} [dictionary] raw content; the same array should be given again for the same dictionary
   * @returns {Uint8Array} bytes of its own
   */
  decode(frame, least, most, dictionary) {
    const content = frameContentBytes(frame);
    need(content >= least && content <= most, `the frame holds ${content} bytes, not ${least} to ${most}`, RULE);
    const source = this.#room(this.#source, frame.length);
    const target = this.#room(this.#target, content);
    const kept = dictionary === undefined ? 0 : this.#dictionary(dictionary);
    this.#module.HEAPU8.set(frame, source);
    const length = dictionary === undefined ? 0 : dictionary.length;
    const found = this.#module._ZSTD_decompress_usingDict(
      this.#context, target, content, source, frame.length, kept, length,
    );
    if (found !== content) throw corrupt("the frame cannot be decoded", RULE);
    return this.#module.HEAPU8.slice(target, target + content);
  }

  #room(buffer, bytes) {
    if (bytes > buffer.bytes || buffer.at === 0) {
      if (buffer.at !== 0) this.#module._free(buffer.at);
      buffer.bytes = Math.max(bytes, 1 << 16);
      buffer.at = this.#allocate(buffer.bytes);
    }
    return buffer.at;
  }

  #dictionary(dictionary) {
    let at = this.#dictionaries.get(dictionary);
    if (at === undefined) {
      need(viewOf(dictionary).byteLength < 4 || viewOf(dictionary).getUint32(0, true) !== 0xec30a437,
        "the dictionary begins like a trained one", RULE);
      for (const [oldest, pointer] of this.#dictionaries) {
        if (this.#kept + dictionary.length <= KEPT_BYTES) break;
        this.#module._free(pointer);
        this.#kept -= oldest.length;
        this.#dictionaries.delete(oldest);
      }
      at = this.#allocate(dictionary.length);
      this.#module.HEAPU8.set(dictionary, at);
      this.#kept += dictionary.length;
    } else {
      this.#dictionaries.delete(dictionary);
    }
    this.#dictionaries.set(dictionary, at);
    return at;
  }

  #allocate(bytes) {
    const at = this.#module._malloc(bytes);
    if (at === 0) throw new Error(`zstd has no memory for ${bytes} bytes`);
    return at;
  }
}
