/**
 * Sends IPv4 packets as they are: the kernel routes them like any that a program of this node made.
 *
 * @module
 */

import { Domain, RawSocket } from "./raw_socket.ts";

/** sys/socket.h, netinet/in.h: the packet brings its header. */
const SOCK_RAW = 3;
const IPPROTO_RAW = 255;

/** Where an IPv4 header has its destination. */
const DESTINATION = 16;

/** See the module. Its socket is opened when the first packet is sent. */
export class PacketSender implements Disposable {
  #socket: RawSocket | undefined;
  /** `struct sockaddr_in`. */
  readonly #to = new Uint8Array(16);

  /**
   * Sends one packet; one that the kernel refuses is lost, as on any link.
   *
   * @throws {OpError} when there is no such socket: no CAP_NET_RAW.
   */
  send(packet: Uint8Array<ArrayBuffer>): void {
    this.#socket ??= new RawSocket(Domain.INET, SOCK_RAW, IPPROTO_RAW, "a raw IPv4 socket");
    this.#to[0] = Domain.INET;
    this.#to.set(packet.subarray(DESTINATION, DESTINATION + 4), 4);
    this.#socket.send(packet, this.#to);
  }

  [Symbol.dispose](): void {
    this.#socket?.[Symbol.dispose]();
  }
}
