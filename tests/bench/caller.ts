/**
 * The program that starts plugins and takes the time (caller.c).
 *
 * @module
 */

import assert from "node:assert/strict";
import { run } from "../kernel/plugins.ts";

/** One process of a chain. */
export interface Step {
  readonly program: string;
  /** File. */
  readonly stdin: string;
  /** File: a variable a line. */
  readonly env: string;
}

/** What a job took. */
export interface Took {
  /** Until the last chain was done, ms. */
  readonly total: number;
  /** Until each chain was done, ms. */
  readonly each: readonly number[];
  /** Largest sum of the resident memory of all its processes, KiB; 0 when nobody looked. */
  readonly peak: number;
}

/** See the module. */
export class Caller {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;

  /** @param dir where it is compiled to. */
  constructor(dir: string) {
    const source = new URL("caller.c", import.meta.url).pathname;
    run("gcc", "-O2", "-Wall", "-Wextra", "-pthread", "-o", `${dir}/caller`, source);
    this.#child = new Deno.Command(`${dir}/caller`, { stdin: "piped", stdout: "piped" }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /**
   * Runs chains of equal length at once.
   *
   * @param look whether memory is looked at, which costs time.
   */
  async run(chains: readonly (readonly Step[])[], look = false): Promise<Took> {
    const steps = chains.flat().map(({ program, stdin, env }) => `${program} ${stdin} ${env}\n`);
    const job = `${chains.length} ${chains[0]?.length ?? 0} ${look ? 1 : 0}\n${steps.join("")}`;
    await this.#writer.write(new TextEncoder().encode(job));
    const { value } = await this.#lines.next();
    const [total = 0, failed = 0, peak = 0, ...each] = String(value).split(" ").map(Number);
    assert.equal(failed, 0, `${failed} of ${steps.length} calls failed: ${steps[0]}`);
    return { total: total / 1000, each: each.map((us) => us / 1000), peak };
  }

  async close(): Promise<void> {
    await this.#writer.close();
    await this.#child.status;
    await this.#lines.return?.();
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}
