/**
 * The table in the kernel: brought from what was committed last to what is wanted, one transaction
 * for each change. It is written whole only where there is nothing to lead on from: at the start,
 * after an error, and when somebody else has touched it.
 *
 * @module
 */

import { messageOf, OpError } from "../../engine/errors.ts";
import type { Ip } from "../../engine/ip.ts";
import { readMaps } from "../../engine/policy/held.ts";
import {
  deltaText,
  generationIn,
  MARK_MASK,
  narrows,
  wholeText,
} from "../../engine/policy/render.ts";
import {
  type Enforced,
  LAST_GENERATION,
  MAP_NAMES,
  nextGeneration,
  type PolicyTable,
  type TableOptions,
} from "../../engine/policy/table.ts";
import { Netfilter } from "../../ffi/netfilter.ts";
import { listTable, nft, NftContext, nftProgram, nftRunner } from "../../ffi/nft.ts";
import { NftEvents } from "../../ffi/nft_events.ts";
import { holdAddresses } from "../../ffi/policy_hold.ts";
import type { Poller } from "../../ffi/poll.ts";
import type { Log } from "../log.ts";

/** Packets that were dropped, by the chain that did. */
export type Drops = ReadonlyMap<string, number>;

/** What an {@link Enforcer} needs. */
export interface EnforcerOptions extends TableOptions {
  readonly poller: Poller;
  readonly log: Log;
  /** Somebody else has touched the table: it must be written whole. Called often, when it fights. */
  readonly touched: () => void;
}

/** See the module. All of it is synchronous, in the calling thread's network namespace. */
export class Enforcer implements Disposable {
  readonly #options: EnforcerOptions;
  readonly #events: NftEvents;
  readonly #netfilter: Netfilter;
  /** Kept open: see {@link NftContext}. Undefined where only the program is there. */
  readonly #context: NftContext | undefined;
  readonly #stack: DisposableStack;
  /** What was committed; undefined while the kernel may hold anything. */
  #have: Enforced | undefined;
  /** The generation that connections may carry: those of an earlier table that is gone, too. */
  #generation = randomGeneration();

  /** @throws {OpError} when the kernel cannot be heard. */
  constructor(options: EnforcerOptions) {
    this.#options = options;
    using undo = new DisposableStack();
    if (nftRunner() !== nftProgram) this.#context = undo.use(new NftContext());
    this.#netfilter = undo.use(new Netfilter());
    this.#events = undo.use(
      new NftEvents(options.poller, (tables) => {
        if (tables === undefined) this.#drifted("events were lost");
        else if (tables.has(this.name)) this.#drifted("the table was changed by another");
      }),
    );
    this.#stack = undo.move();
  }

  /** What the kernel holds by our last word; undefined when nothing is known. */
  get have(): Enforced | undefined {
    return this.#have;
  }

  /**
   * Makes the kernel hold a table.
   *
   * @throws {OpError} when even the whole table is refused; what stood before still stands.
   */
  apply(table: PolicyTable): void {
    const have = this.#have;
    const { table: name, ping } = this.#options;
    const bump = have === undefined || narrows(have, table);
    const generation = bump ? nextGeneration(this.#generation) : this.#generation;
    const want: Enforced = { ...table, options: { table: name, ping }, generation };
    if (have !== undefined) {
      const delta = deltaText(have, want);
      if (delta === "") {
        this.#have = want;
        return;
      }
      try {
        this.#run(delta);
        this.#commit(want);
        return;
      } catch (e) {
        if (!(e instanceof OpError)) throw e;
        this.#options.log.warn("A change of the policy rules was refused; writing them whole", {
          reason: short(messageOf(e)),
        });
        this.#have = undefined;
      }
    }
    this.#run(wholeText(want));
    this.#commit(want);
  }

  /** Looks whether the table stands; for what nobody has told. */
  look(): void {
    const { have } = this;
    if (have === undefined) return;
    const chain = { family: "inet", table: this.name, chain: "remember" } as const;
    if (!this.#netfilter.holdsAny([chain])) {
      this.#drifted("the table is gone");
    }
  }

  /**
   * Holds addresses in whatever table stands.
   *
   * @throws {OpError}
   */
  hold(ips: readonly Ip[]): void {
    this.#have = undefined;
    holdAddresses(this.#options.table, ips);
  }

  /**
   * The addresses that the standing table has in its maps, whoever wrote it; its generation counts
   * on. Reads the whole table.
   */
  standing(): ReadonlySet<Ip> {
    const listing = listTable(this.#options.table);
    this.#generation = generationIn(listing) ?? this.#generation;
    return readMaps(listing).addresses;
  }

  /** How many rules and elements the kernel holds. */
  counts(): { readonly rules: number; readonly elements: number } {
    const { have } = this;
    let [rules, elements] = [0, 0];
    for (const chain of have?.chains.values() ?? []) rules += chain.rules.length;
    for (const set of have?.sets.values() ?? []) elements += set.elements.size;
    for (const name of MAP_NAMES) elements += have?.maps[name].size ?? 0;
    return { rules, elements };
  }

  /** Dropped packets by chain; empty when nothing is known. */
  drops(): Drops {
    if (this.#have === undefined) return new Map();
    return this.#netfilter.counters({ family: "inet", table: this.name });
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }

  /** The table's name without its family. */
  get name(): string {
    return this.#options.table.split(" ")[1] ?? "";
  }

  /** Runs a transaction. */
  #run(commands: string): void {
    const context = this.#context;
    // Of a large table each element would be told.
    this.#events.unheard(() =>
      nft(commands, context && ((text, detail) => context.run(text, detail)))
    );
  }

  #commit(want: Enforced): void {
    this.#have = want;
    this.#generation = want.generation;
    // Nobody was listening just now.
    this.look();
  }

  #drifted(reason: string): void {
    if (this.#have === undefined) return;
    this.#options.log.warn("The policy rules are written anew", { reason });
    this.#have = undefined;
    this.#options.touched();
  }
}

/**
 * Takes a table of policies away, and the marks that it left on connections.
 *
 * @returns Whether there was one.
 * @throws {OpError}
 */
export function removePolicies(table: string): boolean {
  if (listTable(table) === "") return false;
  nft(`delete table ${table}\n`);
  using netfilter = new Netfilter();
  netfilter.clearMarks(MARK_MASK);
  return true;
}

/** Connections may carry the marks of a table that is gone. */
function randomGeneration(): number {
  return 1 + Math.floor(Math.random() * (LAST_GENERATION - 1));
}

/** nft repeats the lines that it refuses, which may be long. */
function short(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
