/**
 * The kernel, as the engine sees it: the only reader of facts and the only applier of plans.
 *
 * The applier decides nothing. It turns each change into its message, sends neighbours of one
 * namespace together, and gives each change its own outcome.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { describe, type Fact, type RulesFact, type Scope, type Where } from "../engine/fact.ts";
import type { Ip } from "../engine/ip.ts";
import type { Change } from "../engine/plan.ts";
import type { RouteAnswer, RouteQuestion } from "../engine/trace/lookup.ts";
import { chainInput, chainText } from "../engine/rules/chains.ts";
import { Errno, errnoText } from "./errno.ts";
import { restoreTable, saveTable } from "./iptables_sync.ts";
import { Batch, Namespace } from "./namespace.ts";
import type { Answer } from "./netlink/message.ts";
import type { Request } from "./netlink/socket.ts";
import { listTable, replaceTable } from "./nft.ts";
import {
  type Address,
  answeredLink,
  type Link,
  linkQuestion,
  readAddresses,
  readLinks,
  readRouteTo,
  readTables,
} from "./reader.ts";
import { lookUp } from "./route_lookup.ts";
import { type LinkLevelFact, portSettings, requestFor } from "./requests.ts";
import { readSysctl, writeSysctl } from "./sysctl.ts";

export type { Address, Link } from "./reader.ts";

/** What became of one change. */
export interface Outcome {
  readonly change: Change;
  /** Absent when the kernel accepted it. */
  readonly error?: OpError;
}

/** The kernel's network state: of the node, and of one pod when its namespace is given. */
export class Kernel implements Disposable {
  readonly #spaces: Readonly<Partial<Record<Where, Namespace>>>;
  readonly #stack: DisposableStack;
  /** What the kernel shows for a table that we wrote: nft's wording may differ from ours. */
  readonly #listed = new Map<string, { readonly text: string; readonly listing: string }>();

  private constructor(spaces: Partial<Record<Where, Namespace>>, stack: DisposableStack) {
    this.#spaces = spaces;
    this.#stack = stack;
  }

  /**
   * Opens the namespaces. The calling thread's own is the host's.
   *
   * @param options `pod`: the path of the pod's network namespace.
   * @throws {OpError} when a namespace cannot be entered or libnl is missing.
   */
  static open(options: { readonly pod?: string } = {}): Kernel {
    using undo = new DisposableStack();
    const host = undo.use(new Namespace(undefined));
    const { pod } = options;
    const spaces = pod === undefined ? { host } : { host, pod: undo.use(new Namespace(pod)) };
    return new Kernel(spaces, undo.move());
  }

  #space(where: Where): Namespace {
    const space = this.#spaces[where];
    if (space === undefined) throw new TypeError(`the ${where}'s namespace was not opened`);
    return space;
  }

  /** For many changes at once: room for their acknowledgements. @throws {OpError} */
  enlarge(): void {
    this.#space("host").socket.enlarge();
  }

  /** The netlink port of the host's socket: who caused an event (see `events.ts`). */
  get port(): number {
    return this.#space("host").socket.port;
  }

  /** One link, or undefined. */
  link(where: Where, name: string): Link | undefined {
    return this.named(where, [name])[0];
  }

  /** Those of the links that there are, in the order of their names. */
  named(where: Where, names: readonly string[]): Link[] {
    return this.#space(where).named(names);
  }

  /** A link as it was when we made it or read it last. */
  known(where: Where, name: string): Link | undefined {
    return this.#space(where).known(name);
  }

  /** All links of a namespace. */
  links(where: Where): Link[] {
    return readLinks(this.#space(where).socket);
  }

  /** The addresses of a namespace, or of one link. */
  addresses(where: Where, index?: number): Address[] {
    return readAddresses(this.#space(where).socket, index);
  }

  /** The node's link by which packets to an address leave; undefined when there is no route. */
  linkTo(ip: Ip): Link | undefined {
    const { socket } = this.#space("host");
    const index = readRouteTo(socket, ip);
    return index === undefined ? undefined : readLinks(socket).find((one) => one.index === index);
  }

  /** Which way the kernel would send a packet from that namespace, or through it. @throws {OpError} */
  lookUp(where: Where, question: RouteQuestion): RouteAnswer {
    const { socket } = this.#space(where);
    const links = readLinks(socket);
    return lookUp(socket, question, {
      nameOf: (index) => links.find((link) => link.index === index)?.name ?? `if${index}`,
      indexOf: (name) => links.find((link) => link.name === name)?.index,
    });
  }

  /** Reads a setting; undefined when the kernel has none of that name. */
  sysctl(where: Where, key: string): string | undefined {
    return this.#space(where).enter(() => readSysctl(key));
  }

  /** The facts that the kernel holds now. @throws {OpError} when it cannot be read */
  read(scope: Scope): Fact[] {
    const where = scope.where ?? "host";
    const space = this.#space(where);
    return [
      ...readTables(space, where, scope),
      ...(scope.wireguard ?? []).filter((name) => space.index(name) !== undefined)
        .flatMap((name) => space.wireguard.read(where, name)),
      ...this.#sysctlFacts(where, scope.sysctls),
      ...(scope.rules ?? []).map((table) => this.#rulesFact(where, table)),
      ...chainFacts(space, where, scope.chains),
    ];
  }

  #sysctlFacts(where: Where, keys: readonly string[] = []): Fact[] {
    return this.#space(where).enter(() =>
      keys.flatMap((key) => {
        const value = readSysctl(key);
        return value === undefined ? [] : [{ kind: "sysctl" as const, where, key, value }];
      })
    );
  }

  #rulesFact(where: Where, table: string): Fact {
    const listing = this.#space(where).enter(() => listTable(table));
    const written = this.#listed.get(`${where} ${table}`);
    const text = written?.listing === listing ? written.text : listing;
    return { kind: "rules", where, table, text };
  }

  /**
   * Carries changes out. Those of one namespace keep their order; between two settings or rules,
   * the node's links, addresses and routes come before the pod's. A change that fails does not stop the others; what is already
   * as wanted (a deletion of something gone) counts as done.
   *
   * @returns One outcome for each change, in their order.
   * @throws {Overrun} when answers were lost: read again.
   */
  apply(changes: readonly Change[]): Outcome[] {
    const outcomes = changes.map((change): Outcome => ({ change }));
    const batches = new Map<Where, Batch>();
    for (const where of ["host", "pod"] as const) {
      const space = this.#spaces[where];
      if (space !== undefined) batches.set(where, new Batch(space));
    }
    const flush = (): void => {
      for (const batch of batches.values()) batch.flush();
    };
    for (const [at, change] of changes.entries()) {
      const { fact } = change;
      if (isFile(fact)) {
        flush();
        outcomes[at] = attempt(change, () => this.#applyFile({ ...change, fact }));
        continue;
      }
      if (fact.kind === "wireguard" || fact.kind === "wireguard-peer") {
        flush();
        const answer = this.#space(fact.where).wireguard.apply({ ...change, fact });
        outcomes[at] = outcome(change, answer.errno === 0 ? undefined : answer);
        continue;
      }
      // Indexes of links that a waiting request makes can be told when it was sent.
      if (linksOf(fact).some((name) => this.#space(fact.where).known(name) === undefined)) flush();
      outcomes[at] = attempt(change, () => {
        const requests = this.#requests({ ...change, fact });
        const question = change.op === "put" && fact.kind === "link"
          ? [linkQuestion(fact.name)]
          : [];
        batches.get(fact.where)?.post([...requests, ...question], (replies) => {
          const refused = replies.slice(0, requests.length).find(({ errno }) => errno !== 0);
          outcomes[at] = outcome(change, refused);
          const told = replies[requests.length];
          if (told !== undefined) this.#space(fact.where).learn(answeredLink(told));
        });
      });
      // It has another end, in another namespace, on which a later change may rest.
      if (fact.kind === "link" && fact.driver.kind === "veth") flush();
    }
    flush();
    return outcomes;
  }

  /**
   * Carries out one change of a link that takes the kernel long (a deletion takes 15 to 50 ms),
   * while the calling thread does other things; but nothing with this kernel.
   *
   * @throws as {@link Kernel.apply}.
   */
  async applySlow(change: Change & { readonly fact: LinkLevelFact }): Promise<Outcome> {
    try {
      const [request] = this.#requests(change);
      if (request === undefined) return { change };
      const answer = await this.#space(change.fact.where).socket.requestSlow(request);
      return outcome(change, answer.errno === 0 ? undefined : answer);
    } catch (e) {
      if (!(e instanceof OpError)) throw e;
      return isDone(change, e.errno ?? 0) ? { change } : { change, error: e };
    }
  }

  #requests(change: Change & { readonly fact: LinkLevelFact }): Request[] {
    const { fact } = change;
    const names = {
      index: (where: Where, name: string): number => {
        const index = this.#space(where).index(name);
        if (index !== undefined) return index;
        throw new OpError(deed(change), describe(fact), {
          code: ErrorCode.kernel,
          errno: Errno.ENODEV,
          kernel: `no such device ${name}`,
        });
      },
      netnsFd: (where: Where): number => this.#space(where).fd,
    };
    const request = requestFor(change, names);
    if (fact.kind === "link") this.#space(fact.where).forget(fact.name);
    const settings = change.op === "put" && fact.kind === "port" ? portSettings(fact) : undefined;
    return settings === undefined ? [request] : [request, settings];
  }

  #applyFile(change: Change & { readonly fact: Fact }): void {
    const { fact, op } = change;
    const space = this.#space(fact.where);
    if (fact.kind === "sysctl") {
      try {
        space.enter(() => writeSysctl(fact.key, fact.value));
      } catch (e) {
        if (!fact.optional) throw e;
      }
    } else if (fact.kind === "rules") {
      this.#applyRules(space, op === "delete" ? { ...fact, text: "" } : fact);
    } else if (fact.kind === "chain") {
      const had = change.op === "put" && change.had?.kind === "chain" ? change.had.text : "";
      const want = op === "delete" ? { ...fact, text: "" } : fact;
      const input = chainInput(want, op === "delete" ? fact.text : had);
      space.enter(() => restoreTable(fact.family, input));
    }
  }

  #applyRules(space: Namespace, fact: RulesFact): void {
    space.enter(() => {
      replaceTable(fact.table, fact.text);
      const listing = fact.text === "" ? "" : listTable(fact.table);
      // Other words for the same rules have as many lines; fewer or more are another's deed.
      if (lineCount(listing) !== lineCount(fact.text)) return;
      this.#listed.set(`${fact.where} ${fact.table}`, { text: fact.text, listing });
    });
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

/** Each table of iptables is saved once, however many of its chains are asked for. */
function chainFacts(space: Namespace, where: Where, chains: Scope["chains"] = []): Fact[] {
  const saved = new Map<string, string>();
  return chains.map((chain) => {
    const { family, table } = chain;
    const key = `${family} ${table}`;
    const text = saved.get(key) ?? space.enter(() => saveTable(family, table));
    saved.set(key, text);
    return { kind: "chain", where, ...chain, text: chainText(text, chain) };
  });
}

type FileFact = Extract<Fact, { readonly kind: "sysctl" | "rules" | "chain" }>;

/** Facts that are no netlink messages of ours. */
function isFile(fact: Fact): fact is FileFact {
  return fact.kind === "sysctl" || fact.kind === "rules" || fact.kind === "chain";
}

/** The links whose indexes a fact's message has in it. */
function linksOf(fact: LinkLevelFact): readonly string[] {
  switch (fact.kind) {
    case "link":
      return fact.driver.kind === "vxlan" && fact.driver.underlay !== undefined
        ? [fact.driver.underlay]
        : [];
    case "port":
      return [fact.bridge];
    case "up":
      return [];
    case "route":
      return fact.dev === undefined ? [] : [fact.dev];
    case "vlan":
    case "address":
    case "neighbour":
    case "fdb":
      return [fact.dev];
  }
}

/** What becomes of a change when the step is taken, or cannot be. */
function attempt(change: Change, step: () => void): Outcome {
  try {
    step();
    return { change };
  } catch (e) {
    if (!(e instanceof OpError)) throw e;
    return isDone(change, e.errno ?? 0) ? { change } : { change, error: e };
  }
}

function lineCount(text: string): number {
  return text.split("\n").length;
}

function deed(change: Change): string {
  return `${change.op === "delete" ? "delete" : "set"} ${change.fact.kind}`;
}

/** Errors of a deletion that say "it is already gone". */
const GONE: readonly number[] = [
  Errno.ENOENT,
  Errno.ESRCH,
  Errno.ENODEV,
  Errno.EADDRNOTAVAIL,
];

/** An error that says that the kernel is already as wanted. */
function isDone({ op, fact }: Change, errno: number): boolean {
  if (op === "delete") return GONE.includes(errno);
  // It answers "exists" for an address or route only when it holds the very same one.
  return errno === Errno.EEXIST && (fact.kind === "address" || fact.kind === "route");
}

function outcome(change: Change, refused: Answer | undefined): Outcome {
  if (refused === undefined || isDone(change, refused.errno)) return { change };
  const { fact } = change;
  const error = new OpError(deed(change), describe(fact), {
    code: ErrorCode.kernel,
    errno: refused.errno,
    kernel: refused.words ?? errnoText(refused.errno),
    advice: fact.kind === "link" && refused.errno === Errno.EOPNOTSUPP
      ? `This kernel has no driver for such links: modprobe ${fact.driver.kind}, or another backend`
      : undefined,
  });
  return { change, error };
}
