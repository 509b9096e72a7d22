/**
 * `check --probe`: the way to each peer, tried with packets. Sends; judges nothing.
 *
 * @module
 */

import { addressOf, type Family, familyOf, type Ip } from "../../engine/ip.ts";
import { SMALLEST } from "../../engine/trace/icmp.ts";
import type { Echo, EchoAnswer } from "../../ffi/echo.ts";
import { joinPeers, type Peer } from "../join_peers.ts";
import { nameOfPeer } from "../judge_peers.ts";
import type { Overlay, Vtep } from "../overlay.ts";
import type { CheckTools } from "./tools.ts";

/** What came of a question to a peer's daemon. */
export type Confirmation =
  /** The datagram came in on its uplink. */
  | { readonly kind: "arrived"; readonly dev: string }
  /** It did not, though the question was answered. */
  | { readonly kind: "lost" }
  /** Nobody answered: the peer runs flannel, or its health port is closed or another. */
  | { readonly kind: "no-daemon" };

/** A peer, and what came back from it. */
export interface PeerProbe {
  readonly name: string;
  readonly family: Family;
  /** Its address on the overlay; its kernel answers, whoever put it there. */
  readonly overlay: Ip;
  /** Its own address. */
  readonly node?: Ip;
  /** This node's VTEP; absent where nodes are routed directly. */
  readonly vtep?: Vtep;
  /** Bytes that pods may send. */
  readonly mtu: number;
  readonly small: EchoAnswer;
  readonly large: EchoAnswer;
  /** An echo to the node's own address. */
  readonly direct?: EchoAnswer;
  /** The largest packet that was answered, when `large` was not. */
  readonly largest?: number;
  /** Whether TCP comes back over the overlay; tried where echoes do. */
  readonly tcp?: boolean;
  readonly confirmation?: Confirmation;
}

/** How long echoes are waited for, ms. */
const PATIENCE = 1_500;
/** How long the peer's daemon may take, ms: it waits for the datagram itself. */
const DAEMON_PATIENCE = 4_000;
/** Between two datagrams, ms. */
const AGAIN = 100;
/** Peers that are looked at more closely; more than these have one cause. */
const CLOSELY = 16;
/** The smallest size for which every link has room, RFC 791 and 8200. */
const SURE = { 4: 576, 6: 1280 } as const;

/** What the overlay's peers are, as far as they can be tried. */
function targets(
  overlay: Overlay,
): Pick<PeerProbe, "name" | "family" | "overlay" | "node" | "vtep" | "mtu">[] {
  const { file } = overlay;
  return joinPeers(overlay).flatMap((peer: Peer) => {
    const { subnet, publicIp } = peer;
    if (subnet === undefined) return [];
    const family = familyOf(subnet);
    const vtep = overlay.vteps.find(({ name }) => name === peer.device);
    const tunnel = overlay.tunnels.find(({ name }) => name === peer.device);
    const mtu = vtep?.mtu ?? tunnel?.mtu ?? (file.kind === "read" ? file.env.mtu : undefined);
    // Without an overlay device the base address of the subnet is nobody's.
    const to = vtep === undefined && tunnel === undefined ? publicIp : addressOf(subnet);
    if (to === undefined || mtu === undefined) return [];
    return [{
      name: nameOfPeer(peer),
      family,
      overlay: to,
      mtu,
      ...(publicIp === undefined ? {} : { node: publicIp }),
      ...(vtep === undefined ? {} : { vtep }),
    }];
  });
}

/** Tries the way to all peers. @throws {OpError} when packets cannot be sent from here at all */
export async function probePeers(
  overlay: Overlay,
  tools: CheckTools,
  healthPort: number,
): Promise<PeerProbe[]> {
  const all = targets(overlay);
  const wishes = all.flatMap(({ overlay: to, mtu, node }): Echo[] => [
    { to, size: SMALLEST },
    { to, size: mtu },
    { to: node ?? to, size: SMALLEST },
  ]);
  const answers = await tools.echoes(wishes, PATIENCE);
  const probes = all.map((target, i): PeerProbe => ({
    ...target,
    small: answers[3 * i]!,
    large: answers[3 * i + 1]!,
    ...(target.node === undefined ? {} : { direct: answers[3 * i + 2]! }),
  }));
  const silent = new Set(probes.filter(({ small }) => small !== "answered").slice(0, CLOSELY));
  const narrow = new Set(
    probes.filter(({ small, large }) => small === "answered" && large !== "answered")
      .slice(0, CLOSELY),
  );
  const fine = new Set(probes.filter(({ small }) => small === "answered").slice(0, CLOSELY));
  return await Promise.all(probes.map(async (probe): Promise<PeerProbe> => {
    const [largest, tcp, confirmation] = await Promise.all([
      narrow.has(probe) ? searchLargest(probe, tools) : undefined,
      fine.has(probe) ? tools.answersTcp(probe.overlay, healthPort, PATIENCE) : undefined,
      silent.has(probe) ? confirm(probe, tools, healthPort) : undefined,
    ]);
    return {
      ...probe,
      ...(largest === undefined ? {} : { largest }),
      ...(tcp === undefined ? {} : { tcp }),
      ...(confirmation === undefined ? {} : { confirmation }),
    };
  }));
}

/** All sizes in steps of ten at once, then those between two of them. */
async function searchLargest(
  { overlay: to, family, mtu }: PeerProbe,
  tools: CheckTools,
): Promise<number | undefined> {
  const best = async (sizes: readonly number[]): Promise<number | undefined> => {
    const answers = await tools.echoes(sizes.map((size) => ({ to, size })), PATIENCE);
    return sizes.filter((_, i) => answers[i] === "answered").at(-1);
  };
  const steps = Array.from(
    { length: Math.max(0, Math.ceil((mtu - SURE[family]) / 10)) },
    (_, i) => SURE[family] + 10 * i,
  );
  const about = await best(steps);
  if (about === undefined) return undefined;
  return await best(Array.from({ length: 9 }, (_, i) => about + 1 + i)) ?? about;
}

/** Asks the peer's daemon to look out for a datagram, and sends it again and again meanwhile. */
async function confirm(
  { node, family, vtep }: PeerProbe,
  tools: CheckTools,
  healthPort: number,
): Promise<Confirmation | undefined> {
  if (node === undefined || vtep === undefined) return undefined;
  const nonce = tools.nonce();
  const host = family === 4 ? node : `[${node}]`;
  const url = `http://${host}:${healthPort}/probe/udp?nonce=${nonce}&family=${family}`;
  const send = (): void => tools.sendProbe(node, vtep.port, nonce);
  // When the daemon begins to look out nobody tells.
  const timer = setInterval(send, AGAIN);
  const answer = tools.page(url, DAEMON_PATIENCE).finally(() => clearInterval(timer));
  send();
  const text = await answer;
  try {
    const { seen, dev } = JSON.parse(text ?? "null") ?? {};
    if (seen === true) return { kind: "arrived", dev: String(dev) };
    if (seen === false) return { kind: "lost" };
  } catch {
    // Somebody else's page: not our daemon.
  }
  return { kind: "no-daemon" };
}
