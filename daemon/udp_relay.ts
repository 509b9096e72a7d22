/**
 * The relay of the udp backend: from the tun device into datagrams, and back. It works on the
 * daemon's one wait. A packet is read into the memory from which it is sent; what one turn may move
 * is bounded, so that the loop, the plugins and the probes have theirs.
 *
 * @module
 */

import type { Self } from "../engine/backend/backend.ts";
import { relayTable, udpDevice, udpPort } from "../engine/backend/udp.ts";
import {
  age,
  destinationOf,
  isIpv4,
  PrefixTable,
  unreachable,
} from "../engine/backend/udp_packet.ts";
import { addressOf, type Ip4, isIp4 } from "../engine/ip.ts";
import type { Lease } from "../engine/lease.ts";
import type { NetConf } from "../engine/net_conf.ts";
import { DatagramSocket, Inbox, Outbox, targetOf } from "../ffi/datagrams.ts";
import type { Poller } from "../ffi/poll.ts";
import { PacketSender } from "../ffi/packet_sender.ts";
import { Tun } from "../ffi/tun.ts";
import type { Attendant } from "./attendant.ts";

/** Packets, or messages of several, in one call. */
const BATCH = { out: 64, in: 32 } as const;
/** Packets that one turn sends; calls that one turn receives with. */
const TURN = 256;
const ROUNDS = 4;

/** A descriptor and its watch; both end with it. */
interface Held<T> {
  readonly it: T;
  readonly stack: DisposableStack;
}

/** See the module. */
export class UdpRelay implements Attendant {
  readonly #device: string;
  readonly #port: number;
  /** Packets by what became of them. */
  readonly #counts = { sent: 0, received: 0, refused: 0, unreachable: 0, expired: 0 };
  readonly #poller: Poller;
  readonly #inbox = new Inbox(BATCH.in);
  readonly #answers = new PacketSender();
  #outbox: Outbox | undefined;
  /** The MTU for which the outbox was made. */
  #mtu = 0;
  #tun: Held<Tun> | undefined;
  #socket: Held<DatagramSocket> | undefined;
  /** Where the socket listens. */
  #address: Ip4 | undefined;
  /** From whom the answers to undeliverable packets come. */
  #own: Ip4 | undefined;
  #peers: readonly Lease[] = [];
  #self: Self | undefined;
  #table = new PrefixTable<number>();

  /** @throws see {@link udpPort} */
  constructor(conf: NetConf, poller: Poller) {
    this.#device = udpDevice(conf);
    this.#port = udpPort(conf);
    this.#poller = poller;
  }

  /** Makes the device and the socket where they are missing, and learns the peers. */
  follow(self: Self, peers: readonly Lease[]): void {
    const { underlay, lease } = self;
    this.#own = lease.subnet && addressOf(lease.subnet);
    if (self !== this.#self || !same(peers, this.#peers)) {
      this.#table = relayTable(peers, self).map(targetOf);
      [this.#self, this.#peers] = [self, peers];
    }
    if (this.#outbox === undefined || this.#mtu !== underlay.mtu) {
      this.#outbox = new Outbox(BATCH.out, underlay.mtu, this.#port);
      this.#mtu = underlay.mtu;
    }
    if (this.#tun !== undefined && !this.#tun.it.isThere()) this.#closeTun();
    this.#tun ??= this.#hold(Tun.open(this.#device), () => this.#send());
    const address = underlay.addresses[4];
    if (address === undefined || !isIp4(address)) return;
    if (this.#socket !== undefined && this.#address !== address) this.#closeSocket();
    this.#address = address;
    this.#socket ??= this.#hold(new DatagramSocket(address, this.#port), () => this.#receive());
  }

  /** Packets by what became of them, since the start. */
  packets(): Readonly<Record<string, number>> {
    return this.#counts;
  }

  #hold<T extends Disposable & { readonly fd: number }>(it: T, ready: () => void): Held<T> {
    using stack = new DisposableStack();
    stack.use(it);
    stack.use(this.#poller.watch(it.fd, ready));
    return { it, stack: stack.move() };
  }

  /** From the device to the peers. */
  #send(): void {
    const [tun, outbox] = [this.#tun?.it, this.#outbox];
    if (tun === undefined || outbox === undefined) return;
    const { slots } = outbox;
    let filled = 0;
    const flush = (): void => {
      if (filled > 0 && this.#socket !== undefined) {
        const refused = outbox.send(this.#socket.it.fd, filled);
        this.#counts.refused += refused;
        this.#counts.sent += filled - refused;
      }
      filled = 0;
    };
    for (let reads = 0; reads < TURN; reads++) {
      const slot = slots[filled];
      if (slot === undefined) break;
      const length = tun.receive(slot);
      if (length === 0) {
        // Woken for nothing: the device may be gone, and would wake us for ever.
        if (reads === 0 && !tun.isThere()) this.#closeTun();
        break;
      }
      // IPv6 hosts greet their routers on any link: that is nobody's loss.
      if (!isIpv4(slot, length)) continue;
      const target = this.#table.find(destinationOf(slot));
      if (target === undefined) this.#refuse(slot, length);
      else if (age(slot)) {
        outbox.address(filled++, length, target);
        if (filled === slots.length) flush();
      } else this.#counts.expired++;
    }
    flush();
  }

  /**
   * Tells the sender that nobody has this address. Not by the device: a packet that comes in with
   * an address of this node is dropped by the kernel.
   */
  #refuse(packet: Uint8Array, length: number): void {
    this.#counts.unreachable++;
    const answer = this.#own && unreachable(packet, length, this.#own);
    if (answer !== undefined) this.#answers.send(answer);
  }

  /** From the peers to the device. */
  #receive(): void {
    const [tun, socket] = [this.#tun?.it, this.#socket?.it];
    if (socket === undefined) return;
    for (let round = 0; round < ROUNDS; round++) {
      const more = this.#inbox.receive(socket.fd, (packet, length) => {
        if (!isIpv4(packet, length)) return;
        if (!age(packet)) this.#counts.expired++;
        else if (tun !== undefined) {
          tun.send(packet, length);
          this.#counts.received++;
        }
      });
      if (!more) return;
    }
  }

  /** The kernel tells of a device that is gone, and the next pass makes it anew. */
  #closeTun(): void {
    this.#tun?.stack.dispose();
    this.#tun = undefined;
  }

  #closeSocket(): void {
    this.#socket?.stack.dispose();
    this.#socket = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closeSocket();
    this.#closeTun();
    this.#answers[Symbol.dispose]();
    return Promise.resolve();
  }
}

function same(a: readonly Lease[], b: readonly Lease[]): boolean {
  return a.length === b.length && a.every((lease, i) => lease === b[i]);
}
