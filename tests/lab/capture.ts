/**
 * Packets on one interface, as tcpdump sees them.
 *
 * @module
 */

import { quote, signal, until } from "./command.ts";
import type { Command, Space } from "./space.ts";

/** A finished capture. */
export interface Captured {
  /** One line per packet. */
  readonly lines: readonly string[];
  /** Packets that the kernel handed over: none were missed when this is the number of lines. */
  readonly received: number;
}

/** A running tcpdump. */
export class Capture implements AsyncDisposable {
  readonly command: Command;
  readonly #child: Deno.ChildProcess;
  readonly #read: Promise<unknown>;
  #stdout = "";
  #stderr = "";

  private constructor(command: Command, child: Deno.ChildProcess) {
    this.command = command;
    this.#child = child;
    this.#read = Promise.all([
      collect(child.stdout, (text) => this.#stdout += text),
      collect(child.stderr, (text) => this.#stderr += text),
      child.status,
    ]);
  }

  /** Starts; when this returns, no packet is missed any more. */
  static async start(space: Space, device: string, ...filter: string[]): Promise<Capture> {
    // 8472 means an older protocol to tcpdump, unless it is told.
    const kind = filter.includes("8472") ? ["-T", "vxlan"] : [];
    const command: Command = ["tcpdump", "-nti", device, ...kind, ...filter];
    // Line by line and at once, where a person at a terminal would not have to ask for it.
    const [program, ...args] = space.inside([...command, "-l", "--immediate-mode"]);
    const options = { args, stdin: "null", stdout: "piped", stderr: "piped" } as const;
    const capture = new Capture(command, new Deno.Command(program, options).spawn());
    try {
      await capture.#wait("listens", () => capture.#stderr.includes("listening on"));
    } catch (e) {
      await capture[Symbol.asyncDispose]();
      throw e;
    }
    return capture;
  }

  /** The lines so far. */
  get lines(): readonly string[] {
    // tcpdump puts what is inside a tunnel on a line of its own.
    const packets = this.#stdout.replaceAll(/(vni \d+)\n/g, "$1: ");
    return packets.split("\n").filter((line) => line !== "");
  }

  /** Waits for a line. */
  async sees(pattern: RegExp): Promise<string> {
    return await this.#wait(
      `sees ${pattern}`,
      () => this.lines.find((line) => pattern.test(line)),
    );
  }

  /** Ends the capture. */
  async stop(): Promise<Captured> {
    signal(this.#child.pid, "SIGTERM");
    await this.#read;
    const received = /^(\d+) packets? received by filter/m.exec(this.#stderr)?.[1];
    if (received === undefined) throw new Error(`${quote(this.command)}:\n${this.#stderr}`);
    return { lines: this.lines, received: Number(received) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    signal(this.#child.pid, "SIGKILL");
    await this.#read;
  }

  #wait<T>(what: string, probe: () => T | undefined | false): Promise<T> {
    const explain = (): string => `${this.#stderr}${this.#stdout}`;
    return until(`${quote(this.command)} ${what}`, probe, { every: 5, explain });
  }
}

async function collect(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  add: (text: string) => void,
): Promise<void> {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) add(text);
}
