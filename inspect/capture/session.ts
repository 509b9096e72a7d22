/**
 * The running capture: sockets, the loop that empties their rings, the end.
 *
 * @module
 */

import { messageOf } from "../../engine/errors.ts";
import { Errno } from "../../ffi/errno.ts";
import { within } from "../../ffi/netns.ts";
import { type PacketCounts, PacketSocket, RETIRE_MS } from "../../ffi/packet.ts";
import { OpError } from "../../engine/errors.ts";
import { decode } from "../../engine/packet/decode.ts";
import type { Clock } from "./clock.ts";
import type { Pipeline } from "./pipeline.ts";
import { stageOf, type Tap } from "./taps.ts";

/** Memory for the frames of an interface that all pods share; bytes. */
const SHARED_RING = 16 << 20;
/** Memory for the frames of all pods' interfaces; bytes. */
const PODS_RINGS = 64 << 20;
/** Least and most for one of them. */
const POD_RING = { least: 512 << 10, most: 8 << 20 } as const;

/** Sockets on all interfaces that could be opened. */
export class Sockets implements AsyncDisposable {
  /** What is captured on; numbers of sightings count these. */
  readonly taps: readonly Tap[];
  /** Pods that went away before their interface could be opened. */
  readonly missed: readonly string[];
  readonly #sockets: readonly PacketSocket[];

  private constructor(
    opened: readonly (readonly [Tap, PacketSocket])[],
    missed: readonly string[],
  ) {
    this.taps = opened.map(([tap]) => tap);
    this.#sockets = opened.map(([, socket]) => socket);
    this.missed = missed;
  }

  /**
   * Opens a socket on each interface.
   *
   * @throws {OpError} when there is no right to, or an interface of the node cannot be opened.
   */
  static async open(wanted: readonly Tap[], snapLength: number): Promise<Sockets> {
    await using undo = new AsyncDisposableStack();
    const pods = wanted.filter(({ pod }) => pod !== undefined).length;
    const share = Math.min(POD_RING.most, Math.max(POD_RING.least, PODS_RINGS / pods));
    const missed: string[] = [];
    // A pod may go at any time; without the right to look, no interface would do.
    const miss = (tap: Tap, e: unknown): [] => {
      if (!(e instanceof OpError) || tap.pod === undefined || e.errno === Errno.EPERM) throw e;
      missed.push(messageOf(e));
      return [];
    };
    const sockets = wanted.flatMap((tap): [Tap, PacketSocket][] => {
      const { name, index, netns } = tap;
      const ring = tap.pod === undefined ? SHARED_RING : share;
      const make = (): PacketSocket => new PacketSocket({ name, index, snapLength, ring });
      try {
        return [[tap, undo.use(netns === undefined ? make() : within(netns, make))]];
      } catch (e) {
        return miss(tap, e);
      }
    });
    const started = await Promise.allSettled(sockets.map(([, socket]) => socket.start()));
    const opened = sockets.flatMap((one, i) => {
      const outcome = started[i]!;
      return outcome.status === "fulfilled" ? [one] : miss(one[0], outcome.reason);
    });
    undo.move();
    return new Sockets(opened, missed);
  }

  /** Hands over all frames that are there. @returns how many */
  drain(clock: Clock, ports: ReadonlySet<number>, pipeline: Pipeline): number {
    let count = 0;
    for (const [tap, socket] of this.#sockets.entries()) {
      const of = this.taps[tap]!;
      count += socket.drain(({ bytes, length, sec, nsec, out, openChecksum }) => {
        const packet = decode(bytes, ports, of.link);
        const at = clock.at(sec, nsec);
        pipeline.add({ tap, out, stage: stageOf(of, out), at, packet, length, openChecksum });
      });
    }
    return count;
  }

  /** What each interface counted. */
  counts(): PacketCounts[] {
    return this.#sockets.map((socket) => socket.counts());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#sockets.map((socket) => socket[Symbol.asyncDispose]()));
  }
}

/** What makes a capture end: an interrupt, the time, or a packet that was the last one wanted. */
export class End implements Disposable {
  readonly #control = new AbortController();
  readonly #signal: AbortSignal;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param duration milliseconds; absent: until interrupted. */
  constructor(interrupted: AbortSignal, duration?: number) {
    this.#signal = AbortSignal.any([interrupted, this.#control.signal]);
    if (duration !== undefined) this.#timer = setTimeout(() => this.now(), duration);
  }

  /** True once it is over. */
  get over(): boolean {
    return this.#signal.aborted;
  }

  /** Ends it. */
  now(): void {
    this.#control.abort();
  }

  /** Waits, but not beyond the end. @param ms milliseconds */
  async wait(ms: number): Promise<void> {
    if (this.over) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      this.#signal.addEventListener("abort", done);
    });
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

/** Frames in one round from which on there is no time to rest. */
const BUSY = 2000;

/**
 * Empties the rings as often as the kernel fills a block, until the end.
 *
 * @param after called after each round
 */
export async function captureUntil(
  end: End,
  { sockets, clock, ports, pipeline, after }: {
    readonly sockets: Sockets;
    readonly clock: Clock;
    readonly ports: ReadonlySet<number>;
    readonly pipeline: Pipeline;
    readonly after: () => void;
  },
): Promise<void> {
  const round = (): number => {
    // What is not there after this moment is of later: a slow round must not hide that.
    const now = clock.atMs(Date.now());
    const count = sockets.drain(clock, ports, pipeline);
    pipeline.advance(now);
    after();
    return count;
  };
  while (!end.over) await end.wait(round() > BUSY ? 0 : RETIRE_MS);
  // What passed until now may still be in a block that is not full.
  await new Promise((resolve) => setTimeout(resolve, 2 * RETIRE_MS));
  sockets.drain(clock, ports, pipeline);
  pipeline.finish();
  after();
}
