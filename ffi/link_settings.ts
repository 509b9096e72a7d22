/**
 * Settings of one link that are no facts of ours: a plugin sets them on behalf of the operator, and
 * puts back what was there before. For the calling thread's network namespace.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import type { Mac } from "../engine/mac.ts";
import { Errno, errnoText } from "./errno.ts";
import { Iff, type LinkMessage, writeLink } from "./netlink/link.ts";
import type { NetlinkSocket } from "./netlink/socket.ts";
import { readLinkByName } from "./reader.ts";
import { Rtm } from "./netlink/rtnetlink.ts";

/** What can be set; absent members are left alone. */
export interface LinkSettings {
  readonly mac?: Mac;
  /** The link takes every frame. */
  readonly promisc?: boolean;
  /** Bytes. */
  readonly mtu?: number;
  /** The link takes every multicast frame. */
  readonly allmulti?: boolean;
  /** Transmit queue, packets. */
  readonly txQueueLength?: number;
}

/** One of {@link LinkSettings}. */
export type LinkSetting = keyof LinkSettings;

/** Every setting of a link; links without a MAC address have none here. @throws {OpError} */
export function readLinkSettings(socket: NetlinkSocket, name: string): LinkSettings {
  const link = readLinkByName(socket, name);
  if (link === undefined) {
    throw new OpError("read the settings of link", name, {
      code: ErrorCode.kernel,
      errno: Errno.ENODEV,
      kernel: errnoText(Errno.ENODEV),
    });
  }
  return {
    ...(link.mac === undefined ? {} : { mac: link.mac }),
    promisc: (link.flags & Iff.PROMISC) !== 0,
    mtu: link.mtu,
    allmulti: (link.flags & Iff.ALLMULTI) !== 0,
    txQueueLength: link.message.attributes.txQueueLength ?? 0,
  };
}

/**
 * Sets what is given, each setting on its own, so that a refusal names the one that is meant.
 *
 * @throws {OpError} for the first that the kernel refused; the others are set all the same.
 */
export function writeLinkSettings(
  socket: NetlinkSocket,
  name: string,
  settings: LinkSettings,
): void {
  const given = (Object.keys(settings) as LinkSetting[]).filter((s) => settings[s] !== undefined);
  const answers = socket.request(given.map((setting) => ({
    type: Rtm.NEWLINK,
    flags: 0,
    body: (out) => writeLink(out, messageOf(name, setting, settings)),
  })));
  answers.forEach(({ errno, words }, i) => {
    if (errno === 0) return;
    const setting = given[i] ?? "mac";
    throw new OpError("set", `${setting} ${settings[setting]} of link ${name}`, {
      code: ErrorCode.kernel,
      errno,
      kernel: words ?? errnoText(errno),
    });
  });
}

function messageOf(name: string, setting: LinkSetting, settings: LinkSettings): LinkMessage {
  const flag = (bit: number): LinkMessage => ({
    flags: settings[setting] ? bit : 0,
    change: bit,
    attributes: { name },
  });
  switch (setting) {
    case "mac":
      return { attributes: { name, address: settings.mac } };
    case "promisc":
      return flag(Iff.PROMISC);
    case "mtu":
      return { attributes: { name, mtu: settings.mtu ?? 0 } };
    case "allmulti":
      return flag(Iff.ALLMULTI);
    case "txQueueLength":
      return { attributes: { name, txQueueLength: settings.txQueueLength ?? 0 } };
  }
}
