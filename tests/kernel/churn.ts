/**
 * A long random life of a node: pods come and go on two networks with few addresses, several at
 * once, while delegates fail, plugins are killed in the middle of their work, namespaces vanish,
 * and the runtime collects garbage. What is asked of the plugins is what a runtime may ask, and it
 * keeps a runtime's promises: a call that failed is followed by a DEL, at once or later, and no ADD
 * or DEL runs beside a GC.
 *
 * During the run no address may be held twice and none may be lost; after a DEL for everything that
 * the runtime knows, nothing may be left.
 *
 * @module
 */

import assert from "node:assert/strict";
import { BridgeNode, type Json, type Shown } from "./bridge_rows.ts";
import { type ChainPlugin, type Network, NETWORKS, prepareNetworks } from "./churn_networks.ts";
import { Dice } from "./dice.ts";
import {
  type Attachment,
  heldOnce,
  noneLost,
  noneStray,
  nothingLeft,
  slotName,
} from "./churn_checks.ts";
import type { Reply } from "./plugins.ts";
import { ended, killWhole } from "./processes.ts";

/** How long and how the run goes. */
export interface ChurnOptions {
  /** The same seed makes the same choices; what meets what in time is up to the machine. */
  readonly seed: number;
  /** How many plugin calls, at least. */
  readonly calls: number;
}

/** What happened, by name: `ADD`, `ADD killed`, … */
export type Counts = Readonly<Record<string, number>>;

/** Pods that exist at most; more than there are addresses. */
const SLOTS = 16;
/** Calls that run at the same time. */
const WORKERS = 3;
/** A plugin call takes about this long, ms: kills come within. */
const CALL_TIME = 90;

/** What goes wrong with a call. */
interface Mishap {
  readonly flaky?: "before" | "after" | "garbage";
  /** Milliseconds after the start of the call. */
  readonly killAfter?: number;
}

/** Runs it. Throws when something is not as it must be; returns what happened. */
export async function churn(options: ChurnOptions): Promise<Counts> {
  using run = new Churn(options);
  try {
    await run.baseline();
    await run.play();
    await run.cleanUp();
    await run.end();
    return run.counts;
  } catch (error) {
    throw run.explained(error);
  }
}

class Churn implements Disposable {
  readonly counts: Record<string, number> = {};
  /** The calls for each pod, in words. */
  readonly #history = new Map<string, string[]>();
  readonly #node = new BridgeNode();
  readonly #dice: Dice;
  readonly #target: number;
  readonly #attachments = new Map<number, Attachment>();
  #calls = 0;
  #next = 0;
  #rules = "";
  #running = 0;
  #collecting = false;

  constructor({ seed, calls }: ChurnOptions) {
    this.#dice = new Dice(seed);
    this.#target = calls;
    prepareNetworks(this.#node);
  }

  /** What a clean ADD and DEL leave is what may be there in the end: bridges, empty chains. */
  async baseline(): Promise<void> {
    for (const network of NETWORKS) {
      const one = this.#create(0, network, "host-local");
      await this.#attach(one, {});
      assert.equal(one.state, "attached");
      await this.#detach(one, {});
      assert.equal(this.#attachments.size, 0);
    }
    this.#rules = this.#node.sh("nft -s list ruleset");
  }

  async play(): Promise<void> {
    await Promise.all(Array.from({ length: WORKERS }, async () => {
      while (this.#calls < this.#target) {
        if (this.#collecting) await pause(5);
        else if (this.#dice.chance(0.02)) await this.#collect();
        else {
          this.#running++;
          try {
            await this.#act();
          } finally {
            this.#running--;
          }
        }
      }
    }));
  }

  /** One random deed to one random pod. */
  async #act(): Promise<void> {
    const slot = this.#dice.below(SLOTS);
    const there = this.#attachments.get(slot);
    if (there?.busy) return await pause(2);
    if (there === undefined) {
      const ipam = this.#dice.chance(0.4) ? "ipam-flaky" : "host-local";
      const created = this.#create(slot, this.#dice.of(NETWORKS), ipam);
      if (this.#dice.chance(0.04)) return await this.#detach(created, {});
      return await this.#attach(created, this.#mishap(created));
    }
    if (there.state === "dirty") {
      // Most runtimes clean up at once; some come back much later.
      return this.#dice.chance(0.5) ? await this.#detach(there, this.#mishap(there)) : undefined;
    }
    if (this.#dice.chance(0.3)) return await this.#check(there);
    if (this.#dice.chance(0.1)) return await this.#attachTwice(there);
    if (this.#dice.chance(0.15)) this.#lose(there);
    await this.#detach(there, this.#mishap(there));
  }

  #create(slot: number, network: Network, ipam: string): Attachment {
    const id = `pod${this.#next++}`;
    const created: Attachment = {
      id,
      slot,
      network,
      ipam,
      state: "dirty",
      addresses: [],
      busy: true,
    };
    this.#attachments.set(slot, created);
    return created;
  }

  #mishap({ ipam }: Attachment): Mishap {
    if (this.#dice.chance(0.2)) return { killAfter: this.#dice.below(CALL_TIME) };
    if (ipam !== "ipam-flaky" || !this.#dice.chance(0.4)) return {};
    return { flaky: this.#dice.of(["before", "after", "garbage"] as const) };
  }

  async #attach(one: Attachment, mishap: Mishap): Promise<void> {
    one.busy = true;
    let result: Json | undefined;
    // The chain ends at the first failure, and so does the mishap, which meets one of its calls.
    const unlucky = this.#dice.below(one.network.plugins.length);
    for (const [n, plugin] of one.network.plugins.entries()) {
      const luck = n === unlucky || mishap.flaky !== undefined ? mishap : {};
      const { reply, killed } = await this.#call("ADD", one, plugin, luck, result);
      if (reply.status !== 0) {
        this.#expectFailure("ADD", reply, killed, luck, /no IP addresses available/);
        one.busy = false;
        return;
      }
      result = JSON.parse(reply.stdout) as Json;
    }
    one.result = result!;
    one.addresses = (result as Shown).ips.map((ip: Shown) => ip.address.split("/")[0]);
    one.state = "attached";
    heldOnce(one, this.#attachments.values());
    one.busy = false;
  }

  /** A duplicate is refused and changes nothing. */
  async #attachTwice(one: Attachment): Promise<void> {
    one.busy = true;
    const { reply } = await this.#call("ADD", one, one.network.plugins[0]!, {}, undefined);
    assert.equal(reply.status, 1, reply.stdout);
    assert.match(JSON.parse(reply.stdout).msg, /already exists/);
    await this.#check(one);
  }

  async #check(one: Attachment): Promise<void> {
    one.busy = true;
    for (const plugin of one.network.plugins) {
      const { reply } = await this.#call("CHECK", one, plugin, {}, one.result);
      assert.equal(reply.status, 0, `CHECK ${plugin.type} of ${one.id}: ${reply.stdout}`);
    }
    one.busy = false;
  }

  async #detach(one: Attachment, mishap: Mishap): Promise<void> {
    one.busy = true;
    one.state = "dirty";
    const unlucky = this.#dice.below(one.network.plugins.length);
    for (const [n, plugin] of [...one.network.plugins.entries()].toReversed()) {
      const luck = n === unlucky || mishap.flaky !== undefined ? mishap : {};
      const { reply, killed } = await this.#call("DEL", one, plugin, luck, one.result);
      if (reply.status !== 0) {
        this.#expectFailure("DEL", reply, killed, luck);
        one.busy = false;
        return;
      }
    }
    this.#attachments.delete(one.slot);
    if (one.lost) this.#node.revive(slotName(one.slot));
  }

  /** The node forgets a pod, as after a restart. */
  #lose(one: Attachment): void {
    one.lost = true;
    this.#node.lose(slotName(one.slot));
    this.#count("namespace lost");
  }

  /** GC of all networks, alone; some of those that failed count as gone. */
  async #collect(): Promise<void> {
    if (this.#collecting) return;
    this.#collecting = true;
    while (this.#running > 0) await pause(2);
    await noneStray(this.#node, [...this.#attachments.values()]); // before GC would sweep it under the carpet
    for (const network of NETWORKS) {
      const all = [...this.#attachments.values()].filter((one) => one.network === network);
      for (const one of all) {
        if (one.state !== "dirty" || !this.#dice.chance(0.5)) continue;
        one.condemned = true;
        if (!one.lost) this.#lose(one);
      }
      const valid = all.filter((one) => !one.condemned)
        .map(({ id }) => ({ containerID: id, ifname: "eth0" }));
      for (const plugin of network.plugins) {
        const config = {
          ...plugin.config(this.#node, "host-local", 0),
          "cni.dev/valid-attachments": valid,
        };
        const env = { CNI_COMMAND: "GC", CNI_PATH: this.#node.cniPath };
        const reply = await this.#node.call({ plugin: plugin.type, env, config });
        this.#count("GC");
        assert.equal(reply.status, 0, `GC ${plugin.type}: ${reply.stdout}`);
      }
    }
    noneLost(this.#node, [...this.#attachments.values()]);
    this.#collecting = false;
  }

  async #call(
    command: string,
    one: Attachment,
    plugin: ChainPlugin,
    { flaky, killAfter }: Mishap,
    prevResult: Json | undefined,
  ): Promise<{ readonly reply: Reply; readonly killed: boolean }> {
    this.#calls++;
    const netns = one.lost && this.#dice.chance(0.5) ? "" : this.#node.podOf(slotName(one.slot));
    const child = this.#node.start({
      plugin: plugin.type,
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: one.id,
        CNI_NETNS: netns,
        CNI_PATH: this.#node.cniPath,
        FLAKY: flaky,
      },
      config: {
        ...plugin.config(this.#node, one.ipam, one.slot),
        ...(prevResult === undefined ? {} : { prevResult }),
      },
    });
    let orphans: readonly number[] = [];
    const timer = killAfter === undefined
      ? undefined
      : setTimeout(() => orphans = killWhole(child), killAfter);
    const { code, signal, stdout, stderr } = await child.output();
    clearTimeout(timer);
    // Programs that it had started go on without it; the runtime's next call comes later.
    await ended(orphans);
    const [out = "", err = ""] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    const killed = signal === "SIGKILL";
    const mood = killed ? `, killed after ${killAfter} ms` : flaky ? `, IPAM fails ${flaky}` : "";
    const netnsNow = netns === "" ? ", no CNI_NETNS" : one.lost ? ", namespace gone" : "";
    this.#note(one.id, `${command} ${plugin.type} by ${one.ipam}${mood}${netnsNow}: ${code}${err}`);
    this.#count(killed ? `${command} killed` : flaky ? `${command} with ${flaky}` : command);
    return { reply: { status: code, stdout: out, stderr: err }, killed };
  }

  /** A failure has a cause of ours, and says so in an error object. */
  #expectFailure(
    command: string,
    reply: Reply,
    killed: boolean,
    { flaky }: Mishap,
    allowed?: RegExp,
  ): void {
    if (killed) return;
    const { code, msg } = JSON.parse(reply.stdout);
    assert.ok(code > 0 && msg !== "", reply.stdout);
    if (allowed?.test(msg)) this.#count(`${command} refused, pool full`);
    else assert.ok(flaky, `${command} failed for no reason: ${reply.stdout}${reply.stderr}`);
  }

  /** The runtime stops: DEL for everything it knows. */
  async cleanUp(): Promise<void> {
    for (const one of [...this.#attachments.values()]) await this.#detach(one, {});
    assert.equal(this.#attachments.size, 0);
  }

  /** Nothing may be left then. */
  async end(): Promise<void> {
    await nothingLeft(this.#node, this.#rules, SLOTS);
  }

  #note(id: string, words: string): void {
    const time = new Date().toISOString().slice(14, 23);
    this.#history.set(id, [...this.#history.get(id) ?? [], `${time} ${id}: ${words}`]);
  }

  /** The error, with what was done to the pods that it names. */
  explained(error: unknown): unknown {
    if (!(error instanceof Error)) return error;
    const ids = new Set(error.message.match(/\bpod\d+\b/g) ?? []);
    error.message += [...ids].flatMap((id) => this.#history.get(id) ?? []).map((l) => `\n${l}`)
      .join("");
    return error;
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }

  [Symbol.dispose](): void {
    this.#node[Symbol.dispose]();
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
