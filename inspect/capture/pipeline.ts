/**
 * From frames as they come in, interface by interface, to packets in the order of time. Pure: it is
 * told what time it is.
 *
 * The kernel shows each interface's frames in order, but hands them out in blocks, so frames of
 * several interfaces are in order only once all blocks of that time are out. And a packet is told
 * once it had the time to be seen everywhere.
 *
 * @module
 */

import { Correlator, type Journey, type Sighting } from "../../engine/packet/correlate.ts";

const MS = 1e6;

/** How long after its time a frame may come in; nanoseconds. Three times what the kernel waits. */
const LATE = 60 * MS;
/** How long after its first sighting a packet may still be on its way through the node. */
const ON_THE_WAY = 200 * MS;

/** What becomes of packets. */
export interface Outlet {
  /**
   * When all interfaces were being looked at, in the clock of {@link Sighting.at}. A packet that was
   * on its way before is left out: some of its places were missed.
   */
  readonly from: number;
  /** Whether a packet is wanted; asked once, when all its sightings are there. */
  readonly wants: (journey: Journey) => boolean;
  /** A wanted packet, in the order of first sightings. */
  readonly packet: (journey: Journey) => void;
  /** A frame of a wanted packet, in the order of time. */
  readonly frame: (sighting: Sighting) => void;
}

interface Entry {
  readonly sighting: Sighting;
  readonly journey: Journey;
}

/** Orders, correlates, waits, decides. */
export class Pipeline {
  readonly #outlet: Outlet;
  readonly #correlator = new Correlator();
  /** Come in, not yet in order. */
  #fresh: Sighting[] = [];
  /** In order, waiting for their packet to be complete. */
  #waiting: Entry[] = [];
  readonly #decided = new WeakMap<Journey, boolean>();

  constructor(outlet: Outlet) {
    this.#outlet = outlet;
  }

  /** One frame came in. */
  add(sighting: Sighting): void {
    this.#fresh.push(sighting);
  }

  /** Lets out what is complete. @param now in the clock of {@link Sighting.at} */
  advance(now: number): void {
    this.#order(now - LATE);
    let done = 0;
    const end = now - LATE - ON_THE_WAY;
    for (const { sighting, journey } of this.#waiting) {
      if (sighting.at > end) break;
      done++;
      const whole = journey.whole;
      if (this.#decide(whole)) this.#outlet.frame(sighting);
    }
    if (done > 0) this.#waiting = this.#waiting.slice(done);
  }

  /** Lets out all there is: nothing more will come. */
  finish(): void {
    this.advance(Infinity);
  }

  #order(until: number): void {
    if (this.#fresh.length === 0) return;
    const fresh = this.#fresh.sort((a, b) => a.at - b.at || a.stage - b.stage);
    let count = fresh.length;
    if (fresh.at(-1)!.at > until) {
      count = fresh.findIndex(({ at }) => at > until);
    }
    for (let i = 0; i < count; i++) {
      const sighting = fresh[i]!;
      this.#waiting.push({ sighting, journey: this.#correlator.add(sighting) });
    }
    this.#fresh = fresh.slice(count);
  }

  #decide(journey: Journey): boolean {
    const known = this.#decided.get(journey);
    if (known !== undefined) return known;
    this.#correlator.close(journey);
    const { from, wants } = this.#outlet;
    const wanted = journey.places.every(({ first }) => first.at >= from) && wants(journey);
    this.#decided.set(journey, wanted);
    if (wanted) this.#outlet.packet(journey);
    return wanted;
  }
}
