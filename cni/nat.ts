/**
 * Address translation by either back end, for the plugins that need it: which one is used, and how
 * rules are cleaned up without starting a program for nothing.
 *
 * Cleaning looks at both back ends whatever the configuration says: it may have been changed since
 * the rules were made.
 *
 * @module
 */

import { messageOf } from "../engine/errors.ts";
import type { Family } from "../engine/ip.ts";
import {
  additionText,
  IptablesTable,
  missing,
  targetOf,
  type Wanted,
  type WantedRule,
} from "../engine/rules/iptables.ts";
import type { Listing } from "../engine/rules/nft_listing.ts";
import { editNat, hasRule, isUnusable, readNat, usesLegacyNat } from "../ffi/iptables.ts";
import { Netfilter, type NftObject } from "../ffi/netfilter.ts";
import { editTable } from "../ffi/nft.ts";
import type { Backend } from "./backend.ts";
import type { Request } from "./plugin.ts";

/** Both families: what is cleaned up is looked for in both. */
export const BOTH_FAMILIES = [4, 6] as const satisfies readonly Family[];

/**
 * How often rules of nftables are looked for before they count as missing. As it lists a table, the
 * kernel counts how far it came; when a transaction of somebody else is taken back meanwhile (it
 * failed, or its process was killed), the count is wrong and rules are left out, without a sign.
 */
export const LOOKS = 2;

/** The tables nat as they were read to learn whether iptables can be used. */
export type NatTables = ReadonlyMap<Family, IptablesTable>;

/**
 * Works with the chosen back end. When none is chosen: with iptables where it is usable for all of
 * the families, so that our rules are where the operator looks for them, else with nftables.
 *
 * @throws {OpError} when the back end is not usable, or what the work throws.
 */
export async function withBackend<T>(
  chosen: Backend | undefined,
  families: readonly Family[],
  work: {
    readonly iptables: (tables: NatTables) => Promise<T>;
    readonly nftables: () => T | Promise<T>;
  },
): Promise<T> {
  if (chosen === "nftables") return await work.nftables();
  let tables: NatTables;
  try {
    const read = families.map(async (family) => [family, await readNat(family)] as const);
    tables = new Map(await Promise.all(read));
  } catch (error) {
    if (chosen === "iptables" || !isUnusable(error)) throw error;
    return await work.nftables();
  }
  return await work.iptables(tables);
}

/** Makes the wanted that is missing. @throws {OpError} then nothing of this family was made */
export async function addNat(
  family: Family,
  wanted: Wanted,
  first: IptablesTable | undefined,
): Promise<void> {
  await editNat(
    family,
    async (table) => additionText(table.name, await lacking(family, table, wanted)),
    first,
  );
}

/** What of the wanted is missing, also in iptables' own opinion. */
export async function lacking(
  family: Family,
  table: IptablesTable,
  wanted: Wanted,
): Promise<Wanted> {
  const { chains, rules } = missing(table, wanted);
  const absent: WantedRule[] = [];
  for (const rule of rules) {
    const target = targetOf(rule) ?? "";
    const similar = rule.free && table.jumpsTo(target).some(({ chain }) => chain === rule.chain);
    if (!similar || !await hasRule(family, rule)) absent.push(rule);
  }
  return { chains, rules: absent };
}

/** Cleans up after plugins: does all it can, and tells at the end what went wrong. */
export class NatCleaner implements Disposable {
  readonly #request: Request;
  readonly #netfilter: Netfilter | undefined;
  readonly #errors: unknown[] = [];

  constructor(request: Request) {
    this.#request = request;
    try {
      this.#netfilter = new Netfilter();
    } catch (error) {
      // A kernel without netfilter has no rules either.
      request.log(`twill: ${messageOf(error)}; taken as no rules`);
    }
  }

  /** True when nf_tables has any of these. */
  #holdsAny(objects: readonly NftObject[]): boolean {
    return this.#netfilter?.holdsAny(objects) ?? false;
  }

  /**
   * Edits the tables nat of both families, where one of the chains may exist.
   *
   * @param edit returns input for `iptables-restore`.
   */
  async iptables(
    chains: readonly string[],
    edit: (table: IptablesTable) => string,
  ): Promise<void> {
    for (const family of BOTH_FAMILIES) {
      const name = family === 4 ? "ip" : "ip6";
      const objects = chains.map((chain): NftObject => ({ family: name, table: "nat", chain }));
      await this.attempt(async () => {
        if (!this.#holdsAny(objects) && !usesLegacyNat(family)) return;
        await this.#usable(() => editNat(family, edit));
      });
    }
  }

  /** Edits a table of nftables, where it exists, or that chain of it; {@link LOOKS} times. */
  async nftables(object: NftObject, edit: (listing: Listing) => string): Promise<void> {
    await this.attempt(async () => {
      if (!this.#holdsAny([object])) return;
      for (let look = 0; look < LOOKS; look++) {
        await this.#usable(() => editTable(`${object.family} ${object.table}`, edit));
      }
    });
  }

  /** What an unusable back end made is out of our reach, and a pod must be deletable. */
  async #usable(step: () => void | Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      if (!isUnusable(error)) throw error;
      this.#request.log(`twill: ${messageOf(error)}; what it made, if anything, stays`);
    }
  }

  /** Does one step; what fails does not keep the next ones from being done. */
  async attempt(step: () => void | Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.#errors.push(error);
    }
  }

  /** @throws the first error of all steps; the others are logged. */
  finish(): void {
    const [first, ...others] = this.#errors;
    for (const error of others) this.#request.log(`twill: ${messageOf(error)}`);
    if (first !== undefined) throw first;
  }

  /** Logs what went wrong instead of throwing it: for taking back after another failure. */
  finishQuietly(): void {
    for (const error of this.#errors) this.#request.log(`twill: ${messageOf(error)}`);
  }

  [Symbol.dispose](): void {
    this.#netfilter?.[Symbol.dispose]();
  }
}
