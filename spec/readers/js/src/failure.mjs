// The one exception of this reader, and the kinds of errors that it tells apart (format.md 2.7).

export const KINDS = ["truncated", "checksum", "corrupt", "unsupported", "missing"];

/** Bytes that break a rule of the specification, or that need a newer reader. */
export class ReadError extends Error {
  /**
   * @param {string} kind one of KINDS
   * @param {string} what what is wrong
   * @param {string} rule page and section, such as "format.md 4.2"
   * @param {number} [offset] bytes from the start of the file, where known
   */
  constructor(kind, what, rule, offset) {
    super(what);
    this.name = "ReadError";
    this.kind = kind;
    this.what = what;
    this.rule = rule;
    this.offset = offset;
    this.path = undefined;
    this.#compose();
  }

  /** Name the file that the error is about, unless it has a name already. */
  in(path) {
    if (this.path === undefined) {
      this.path = path;
      this.#compose();
    }
    return this;
  }

  #compose() {
    const place = this.path === undefined ? "" : `${this.path}: `;
    const at = this.offset === undefined ? "" : ` at byte ${this.offset}`;
    this.message = `${place}${this.kind}: ${this.what}${at} (${this.rule})`;
  }
}

export function corrupt(what, rule, offset) {
  return new ReadError("corrupt", what, rule, offset);
}

/** Throw `corrupt` unless something holds. */
export function need(holds, what, rule, offset) {
  if (!holds) throw corrupt(what, rule, offset);
}

/** Run something, and give its errors the name of the file that they are about. */
export async function within(path, work) {
  try {
    return await work();
  } catch (error) {
    throw error instanceof ReadError ? error.in(path) : error;
  }
}
