/**
 * Brings the elements of sets to what is wanted, in small transactions and without nft: before rules
 * look into a set that is new, and where a set is right for itself, since it is named after what it
 * holds.
 *
 * @module
 */

import { type Family, type Ip, ipBytes, ipFromBytes } from "../../engine/ip.ts";
import type { ElementStep } from "../../engine/policy/render.ts";
import { followsMaps, type PolicySet, type SetKind } from "../../engine/policy/table.ts";
import type { NftElement, NftSetHead } from "../../ffi/netlink/nft_sets.ts";
import type { ElementChange, NftTable } from "../../ffi/nft_table.ts";

/**
 * Elements in one transaction: the kernel takes some milliseconds for them. With more it takes longer
 * for each: it enlarges a set's table between transactions only.
 */
const PORTION = 3_000;

/** nft's numbers of types (`TYPE_IPADDR`, `TYPE_IP6ADDR`, `TYPE_INET_SERVICE`, `TYPE_BITS`). */
const TYPE = { 4: 7, 6: 8, service: 13, bits: 6 } as const;
/** Bytes of an address. */
const LENGTH = { 4: 4, 6: 16 } as const satisfies Record<Family, number>;

/** What {@link SetFiller} can fill: not ranges, and not what must change together with the maps. */
export function canFill(name: string, { kind }: Pick<PolicySet, "kind">): boolean {
  const fillable = { addresses: true, ports: true, loops: false, ranges: false } as const;
  return fillable[kind satisfies SetKind] && !followsMaps(name);
}

/** Whether a set that stands is of the kind that is wanted, so that it may be filled. */
export function isSetOf({ flags, keyType, keyLength }: NftSetHead, set: PolicySet): boolean {
  const { kind, family } = set;
  const [type, length] = kind === "ports"
    ? [TYPE[family] << TYPE.bits | TYPE.service, LENGTH[family] + 4]
    : [TYPE[family], LENGTH[family]];
  return flags === 0 && keyType === type && keyLength === length;
}

/** See the module. */
export class SetFiller {
  readonly #kernel: NftTable;
  /** Thousands of sets hold the same addresses. */
  readonly #elements = new Map<string, NftElement>();
  #waiting: ElementChange[] = [];
  #count = 0;

  constructor(kernel: NftTable) {
    this.#kernel = kernel;
  }

  /**
   * Makes sets that stand hold their elements and no others, in steps of a few milliseconds.
   *
   * @param present those in which something may be.
   * @throws {OpError}
   */
  *fill(
    sets: Iterable<readonly [string, PolicySet]>,
    present: ReadonlySet<string>,
  ): Generator<void, void> {
    for (const [name, { elements }] of sets) {
      const wanted = [...elements].map((text) => this.#element(text));
      if (!present.has(name)) yield* this.#put({ set: name, lost: [], fresh: wanted });
      else yield* this.#put(this.#difference(name, wanted));
      yield;
    }
    this.#flush();
  }

  #difference(set: string, wanted: readonly NftElement[]): ElementChange {
    const missing = new Map(wanted.map((element) => [keyText(element.key), element]));
    const lost: NftElement[] = [];
    for (const key of this.#kernel.keys(set)) {
      if (!missing.delete(keyText(key))) lost.push({ key: key.slice() });
    }
    return { set, lost, fresh: [...missing.values()] };
  }

  #flush(): void {
    this.#kernel.change(this.#waiting);
    [this.#waiting, this.#count] = [[], 0];
  }

  /** What must go goes first, in portions as what comes. */
  *#put({ set, lost, fresh }: ElementChange): Generator<void, void> {
    while (lost.length + fresh.length > 0) {
      const room = PORTION - this.#count;
      const [gone, come] = [lost.slice(0, room), fresh.slice(0, Math.max(0, room - lost.length))];
      this.#waiting.push({ set, lost: gone, fresh: come });
      this.#count += gone.length + come.length;
      [lost, fresh] = [lost.slice(gone.length), fresh.slice(come.length)];
      if (this.#count < PORTION) continue;
      this.#flush();
      yield;
    }
  }

  #element(text: string): NftElement {
    let element = this.#elements.get(text);
    if (element === undefined) this.#elements.set(text, element = { key: keyOf(text) });
    return element;
  }
}

/** The steps as one transaction of elements. */
export function changesOf(steps: readonly ElementStep[]): ElementChange[] {
  return steps.map(({ name, lost, fresh }) => ({
    set: name,
    lost: lost.map((text) => ({ key: keyOf(text) })),
    fresh: fresh.map((one) =>
      typeof one === "string" ? { key: keyOf(one) } : { key: keyOf(one[0]), goto: one[1] }
    ),
  }));
}

/** The addresses in a map of ours. @throws {OpError} */
export function addressesIn(kernel: NftTable, map: string): Ip[] {
  return [...kernel.keys(map)].map(ipFromBytes);
}

/** The key of an element as nft writes it: addresses and ports, each padded to four bytes. */
function keyOf(text: string): Uint8Array {
  const parts = text.split(" . ").map((part) =>
    /^\d+$/.test(part)
      ? Uint8Array.of(Number(part) >> 8, Number(part) & 0xff, 0, 0)
      : ipBytes(part as Ip)
  );
  const [first = new Uint8Array(), second] = parts;
  return second === undefined ? first : Uint8Array.of(...first, ...second);
}

function keyText(key: Uint8Array): string {
  return String.fromCharCode(...key);
}
