/**
 * Runs the commands of the extension backend, one at a time: before the lease, once when there is
 * one, for each peer that comes or goes, and at the end. What fails is told and tried again; the
 * peers of now count, so that nothing is tried for one that has gone meanwhile.
 *
 * @module
 */

import type { Published, Self } from "../engine/backend/backend.ts";
import {
  type CommandEnv,
  type CommandName,
  extensionOptions,
  extensionPeers,
  ownEnv,
  peerEnv,
  peerInput,
  type Step,
  steps,
  wordsOf,
} from "../engine/backend/extension.ts";
import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { type Lease, leaseKey } from "../engine/lease.ts";
import type { NetConf } from "../engine/net_conf.ts";
import type { Attendant, Troubles } from "./attendant.ts";
import type { Log } from "./log.ts";
import { Backoff, sleep } from "./wait.ts";

/** A command that takes longer is killed; milliseconds. */
const PATIENCE = 60_000;
/** Milliseconds until a failed command is tried again: at first, and at most. */
const RETRY = { first: 1000, cap: 60_000 } as const;

/** See the module. */
export class Extension implements Attendant {
  readonly #conf: NetConf;
  readonly #log: Log;
  readonly #changed: () => void;
  readonly #end = new AbortController();
  /** Ends the wait for another try. */
  #wake = new AbortController();
  #self: Self | undefined;
  #peers: readonly Lease[] = [];
  /** The peers for which the add command has worked. */
  #done: Lease[] = [];
  /** What the post command was told when it worked. */
  #posted: string | undefined;
  #working: Promise<void> | undefined;
  /** What fails now: of this node, and of peers by their subnets. */
  #own: string | undefined;
  readonly #failing = new Map<string, string>();

  /** @param changed called when the troubles may be others. */
  constructor(conf: NetConf, log: Log, changed: () => void) {
    this.#conf = conf;
    this.#log = log;
    this.#changed = changed;
  }

  /** What the pre-startup command prints is what peers are told. */
  async begin(signal: AbortSignal): Promise<Published> {
    const retry = new Backoff(RETRY.first, RETRY.cap);
    for (;;) {
      try {
        const data = await this.#run("PreStartupCommand", {}, "\n");
        this.#own = undefined;
        return { 4: data };
      } catch (e) {
        this.#own = this.#tell(e);
      }
      await sleep(retry.next(), signal);
    }
  }

  follow(self: Self, peers: readonly Lease[]): void {
    const before = JSON.stringify(steps(this.#done, this.#peers));
    this.#self = self;
    this.#peers = extensionPeers(peers);
    // What comes new does not wait for another try of what fails.
    if (before !== JSON.stringify(steps(this.#done, this.#peers))) this.#wake.abort();
    this.#working ??= this.#work().finally(() => this.#working = undefined);
  }

  /** Until nothing is left to do; starts again with each change of the peers. */
  async #work(): Promise<void> {
    const retry = new Backoff(RETRY.first, RETRY.cap);
    const { signal } = this.#end;
    while (!signal.aborted) {
      const before = JSON.stringify(this.troubles());
      this.#wake = new AbortController();
      const left = await this.#round();
      if (before !== JSON.stringify(this.troubles())) this.#changed();
      if (!left) return;
      await sleep(retry.next(), AbortSignal.any([signal, this.#wake.signal])).catch(() => {});
    }
  }

  /** Everything once. @returns true when something failed */
  async #round(): Promise<boolean> {
    if (!await this.#post()) return true;
    const tried = new Set<string>();
    for (;;) {
      // Asked anew each time: the newest snapshot counts.
      const open = steps(this.#done, this.#peers);
      const present = new Set(open.map(({ peer }) => leaseKey(peer)));
      for (const who of this.#failing.keys()) if (!present.has(who)) this.#failing.delete(who);
      const step = open.find((one) => !tried.has(keyOf(one)));
      if (step === undefined || this.#end.signal.aborted) return open.length > 0;
      tried.add(keyOf(step));
      await this.#step(step);
    }
  }

  /** Returns true when this node's own command has worked for what is so now. */
  async #post(): Promise<boolean> {
    if (this.#self === undefined) return false;
    const env = ownEnv(this.#conf, this.#self);
    const told = JSON.stringify(env);
    if (told === this.#posted) return true;
    try {
      await this.#run("PostStartupCommand", env, "");
      [this.#posted, this.#own] = [told, undefined];
      return true;
    } catch (e) {
      this.#own = this.#tell(e);
      return false;
    }
  }

  async #step({ command, peer }: Step): Promise<void> {
    const who = leaseKey(peer);
    try {
      await this.#run(command, peerEnv(peer), peerInput(peer));
      if (command === "SubnetAddCommand") this.#done.push(peer);
      else this.#done = this.#done.filter((one) => one !== peer);
      this.#failing.delete(who);
    } catch (e) {
      this.#failing.set(who, this.#tell(e));
    }
  }

  #tell(e: unknown): string {
    const words = messageOf(e);
    const known = words === this.#own || [...this.#failing.values()].includes(words);
    if (!known) this.#log.error(words, { advice: e instanceof OpError ? e.advice : undefined });
    return words;
  }

  /** What was printed, without the last line's end. @throws {OpError} when the command fails */
  async #run(name: CommandName, env: CommandEnv, input: string): Promise<string> {
    const line = extensionOptions(this.#conf)[name];
    if (line === undefined) return "";
    const [program, ...args] = wordsOf(line, { ...Deno.env.toObject(), ...env });
    const object = `Backend.${name}`;
    if (program === undefined) return "";
    const late = AbortSignal.timeout(PATIENCE);
    const output = await outputOf(program, args, { env, signal: late }, input).catch((cause) => {
      const kernel = messageOf(cause);
      const advice = "Check the program's path and that it may be executed";
      throw new OpError("run", object, { code: ErrorCode.badConfig, kernel, advice, cause });
    });
    const printed = [output.stdout, output.stderr]
      .map((bytes) => new TextDecoder().decode(bytes)).join("").trim();
    const about = env["SUBNET"];
    if (output.success) {
      this.#log.info(`Ran ${object}`, { subnet: about, output: printed || undefined });
      return printed;
    }
    const reason = late.aborted
      ? `not done after ${PATIENCE / 1000} s`
      : `exit status ${output.code}`;
    throw new OpError("run", about === undefined ? object : `${object} for ${about}`, {
      code: ErrorCode.badConfig,
      kernel: printed === "" ? reason : `${reason}: ${printed.slice(-500)}`,
      advice: "Repair the command; it is tried again by itself",
    });
  }

  troubles(): Troubles {
    const waiting =
      this.#own === undefined && this.#posted === undefined && this.#self !== undefined
        ? ["waiting for Backend.PostStartupCommand"]
        : [];
    return {
      reasons: this.#own === undefined ? waiting : [this.#own],
      remarks: [...this.#failing].map(([who, reason]) => `peer ${who} is not reached: ${reason}`),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort(new Error("the daemon ends"));
    await this.#working;
    if (this.#self === undefined) return;
    const env = ownEnv(this.#conf, this.#self);
    await this.#run("ShutdownCommand", env, "").catch((e) => this.#log.error(messageOf(e)));
  }
}

function keyOf({ command, peer }: Step): string {
  return `${command} ${leaseKey(peer)}`;
}

/** Runs a program to its end. A program need not read its input. */
async function outputOf(
  program: string,
  args: readonly string[],
  options: { readonly env: CommandEnv; readonly signal: AbortSignal },
  input: string,
): Promise<Deno.CommandOutput> {
  const piped = "piped";
  const child = new Deno.Command(program, {
    args: [...args],
    ...options,
    stdin: piped,
    stdout: piped,
    stderr: piped,
  }).spawn();
  const writer = child.stdin.getWriter();
  const fed = writer.write(new TextEncoder().encode(input)).then(() => writer.close())
    .catch((e) => {
      if (!(e instanceof Deno.errors.BrokenPipe)) throw e;
    });
  const [output] = await Promise.all([child.output(), fed]);
  return output;
}
