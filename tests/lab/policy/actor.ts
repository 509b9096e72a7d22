/**
 * An agent in a pod or on a node, told what to try.
 *
 * @module
 */

import type { Command } from "../space.ts";
import type { Done, HttpTask, StreamTask, Tally, Task, TellTask } from "./agent.ts";

const AGENT = new URL("./agent.ts", import.meta.url).pathname;
/** Ports that every agent serves. */
const PORTS = [80, 81] as const;
/** How long a packet that must arrive may take, and one that must not is waited for; ms. */
const PATIENCE = { surely: 5_000, soon: 1_000, never: 300 } as const;

type Question = Omit<Task, "id" | "patience">;

/** Whether an answer is wanted: by all means; but one may be early, and tries again; or not. */
export type Wish = keyof typeof PATIENCE;

/** Where commands can be run. */
export interface Enterable {
  /** The command that does in this place what `command` does here. */
  inside(command: Command): Command;
}

/** A place with an agent in it. */
export class Actor<P extends Enterable = Enterable> implements AsyncDisposable {
  readonly space: P;
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #waiting = new Map<number, (done: Done) => void>();
  readonly #reading: Promise<void>;
  #count = 0;

  private constructor(space: P, child: Deno.ChildProcess, ready: () => void) {
    this.space = space;
    this.#child = child;
    this.#writer = child.stdin.getWriter();
    this.#reading = this.#read(ready);
  }

  /** Starts an agent in a place. */
  static async start<P extends Enterable>(space: P): Promise<Actor<P>> {
    const [program, ...args] = space.inside([
      Deno.execPath(),
      "run",
      "-A",
      "--no-lock",
      "--no-check",
      "--quiet",
      "--unstable-net",
      AGENT,
      ...PORTS.map(String),
    ]);
    const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped" }).spawn();
    const { promise, resolve } = Promise.withResolvers<void>();
    const actor = new Actor(space, child, resolve);
    await Promise.race([promise, actor.#reading]);
    return actor;
  }

  async #read(ready: () => void): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const parts = `${rest}${text}`.split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        const done: Done | "ready" = JSON.parse(part);
        if (done === "ready") ready();
        else this.#waiting.get(done.id)?.(done);
      }
    }
  }

  /** Does it; an answer is waited for as long as it takes one that is wanted, or not. */
  async ask(question: Question, wanted: Wish | boolean = true): Promise<boolean> {
    const wish = wanted === true ? "surely" : wanted === false ? "never" : wanted;
    return (await this.#send({ ...question, patience: PATIENCE[wish] })).ok;
  }

  /** Sends an HTTP request from here. */
  async http(
    request: Omit<HttpTask, "id" | "deed">,
  ): Promise<{ readonly ok: boolean; readonly text: string }> {
    const { ok, text = "" } = await this.#send({ ...request, deed: "http" });
    return { ok, text };
  }

  /** Starts a stream of datagrams. */
  async stream(task: Omit<StreamTask, "id" | "deed">): Promise<void> {
    await this.#send({ ...task, deed: "stream" });
  }

  /** Ends a stream and tells what became of it. */
  async count(name: string): Promise<Tally> {
    return JSON.parse((await this.#send({ deed: "count", name })).text ?? "");
  }

  /** How often each address has asked here. */
  async heard(): Promise<Readonly<Record<string, number>>> {
    return JSON.parse((await this.#send({ deed: "heard" })).text ?? "");
  }

  async #send(
    task: Omit<Task, "id"> | Omit<HttpTask, "id"> | Omit<StreamTask, "id"> | Omit<TellTask, "id">,
  ): Promise<Done> {
    const id = ++this.#count;
    const { promise, resolve } = Promise.withResolvers<Done>();
    this.#waiting.set(id, resolve);
    await this.#writer.write(new TextEncoder().encode(`${JSON.stringify({ ...task, id })}\n`));
    const done = await promise;
    this.#waiting.delete(id);
    return done;
  }

  /** Tries one connection. */
  reaches(
    ip: string,
    port: number,
    wanted: boolean,
    protocol: "TCP" | "UDP" = "TCP",
  ): Promise<boolean> {
    return this.ask({ deed: "try", protocol, ip, port }, wanted);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close();
    await this.#reading;
    await this.#child.status;
  }
}
