// Promises that are kept by key, so that a thing is read once. One that fails is forgotten, so that it can be tried again.

export class Cache {
  #kept = new Map(); // the key that was used longest ago first

  /** @param {number} [most] how many are kept: those that were used last */
  constructor(most = Infinity) {
    this.most = most;
  }

  get(key, make) {
    let promise = this.#kept.get(key);
    if (promise === undefined) {
      promise = make();
      promise.catch(() => this.#kept.delete(key));
    } else {
      this.#kept.delete(key);
    }
    this.#kept.set(key, promise);
    if (this.#kept.size > this.most) this.#kept.delete(this.#kept.keys().next().value);
    return promise;
  }
}
