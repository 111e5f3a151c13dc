// Promises that are kept by key, so that a thing is read once; one that fails is forgotten, so that it can be tried again.

export function remember(kept, key, make) {
  let promise = kept.get(key);
  if (promise === undefined) {
    promise = make();
    kept.set(key, promise);
    promise.catch(() => kept.delete(key));
  }
  return promise;
}
