/** A typed value that tells its listeners when it changes. */
export interface Readable<T> {
  get(): T;
  /** Calls `listener` now and at every change; returns the function that ends it. */
  subscribe(listener: (value: T, before: T) => void): () => void;
}

export interface Store<T> extends Readable<T> {
  set(value: T): void;
  update(change: (value: T) => T): void;
}

export function createStore<T>(initial: T): Store<T> {
  let current = initial;
  const listeners = new Set<(value: T, before: T) => void>();

  function set(value: T): void {
    if (Object.is(value, current)) return;
    const before = current;
    current = value;
    // a copy: a listener may unsubscribe while it is called
    for (const listener of [...listeners]) listener(value, before);
  }

  return {
    get: () => current,
    set,
    update: (change) => set(change(current)),
    subscribe(listener) {
      listeners.add(listener);
      listener(current, current);
      return () => listeners.delete(listener);
    },
  };
}
