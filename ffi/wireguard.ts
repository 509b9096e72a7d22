/**
 * WireGuard links: from the kernel's answers to facts, and from changes to requests. It has a
 * family of generic netlink, whose number is asked for once for each socket.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { describe, type Fact, type WireguardFact, type WireguardPeerFact } from "../engine/fact.ts";
import type { Where } from "../engine/fact.ts";
import { addressOf, cidrOf, familyOf, lengthOf } from "../engine/ip.ts";
import type { Change } from "../engine/plan.ts";
import { Secret } from "../engine/secret.ts";
import { publicKeyBytes, publicKeyOf } from "../engine/wireguard_key.ts";
import { Errno, errnoText } from "./errno.ts";
import {
  CONTROL_FAMILY,
  NETLINK_GENERIC,
  readFamily,
  writeFamilyQuestion,
} from "./netlink/generic.ts";
import type { Answer } from "./netlink/message.ts";
import { NetlinkSocket, type Request } from "./netlink/socket.ts";
import {
  PeerFlag,
  readDevice,
  WIREGUARD_FAMILY,
  type WireguardMessage,
  writeGetDevice,
  writeSetDevice,
} from "./netlink/wireguard.ts";
import { Af } from "./netlink/rtnetlink.ts";

/** A change that travels by this family. */
export type WireguardChange = Change & { readonly fact: WireguardFact | WireguardPeerFact };

/** A key is used for three minutes after its handshake (`REJECT_AFTER_TIME` of the protocol), ms. */
const KEY_LIFE = 180_000;

/** A socket of the family, in the namespace in which it was made. */
export class WireguardSocket implements Disposable {
  readonly #socket = new NetlinkSocket(NETLINK_GENERIC);
  #family: number | undefined;

  /** @returns undefined on a kernel that has not loaded WireGuard: no link can be of that kind. */
  #number(): number | undefined {
    if (this.#family !== undefined) return this.#family;
    const [answer] = this.#socket.request([{
      type: CONTROL_FAMILY,
      flags: 0,
      question: true,
      body: (out) => writeFamilyQuestion(out, WIREGUARD_FAMILY),
    }]);
    return this.#family = answer?.body === undefined ? undefined : readFamily(answer.body);
  }

  /** What a link is set to, and its peers. @throws {OpError} when the kernel does not tell */
  read(where: Where, dev: string): Fact[] {
    const type = this.#number();
    if (type === undefined) return [];
    const body: Request["body"] = (out) => writeGetDevice(out, dev);
    const { bodies, errno, words } = this.#socket.dump({ type, body });
    if (errno !== 0) {
      throw new OpError("read", `WireGuard link ${dev}`, {
        code: ErrorCode.kernel,
        errno,
        kernel: words ?? errnoText(errno),
        advice: "Its keys are told to root alone (CAP_NET_ADMIN)",
      });
    }
    return wireguardFacts(where, dev, bodies.map(readDevice), Date.now());
  }

  /** Carries a change out. @throws as `NetlinkSocket.request` */
  apply(change: WireguardChange): Answer {
    const type = this.#number();
    if (type === undefined) {
      return { errno: Errno.EOPNOTSUPP, words: "no WireGuard in this kernel" };
    }
    const message = wireguardMessage(change);
    const [answer] = this.#socket.request([
      { type, flags: 0, body: (out) => writeSetDevice(out, message) },
    ]);
    return answer as Answer;
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

/**
 * The facts in the messages about one link. A peer with many networks is told in several pieces.
 *
 * @param now as `Date.now()` counts.
 */
export function wireguardFacts(
  where: Where,
  dev: string,
  messages: readonly WireguardMessage[],
  now: number,
): Fact[] {
  const { publicKey, port } = messages[0] ?? {};
  const peers = new Map<string, WireguardPeerFact>();
  for (const peer of messages.flatMap(({ peers }) => peers ?? [])) {
    if (peer.publicKey === undefined) continue;
    const key = publicKeyOf(peer.publicKey);
    const { endpoint, psk, keepalive = 0, lastHandshake = 0, received = 0, sent = 0 } = peer;
    const more = (peer.allowedIps ?? []).flatMap(({ address, length }) =>
      address === undefined || length === undefined ? [] : [cidrOf(address, length)]
    );
    const before = peers.get(key);
    peers.set(key, {
      ...(before ?? {
        kind: "wireguard-peer",
        where,
        dev,
        publicKey: key,
        ...(endpoint === undefined ? {} : { remote: endpoint.ip, port: endpoint.port }),
        keepalive,
        ...(psk === undefined ? {} : { psk: new Secret(psk) }),
        traffic: {
          ...(lastHandshake === 0 ? {} : { handshake: lastHandshake }),
          alive: lastHandshake > 0 && now - lastHandshake < KEY_LIFE,
          received,
          sent,
        },
      }),
      allowed: [...before?.allowed ?? [], ...more].sort(),
    });
  }
  // A new link has no key yet.
  const set = publicKey === undefined || port === undefined
    ? []
    : [{ kind: "wireguard" as const, where, dev, port, publicKey: publicKeyOf(publicKey) }];
  return [...set, ...peers.values()];
}

/** What is asked of the kernel for a change. */
export function wireguardMessage({ op, fact }: WireguardChange): WireguardMessage {
  const name = fact.dev;
  if (fact.kind === "wireguard") {
    if (fact.privateKey === undefined) throw new TypeError(`no key to set: ${describe(fact)}`);
    return { name, privateKey: fact.privateKey.reveal(), port: fact.port };
  }
  const publicKey = publicKeyBytes(fact.publicKey);
  if (op === "delete") return { name, peers: [{ publicKey, flags: PeerFlag.REMOVE_ME }] };
  const { psk, remote, port, keepalive, allowed } = fact;
  return {
    name,
    peers: [{
      publicKey,
      ...(psk === undefined ? {} : { psk: psk.reveal() }),
      ...(remote === undefined || port === undefined ? {} : { endpoint: { ip: remote, port } }),
      ...(keepalive === undefined ? {} : { keepalive }),
      flags: PeerFlag.REPLACE_ALLOWEDIPS,
      allowedIps: allowed.map((net) => ({
        family: familyOf(net) === 4 ? Af.INET : Af.INET6,
        address: addressOf(net),
        length: lengthOf(net),
      })),
    }],
  };
}
