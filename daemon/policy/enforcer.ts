/**
 * The table in the kernel: brought from what was committed last to what is wanted, one transaction
 * for each change. It is written whole only where there is nothing to lead on from: at the start,
 * after an error, and when somebody else has touched it.
 *
 * @module
 */

import { messageOf, OpError } from "../../engine/errors.ts";
import type { Ip } from "../../engine/ip.ts";
import { generationOf, MARK_MASK } from "../../engine/policy/frame.ts";
import {
  deltaText,
  elementSteps,
  emptySetsText,
  generationText,
  narrows,
  type Standing,
  wholeText,
} from "../../engine/policy/render.ts";
import {
  type Enforced,
  LAST_GENERATION,
  MAP_NAMES,
  nextGeneration,
  type PolicySet,
  type PolicyTable,
  type TableOptions,
} from "../../engine/policy/table.ts";
import { Netfilter } from "../../ffi/netfilter.ts";
import { listTable, nft, NftContext, nftProgram, nftRunner, outputOf } from "../../ffi/nft.ts";
import { NftEvents } from "../../ffi/nft_events.ts";
import { SetFlag } from "../../ffi/netlink/nft_sets.ts";
import { NftTable } from "../../ffi/nft_table.ts";
import { holdAddresses } from "../../ffi/policy_hold.ts";
import type { Poller } from "../../ffi/poll.ts";
import type { Log } from "../log.ts";
import { breathing } from "../wait.ts";
import { addressesIn, canFill, changesOf, isSetOf, SetFiller } from "./set_filler.ts";

/** Packets that were dropped, by the chain that did. */
export type Drops = ReadonlyMap<string, number>;

/** What an {@link Enforcer} needs. */
export interface EnforcerOptions extends TableOptions {
  readonly poller: Poller;
  readonly log: Log;
  /** Somebody else has touched the table: it must be written whole. Called often, when it fights. */
  readonly touched: () => void;
}

/** What takes longer is done on another thread, letters of nft's language: some 10 ms. */
const LONG = 32 << 10;
/** So many elements of new sets are too many for nft: it takes some 4 ms for a thousand. */
const MANY = 2_000;

/** See the module. It stays in the network namespace in which it was made. */
export class Enforcer implements Disposable {
  readonly #options: EnforcerOptions;
  readonly #events: NftEvents;
  readonly #netfilter: Netfilter;
  readonly #kernel: NftTable;
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
    this.#kernel = undo.use(new NftTable(this.name));
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
   * Makes the kernel hold a table. One call after the other: await it.
   *
   * @param knows whether we know whose an address is. Asked only about addresses that stand in the
   * kernel by somebody else's word, where the table must be written whole.
   * @returns Addresses that nobody knows: nothing was done, since they would be opened. None: done.
   * @throws {OpError} when even the whole table is refused; what stood before still stands.
   */
  async apply(table: PolicyTable, knows: (ip: Ip) => boolean = () => true): Promise<Ip[]> {
    const have = this.#have;
    if (have !== undefined) {
      try {
        await this.#change(have, table);
        return [];
      } catch (e) {
        if (!(e instanceof OpError)) throw e;
        this.#options.log.warn("A change of the policy rules was refused; writing them whole", {
          reason: short(messageOf(e)),
        });
        this.#have = undefined;
      }
    }
    return await this.#replace(table, knows);
  }

  #enforced(table: PolicyTable, generation: number): Enforced {
    const { table: name, ping } = this.#options;
    return { ...table, options: { table: name, ping }, generation };
  }

  /** From what was committed to what is wanted. @throws {OpError} */
  async #change(have: Enforced, table: PolicyTable): Promise<void> {
    const generation = narrows(have, table) ? nextGeneration(have.generation) : have.generation;
    const want = this.#enforced(table, generation);
    const steps = elementSteps(have, want);
    if (steps === undefined) {
      await this.#events.unheard(async () => {
        const fresh = [...want.sets].filter(([name, set]) =>
          !have.sets.has(name) && canFill(name, set)
        );
        const count = fresh.reduce((sum, [, { elements }]) => sum + elements.size, 0);
        const filled = await this.#fill(count > MANY ? fresh : [], new Set());
        await this.#run(deltaText(have, want, filled));
      });
    } else if (steps.length > 0) {
      await this.#events.unheard(async () => {
        this.#kernel.change(changesOf(steps));
        // Connections are judged again when the sets are what they should be.
        await this.#run(generationText(have, want));
      });
    } else {
      this.#have = want;
      return;
    }
    this.#commit(want);
  }

  /** Whole, in place of whatever stands. @throws {OpError} */
  async #replace(table: PolicyTable, knows: (ip: Ip) => boolean): Promise<Ip[]> {
    const wanted = new Set(MAP_NAMES.flatMap((name) => [...table.maps[name].keys()]));
    const strangers = (): Ip[] =>
      [...this.standing()].filter((ip) => !wanted.has(ip) && !knows(ip));
    const found = strangers();
    if (found.length > 0) return found;
    const want = this.#enforced(table, nextGeneration(this.#generation));
    const late = await this.#events.unheard(async () => {
      try {
        const standing = await this.#prepare(want);
        // A plugin may have put one there meanwhile.
        const found = strangers();
        if (found.length === 0) await this.#run(wholeText(want, standing));
        return found;
      } catch (e) {
        if (!(e instanceof OpError)) throw e;
        // Something stands there that we do not understand: away with all of it.
        this.#options.log.warn("The policy rules could not be written over those that stand", {
          reason: short(messageOf(e)),
        });
        await this.#run(wholeText(want));
        return [];
      }
    });
    if (late.length === 0) this.#commit(want);
    return late;
  }

  /** Makes sets and fills them, while the rules that stand are in force. @throws {OpError} */
  async #prepare(want: Enforced): Promise<Standing> {
    const heads = this.#kernel.heads().filter(({ flags }) => (flags & SetFlag.ANONYMOUS) === 0);
    const maps = heads.filter(({ flags }) => (flags & SetFlag.MAP) !== 0);
    const sets = heads.filter((head) => !maps.includes(head));
    const usable = new Set(
      sets.filter((head) => {
        const set = want.sets.get(head.name);
        return set !== undefined && isSetOf(head, set);
      }).map(({ name }) => name),
    );
    const names = new Set(heads.map(({ name }) => name));
    const filled = await this.#fill(
      [...want.sets].filter(([name, set]) =>
        canFill(name, set) && (usable.has(name) || !names.has(name))
      ),
      usable,
    );
    return {
      chains: this.#kernel.chains(),
      counters: [...this.#netfilter.counters({ family: "inet", table: this.name }).keys()],
      maps: maps.map(({ name }) => name),
      sets: sets.map(({ name }) => name),
      filled,
    };
  }

  /** @returns the sets that hold now what is wanted. @throws {OpError} */
  async #fill(
    sets: readonly (readonly [string, PolicySet])[],
    present: ReadonlySet<string>,
  ): Promise<ReadonlySet<string>> {
    if (sets.length === 0) return new Set();
    const { table, ping } = this.#options;
    const missing = sets.filter(([name]) => !present.has(name));
    if (missing.length > 0) await this.#run(emptySetsText({ table, ping }, missing));
    const filler = new SetFiller(this.#kernel);
    await breathing(filler.fill(sets, present));
    return new Set(sets.map(([name]) => name));
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
   * on.
   *
   * @throws {OpError}
   */
  standing(): ReadonlySet<Ip> {
    const [mark] = this.#kernel.marks("remember");
    if (mark !== undefined) this.#generation = generationOf(mark) ?? this.#generation;
    return new Set(MAP_NAMES.flatMap((map) => addressesIn(this.#kernel, map)));
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

  /** Runs a transaction; a long one on another thread. @throws {OpError} */
  async #run(commands: string): Promise<void> {
    const context = this.#context;
    if (commands === "") return;
    if (context === undefined) nft(commands);
    else if (commands.length > LONG) outputOf(await context.runSlow(commands));
    else outputOf(context.run(commands));
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
