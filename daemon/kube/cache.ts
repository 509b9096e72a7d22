/**
 * What is kept of the objects of one list, and which of them changed.
 *
 * @module
 */

import { messageOf } from "../../engine/errors.ts";
import { member, textOf } from "./raw.ts";

/** What is known now. */
export interface View<T> {
  /**
   * The kept objects by `namespace/name`, or `name` where there are no namespaces. This is the
   * cache itself, which goes on changing: read it before the next `await`, or copy it.
   */
  readonly objects: ReadonlyMap<string, T>;
  /** The keys that came, changed or went since the view before; all of them in the first one. */
  readonly changed: ReadonlySet<string>;
  /** Objects that could not be read, with the reason. What was kept of them before still counts. */
  readonly bad: ReadonlyMap<string, string>;
}

/** How a {@link Cache} treats objects. */
export interface CacheRules<T> {
  /** See `ListWatchOptions.strip`. */
  readonly strip: (raw: unknown) => T | undefined;
  /** True when two kept objects say the same. */
  readonly same: (a: T, b: T) => boolean;
  /** Called once for each object that cannot be read. */
  readonly told: (key: string, reason: string) => void;
}

/** See the module. */
export class Cache<T> {
  readonly #rules: CacheRules<T>;
  readonly #objects = new Map<string, T>();
  readonly #bad = new Map<string, string>();
  #changed = new Set<string>();

  constructor(rules: CacheRules<T>) {
    this.#rules = rules;
  }

  /** Something changed since {@link Cache.take}. */
  get changed(): boolean {
    return this.#changed.size > 0;
  }

  /** What is known; changes count anew from here. */
  take(): View<T> {
    const changed = this.#changed;
    this.#changed = new Set();
    return { objects: this.#objects, changed, bad: this.#bad };
  }

  /** Takes an object as it is now. Returns its key. */
  put(raw: unknown): string {
    const key = keyOf(raw);
    let now: T | undefined;
    try {
      now = this.#rules.strip(raw);
    } catch (e) {
      const reason = messageOf(e);
      if (this.#bad.get(key) === reason) return key;
      this.#bad.set(key, reason);
      this.#changed.add(key);
      this.#rules.told(key, reason);
      return key;
    }
    if (this.#bad.delete(key)) this.#changed.add(key);
    const before = this.#objects.get(key);
    if (now === undefined) {
      if (this.#objects.delete(key)) this.#changed.add(key);
    } else if (before === undefined || !this.#rules.same(before, now)) {
      this.#objects.set(key, now);
      this.#changed.add(key);
    }
    return key;
  }

  /** An object is gone. */
  delete(key: string): void {
    const was = this.#objects.delete(key);
    if (this.#bad.delete(key) || was) this.#changed.add(key);
  }

  /** All objects that are not among these are gone. */
  retain(present: ReadonlySet<string>): void {
    for (const key of [...this.#objects.keys(), ...this.#bad.keys()]) {
      if (!present.has(key)) this.delete(key);
    }
  }
}

/** `namespace/name`, or `name`. */
export function keyOf(raw: unknown): string {
  const metadata = member(raw, "metadata");
  const name = textOf(member(metadata, "name")) ?? "";
  const namespace = textOf(member(metadata, "namespace"));
  return namespace === undefined ? name : `${namespace}/${name}`;
}
