/**
 * Puts the copies of one packet together that were seen on several interfaces: its journey. Pure.
 *
 * @module
 */

import { innermost, type Packet } from "./decode.ts";
import { compare, datagramOf, identify, type Identity } from "./identity.ts";

/** {@link Sighting.stage} of what the node has routed. */
export const ROUTED = 100;

/** One frame on one interface. */
export interface Sighting {
  /** Number of the interface. */
  readonly tap: number;
  /** It was sent by the interface, not received. */
  readonly out: boolean;
  /**
   * Which place of its way the packet is at: smaller numbers come first, where the clock does not
   * tell. 0: it was sent here, or came from the wire, so that no other place can have shown it. From
   * {@link ROUTED} on it has come out of the node's own routing, where NAT works.
   */
  readonly stage: number;
  /** Nanoseconds since a moment that is the same for all sightings. */
  readonly at: number;
  /** The frame, decoded from its first byte. */
  readonly packet: Packet;
  /** Bytes on the interface; the captured part may be shorter. */
  readonly length: number;
  /** The device was to fill the checksum in: what was captured has a wrong one. */
  readonly openChecksum: boolean;
}

/** Where a packet was seen: once, or several times when it was cut up there. */
export interface Hop {
  readonly first: Sighting;
  /** {@link innermost} of it. */
  readonly inner: Packet;
  /** Frames. */
  readonly count: number;
  /** Bytes of all of them. */
  readonly length: number;
}

/** A packet and where it was seen. */
export class Journey {
  /** A handful: looking through them is quicker than a map. */
  readonly #hops: MutableHop[] = [];
  /** The journey that this one turned out to be a part of. */
  #into: Journey | undefined;
  readonly identity: Identity;
  /** {@link Identity.stream} of each form it was seen in. */
  readonly streams = new Set<number>();
  /** The piece of the stream that is known, from {@link Identity.start}. */
  length: number;
  /** Of a fragment: source and destination port, which only the first fragment tells. */
  ports: readonly [source: number, destination: number] | undefined;

  constructor(identity: Identity) {
    this.identity = identity;
    this.length = identity.length;
  }

  /** Itself, or what it became a part of. */
  get whole(): Journey {
    return this.#into === undefined ? this : this.#into.whole;
  }

  /** The hops in the order of time. */
  get hops(): readonly Hop[] {
    return this.#hops.toSorted(({ first: a }, { first: b }) => a.at - b.at || a.stage - b.stage);
  }

  /** Places where it was seen, unsorted. */
  get places(): readonly Hop[] {
    return this.#hops;
  }

  /** True when the interface has shown it in that direction already. */
  has({ tap, out }: Sighting): boolean {
    return this.#at(tap, out) !== undefined;
  }

  #at(tap: number, out: boolean): MutableHop | undefined {
    return this.#hops.find(({ first }) => first.tap === tap && first.out === out);
  }

  /** True when a piece begins where the interface's last piece of it ended, or is its first. */
  follows({ tap, out }: Sighting, { start }: Identity): boolean {
    const hop = this.#at(tap, out);
    return hop === undefined || hop.end === start;
  }

  /** Adds a frame. */
  add(first: Sighting, inner: Packet, { start, length }: Identity): void {
    const hop = this.#at(first.tap, first.out);
    const end = start + length >>> 0;
    if (hop === undefined) {
      this.#hops.push({ first, inner, count: 1, length: first.length, end });
    } else {
      hop.count++;
      hop.length += first.length;
      hop.end = end;
    }
  }

  /** Takes over all that another journey has, which from now on is a part of this one. */
  absorb(other: Journey): void {
    other.#into = this;
    for (const theirs of other.#hops) {
      const mine = this.#at(theirs.first.tap, theirs.first.out);
      if (mine === undefined) this.#hops.push(theirs);
      else {
        mine.count += theirs.count;
        mine.length += theirs.length;
        mine.end = theirs.end;
      }
    }
  }
}

interface MutableHop extends Hop {
  count: number;
  length: number;
  /** Where in the stream its last piece ended. */
  end: number;
}

/** Datagrams whose ports are remembered until their last fragment was seen. */
const MOST_DATAGRAMS = 4096;

/**
 * Finds the journey of each sighting. Sightings should come in the order of time; one that comes
 * late still finds its journey as long as that is open.
 */
export class Correlator {
  readonly #byFingerprint = new Map<number, Journey[]>();
  readonly #byStream = new Map<number, Journey[]>();
  readonly #ports = new Map<number, readonly [number, number]>();

  /** The journey that a frame belongs to, the frame added; a new one if there is none open. */
  add(sighting: Sighting): Journey {
    const inner = innermost(sighting.packet);
    const identity = identify(inner);
    const ports = this.#portsOf(inner);
    const known = this.#find(sighting, inner, identity);
    const journey = known ?? this.#open(identity);
    this.#addStream(journey, identity);
    journey.add(sighting, inner, identity);
    journey.ports ??= ports;
    if (identity.length > journey.length && identity.start === journey.identity.start) {
      journey.length = identity.length;
      this.#gather(journey);
    }
    return journey;
  }

  /** Forgets a journey: what comes later is another one. */
  close(journey: Journey): void {
    remove(this.#byFingerprint, journey.identity.fingerprint, journey);
    for (const stream of journey.streams) remove(this.#byStream, stream, journey);
  }

  #open(identity: Identity): Journey {
    const journey = new Journey(identity);
    append(this.#byFingerprint, identity.fingerprint, journey);
    return journey;
  }

  #addStream(journey: Journey, { stream }: Identity): void {
    if (stream === 0 || journey.streams.has(stream)) return;
    journey.streams.add(stream);
    append(this.#byStream, stream, journey);
  }

  #find(sighting: Sighting, inner: Packet, identity: Identity): Journey | undefined {
    let translated: Journey | undefined;
    for (const journey of this.#byFingerprint.get(identity.fingerprint) ?? []) {
      // An interface shows a packet once: the second is sent again, or another just like it.
      if (journey.has(sighting)) continue;
      // Where a packet begins, nothing can have been seen before; it may be told late, though.
      if (sighting.stage === 0 && journey.places.some(({ first }) => first.at < sighting.at)) {
        continue;
      }
      for (const hop of journey.places) {
        const likeness = compare(hop.inner, inner);
        if (likeness === "same") return journey;
        if (likeness === "translated" && sighting.stage >= ROUTED) translated ??= journey;
      }
    }
    return translated ?? (sighting.stage === 0 ? undefined : this.#findWhole(sighting, identity));
  }

  /** The open journey of a larger packet that this one is a piece of. */
  #findWhole(sighting: Sighting, identity: Identity): Journey | undefined {
    if (identity.stream === 0 || identity.length === 0) return undefined;
    return this.#byStream.get(identity.stream)?.find((journey) =>
      isPieceOf(identity, journey) && journey.follows(sighting, identity)
    );
  }

  /** Journeys of pieces become parts of the journey of the whole. */
  #gather(whole: Journey): void {
    const near = [...whole.streams].flatMap((stream) => this.#byStream.get(stream) ?? []);
    for (const journey of new Set(near)) {
      const piece = { ...journey.identity, length: journey.length };
      if (journey === whole || !isPieceOf(piece, whole)) continue;
      whole.absorb(journey);
      this.close(journey);
    }
  }

  /** Ports of a fragment, from itself or from the first fragment of its datagram. */
  #portsOf({ bytes, network }: Packet): readonly [number, number] | undefined {
    if (network.kind !== "ip" || !network.fragment) return undefined;
    const datagram = datagramOf(bytes, network);
    const { transport } = network;
    if (!("sourcePort" in transport)) return this.#ports.get(datagram);
    const ports = [transport.sourcePort, transport.destinationPort] as const;
    this.#ports.delete(datagram);
    this.#ports.set(datagram, ports);
    const [oldest] = this.#ports.keys();
    if (this.#ports.size > MOST_DATAGRAMS && oldest !== undefined) this.#ports.delete(oldest);
    return ports;
  }
}

/** True when a piece lies wholly in what is known of a journey, and is smaller than that. */
function isPieceOf({ start, length }: Identity, journey: Journey): boolean {
  const from = start - journey.identity.start >>> 0;
  return length > 0 && length < journey.length && from + length <= journey.length;
}

function append(map: Map<number, Journey[]>, key: number, journey: Journey): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [journey]);
  else list.push(journey);
}

function remove(map: Map<number, Journey[]>, key: number, journey: Journey): void {
  const list = map.get(key);
  if (list === undefined) return;
  const at = list.indexOf(journey);
  if (at >= 0) list.splice(at, 1);
  if (list.length === 0) map.delete(key);
}
