/**
 * A ping that goes on for the whole run, and what it lost while something happened.
 *
 * @module
 */

import { until } from "../command.ts";
import type { Service } from "../service.ts";
import type { Command, Space } from "../space.ts";

/** Milliseconds between two packets, unless told otherwise: what an outage is measured in. */
const INTERVAL = 10;

/** A running ping. */
export class Pinger implements AsyncDisposable {
  readonly #service: Service;
  readonly #interval: number;
  #read = 0;
  /** The newest answer, counted over all the times that ping's 16 bits have run over. */
  #newest = 0;
  #answers = 0;

  private constructor(service: Service, interval: number) {
    this.#service = service;
    this.#interval = interval;
  }

  /**
   * Starts, and waits for the first answers.
   *
   * @param inside what comes before the word `ping`: how to enter a pod.
   * @param interval milliseconds between two packets
   */
  static async start(
    space: Space,
    inside: readonly string[],
    target: string,
    interval = INTERVAL,
  ): Promise<Pinger> {
    const seconds = String(interval / 1000);
    const command = [...inside, "ping", "-n", "-i", seconds, target] as unknown as Command;
    const pinger = new Pinger(await space.start("ping", command), interval);
    try {
      await pinger.lost();
      return pinger;
    } catch (e) {
      await pinger[Symbol.asyncDispose]();
      throw e;
    }
  }

  /**
   * Milliseconds without an answer since the last call: packets sent until now and not answered.
   * Waits for answers to packets that were sent after the call.
   */
  async lost(): Promise<number> {
    const [newest, answers] = [this.#newest, this.#answers];
    this.#take();
    const after = this.#newest;
    await until("the ping is answered", () => {
      this.#take();
      return this.#newest >= after + 3;
    }, { every: this.#interval, explain: () => this.#service.tail(5) });
    return (this.#newest - newest - (this.#answers - answers)) * this.#interval;
  }

  #take(): void {
    using file = Deno.openSync(this.#service.log);
    file.seekSync(this.#read, Deno.SeekMode.Start);
    const bytes = new Uint8Array(1 << 20);
    const text = new TextDecoder().decode(bytes.subarray(0, file.readSync(bytes) ?? 0));
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    this.#read += new TextEncoder().encode(whole).length;
    for (const [, number] of whole.matchAll(/bytes from .* icmp_seq=(\d+)/g)) {
      let sequence = Number(number) + (this.#newest & ~0xffff);
      if (sequence < this.#newest - 0x8000) sequence += 0x10000;
      this.#answers++;
      this.#newest = Math.max(this.#newest, sequence);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#service.stop("SIGKILL");
  }
}
