/**
 * Packets that the rules of policies drop, as the kernel tells of them: see
 * `engine/policy/dropped.ts`.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import {
  type DroppedPacket,
  readHeaders,
  tellingFill,
  tellingTable,
} from "../engine/policy/dropped.ts";
import { readFound } from "../engine/policy/found.ts";
import { Netfilter } from "./netfilter.ts";
import { listTable, NftContext } from "./nft.ts";
import { TraceListener } from "./nft_trace.ts";
import { Poller } from "./poll.ts";

/** How many packets a table has dropped, by the chain that did. @throws {OpError} when the socket fails */
export function policyCounts(table: string): ReadonlyMap<string, number> {
  using netfilter = new Netfilter();
  return netfilter.counters({ family: "inet", table: table.split(" ")[1] ?? "" });
}

/** How often pods that came, and a new generation, are looked for, ms. */
const REFRESH = 1_000;
/** Packets whose headers are remembered until they are dropped, or not. */
const MOST = 4_096;

/**
 * Tells of each until the signal is aborted. The first `next()` returns when something was dropped.
 *
 * @param table family and name of the table of policies.
 * @throws {OpError} without CAP_NET_ADMIN or libnftables, or where the kernel has no such table.
 */
export async function* policyDrops(
  table: string,
  signal: AbortSignal,
): AsyncGenerator<DroppedPacket> {
  const name = `twill-drops-${Deno.pid}`;
  const queue: DroppedPacket[] = [];
  const headers = new Map<number, Omit<DroppedPacket, "chain">>();
  let wake = (): void => {};
  const awake = (): void => wake();
  await using poller = new Poller();
  using nft = new NftContext();
  const run = (commands: string): void => {
    const { ok, error } = nft.run(commands);
    if (ok) return;
    throw new OpError("fill", `table inet ${name}`, {
      code: ErrorCode.kernel,
      kernel: error.trim(),
      advice: "Tables that go with their owner need nft 1.0.0 and Linux 5.12",
    });
  };
  let filled = "";
  const refresh = (): void => {
    const found = readFound(listTable(table));
    const fill = found === undefined ? "" : tellingFill(name, found);
    if (fill === filled || fill === "") return;
    run(fill);
    filled = fill;
  };
  using _listener = new TraceListener(poller, (event, network, transport) => {
    const { id, table: at, chain, verdict } = event;
    const packet = network && readHeaders(network, transport ?? new Uint8Array());
    if (packet !== undefined) {
      if (headers.size >= MOST) headers.delete(headers.keys().next().value!);
      headers.set(id, packet);
    }
    const seen = headers.get(id);
    if (at !== table || verdict !== "drop" || seen === undefined) return;
    headers.delete(id);
    queue.push({ chain, ...seen });
    awake();
  });
  run(tellingTable(name));
  refresh();
  const timer = setInterval(refresh, REFRESH);
  signal.addEventListener("abort", awake);
  try {
    while (!signal.aborted) {
      yield* queue.splice(0);
      if (queue.length === 0 && !signal.aborted) {
        await new Promise<void>((resolve) => wake = resolve);
      }
    }
  } finally {
    clearInterval(timer);
    signal.removeEventListener("abort", awake);
    nft.run(`delete table inet ${name}\n`);
  }
}
