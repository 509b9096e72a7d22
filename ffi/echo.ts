/**
 * Echo requests to many hosts at once.
 *
 * @module
 */

import { type Family, familyOf, type Ip, ipBytes } from "../engine/ip.ts";
import { echoRequest, readEchoReply } from "../engine/trace/icmp.ts";
import { Errno } from "./errno.ts";
import { Domain, RawSocket } from "./raw_socket.ts";

/** One echo request. */
export interface Echo {
  readonly to: Ip;
  /** Bytes of the whole packet; it is never split on its way. */
  readonly size: number;
}

/** What became of it: `large`: it does not fit the first link on its way. */
export type EchoAnswer = "answered" | "silent" | "large" | "refused";

/** netinet/in.h, linux/in.h, linux/in6.h: never split, whatever is known of the path. */
const ROWS = {
  4: { domain: Domain.INET, protocol: 1, level: 0, discover: 10 },
  6: { domain: Domain.INET6, protocol: 58, level: 41, discover: 23 },
} as const;
/** `IP_PMTUDISC_PROBE`, `IPV6_PMTUDISC_PROBE`. */
const PMTUDISC_PROBE = 3;
const SOCK_RAW = 3;

/** How often a request is sent: one lost packet is no news. */
const TRIES = 3;
/** Between two looks at the socket, ms. */
const PAUSE = 5;
/** The largest IP packet. */
const LARGEST = 65_535;

/**
 * Sends echo requests, all at once and each up to three times, and waits for the replies.
 *
 * @param patience ms for all tries together.
 * @returns one answer for each echo, in their order.
 * @throws {OpError} when there cannot be such a socket.
 */
export async function echoes(all: readonly Echo[], patience: number): Promise<EchoAnswer[]> {
  const answers = new Array<EchoAnswer>(all.length).fill("silent");
  using undo = new DisposableStack();
  const id = Deno.pid & 0xffff;
  const sockets = new Map<Family, RawSocket>();
  for (const family of new Set(all.map(({ to }) => familyOf(to)))) {
    const { domain, protocol, level, discover } = ROWS[family];
    const socket = undo.use(new RawSocket(domain, SOCK_RAW, protocol, "an ICMP socket"));
    socket.option(level, discover, new Uint8Array(new Int32Array([PMTUDISC_PROBE]).buffer));
    sockets.set(family, socket);
  }
  const buffer = new Uint8Array(LARGEST);
  const hear = (): void => {
    for (const [family, socket] of sockets) {
      for (let n = socket.receive(buffer); n !== undefined; n = socket.receive(buffer)) {
        const reply = readEchoReply(family, buffer.subarray(0, n));
        const echo = reply?.id === id ? all[reply.sequence] : undefined;
        if (reply !== undefined && echo !== undefined) answers[reply.sequence] = "answered";
      }
    }
  };
  for (let tries = 0; tries < TRIES && answers.includes("silent"); tries++) {
    all.forEach(({ to, size }, sequence) => {
      if (answers[sequence] !== "silent") return;
      const family = familyOf(to);
      const packet = echoRequest(family, { id, sequence }, size);
      const errno = sockets.get(family)!.send(packet, addressOf(to));
      if (errno === Errno.EMSGSIZE) answers[sequence] = "large";
      else if (errno !== 0 && errno !== Errno.ENOBUFS) answers[sequence] = "refused";
      // Thousands at once would overrun the queue of answers.
      if (sequence % 64 === 63) hear();
    });
    const until = performance.now() + patience / TRIES;
    do {
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
      hear();
    } while (answers.includes("silent") && performance.now() < until);
  }
  return answers;
}

/** `struct sockaddr_in` or `sockaddr_in6`, without a port. */
export function addressOf(ip: Ip, port = 0): Uint8Array<ArrayBuffer> {
  const family = familyOf(ip);
  const bytes = new Uint8Array(family === 4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  // The family is in the machine's order, the port in the network's.
  view.setUint16(0, ROWS[family].domain, true);
  view.setUint16(2, port);
  bytes.set(ipBytes(ip), family === 4 ? 4 : 8);
  return bytes;
}
