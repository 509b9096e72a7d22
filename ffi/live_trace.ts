/**
 * Sends one packet and hears from the kernel where it comes by: a temporary table marks it, the
 * netfilter socket tells. The table goes with this process, however it ends.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { familyOf } from "../engine/ip.ts";
import {
  answers,
  type Encapsulated,
  markedBytes,
  type MarkedPacket,
  markingTable,
  protocolNumber,
  type TraceEvent,
} from "../engine/trace/marked.ts";
import { addressOf } from "./echo.ts";
import { errnoText } from "./errno.ts";
import { within } from "./netns.ts";
import { NftContext } from "./nft.ts";
import { TraceListener } from "./nft_trace.ts";
import { Poller } from "./poll.ts";
import { Domain, RawSocket } from "./raw_socket.ts";

/** sys/socket.h */
const SOCK_RAW = 3;
/** How long an answer is waited for, ms. */
const PATIENCE = 1_500;
/** How long the kernel's last words are waited for once the answer is there, ms. */
const SETTLE = 100;
const LARGEST = 65_535;

/** What came of it. */
export interface LiveResult {
  readonly table: string;
  readonly events: readonly TraceEvent[];
  /** Something came back that only our packet can have caused. */
  readonly answered: boolean;
}

/**
 * Sends it.
 *
 * @param netns the pod's namespace; absent: this node sends it.
 * @param outer where it will be inside another packet, if it will.
 * @throws {OpError} without libnftables or rights, or when the packet cannot be sent.
 */
export async function sendMarked(
  netns: string | undefined,
  packet: MarkedPacket,
  outer: Encapsulated | undefined,
): Promise<LiveResult> {
  const name = `twill-trace-${Deno.pid}`;
  const events: TraceEvent[] = [];
  let answered: (() => void) | undefined;
  const answer = new Promise<boolean>((resolve) => answered = () => resolve(true));
  await using poller = new Poller();
  using nft = new NftContext();
  using _listener = new TraceListener(poller, (event) => void events.push(event));
  const family = familyOf(packet.dst);
  const open = (): RawSocket =>
    new RawSocket(
      family === 4 ? Domain.INET : Domain.INET6,
      SOCK_RAW,
      protocolNumber(packet.protocol, family),
      "a raw socket",
    );
  using socket = netns === undefined ? open() : within(netns, open);
  const buffer = new Uint8Array(LARGEST);
  using _watch = poller.watch(socket.fd, () => {
    for (let n = socket.receive(buffer); n !== undefined; n = socket.receive(buffer)) {
      if (answers(packet, buffer.subarray(0, n))) answered?.();
    }
  });
  const made = nft.run(markingTable(name, packet, outer));
  if (!made.ok) {
    throw new OpError("make", `table inet ${name}`, {
      code: ErrorCode.kernel,
      kernel: made.error.trim(),
      advice: "Tables that go with their owner need nft 1.0.0 and Linux 5.12",
    });
  }
  const errno = socket.send(markedBytes(packet), addressOf(packet.dst));
  if (errno !== 0) {
    throw new OpError("send", `the packet to ${packet.dst}`, {
      code: ErrorCode.kernel,
      errno,
      kernel: errnoText(errno),
    });
  }
  const got = await before(answer, PATIENCE) ?? false;
  await before(new Promise<void>(() => {}), SETTLE);
  return { table: `inet ${name}`, events, answered: got };
}

/** The promise's value, or undefined when the time is over. */
async function before<T>(promise: Promise<T>, time: number): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) =>
    timer = setTimeout(() => resolve(undefined), time)
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
