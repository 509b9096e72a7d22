/**
 * The IFB device of an attachment, through which everything goes that the pod sends.
 *
 * Its name is a hash of network and container, as the reference plugin's is, so that either removes
 * what the other made. But a container may have a second interface in one network, and the device
 * of the first must stay when the second goes. So the device's alias tells whose it is, and a
 * second interface's device has a name of its own. GC goes by the alias too.
 *
 * @module
 */

import { attachmentMark, networkMark } from "../../engine/rules/masquerade.ts";
import { sha512 } from "../../engine/sha512.ts";
import type { Link } from "../../ffi/reader.ts";
import type { Traffic } from "../../ffi/traffic.ts";
import type { Attachment } from "../attachments.ts";

/** Of all IFB devices that are made for pods. */
const PREFIX = "bwp";
/** An interface's name has at most 15 bytes. */
const DIGITS = 12;
/** An alias has at most 255 bytes; the hashes in front make it unique. */
const ALIAS_LENGTH = 128;

function nameOf(hashed: string): string {
  return `${PREFIX}${sha512(hashed).slice(0, DIGITS)}`;
}

/** The name by which every bandwidth plugin looks for the device. */
export function plainName(network: string, { containerId }: Attachment): string {
  return nameOf(network + containerId);
}

/** The name of a second interface's device. */
export function ownName(network: string, { containerId, ifname }: Attachment): string {
  return nameOf(`${network}/${containerId}/${ifname}`);
}

/** The alias: hashes of the network and the attachment for us, the rest for people. */
export function aliasOf(network: string, { containerId, ifname }: Attachment): string {
  const mark = attachmentMark({ network, containerId, ifname });
  const text = `${mark}, net: ${network}, if: ${ifname}, id: ${containerId}`;
  return text.replaceAll(/[^ -~]/g, "?").slice(0, ALIAS_LENGTH);
}

function aliasOn(link: Link): string | undefined {
  return link.message.attributes.alias;
}

/** The device of an attachment. One without an alias is the reference plugin's. */
export function findIfb(traffic: Traffic, network: string, owner: Attachment): Link | undefined {
  const alias = aliasOf(network, owner);
  const plain = traffic.link(plainName(network, owner));
  if (plain !== undefined && (aliasOn(plain) ?? alias) === alias) return plain;
  const own = traffic.link(ownName(network, owner));
  return own !== undefined && aliasOn(own) === alias ? own : undefined;
}

/**
 * Makes the device of an attachment.
 *
 * @param mtu bytes.
 * @throws {OpError} also when there is one already.
 */
export function makeIfb(traffic: Traffic, network: string, owner: Attachment, mtu: number): Link {
  const [plain, alias] = [plainName(network, owner), aliasOf(network, owner)];
  const older = traffic.link(plain);
  const foreign = older !== undefined && (aliasOn(older) ?? alias) !== alias;
  return traffic.addIfb(foreign ? ownName(network, owner) : plain, alias, mtu);
}

/** Names of the network's devices that belong to none of the attachments. */
export function staleIfbs(
  links: readonly Link[],
  network: string,
  valid: readonly Attachment[],
): string[] {
  const keep = new Set(valid.map((owner) => aliasOf(network, owner)));
  return links.filter((link) => {
    const alias = aliasOn(link) ?? "";
    return link.kind === "ifb" && link.name.startsWith(PREFIX) &&
      alias.startsWith(networkMark(network)) && !keep.has(alias);
  }).map((link) => link.name);
}
