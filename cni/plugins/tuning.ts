/**
 * tuning: kernel settings of a pod, and settings of its interface. A chained plugin. Settings of
 * the interface are put back by DEL, since a physical one returns to the node; the pod's kernel
 * settings end with the pod.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import type { Mac } from "../../engine/mac.ts";
import {
  type LinkSetting,
  type LinkSettings,
  readLinkSettings,
  writeLinkSettings,
} from "../../ffi/link_settings.ts";
import { NetlinkSocket } from "../../ffi/netlink/socket.ts";
import { isNetns, within } from "../../ffi/netns.ts";
import { readSysctl, writeSysctl } from "../../ffi/sysctl.ts";
import { validAttachments } from "../attachments.ts";
import { CniError, readConfig } from "../errors.ts";
import type { Plugin, Request } from "../plugin.ts";
import { quietly } from "../quietly.ts";
import type { Result } from "../result.ts";
import { Backups } from "../tuning/backup.ts";
import {
  checkAllowed,
  dataDirOf,
  readAllowList,
  type Sysctl,
  tuningConfig,
} from "../tuning/config.ts";
import { VERSIONS } from "../versions.ts";

/** The plugin `tuning`. */
export const tuning: Plugin = {
  name: "tuning",
  about: "CNI tuning plugin: kernel settings of a pod, and settings of its interface",
  versions: VERSIONS,

  add(request: Request): Result {
    const { sysctls, link } = tuningConfig(request);
    checkAllowed(sysctls);
    const result = request.requirePrevResult();
    const backups = new Backups(dataDirOf(request));
    inPod(request, () => {
      using undo = new DisposableStack();
      for (const sysctl of sysctls) setSysctl(request, sysctl, undo);
      if (Object.keys(link).length > 0) tuneLink(request, link, backups, undo);
      undo.move();
    });
    return link.mac === undefined ? result : withMac(result, request.ifname, link.mac);
  },

  check(request: Request): void {
    const { sysctls, link } = tuningConfig(request);
    request.requirePrevResult();
    inPod(request, () => {
      for (const sysctl of sysctls) checkSysctl(request, sysctl);
      checkLink(request, { promisc: false, ...link });
    });
  },

  /** Everything that may be wrong here is past mending: the pod goes. */
  del(request: Request): void {
    const backups = new Backups(dataDirOf(request));
    quietly(request, () => {
      const before = backups.find(request);
      if (before === undefined || request.netns === "" || !isNetns(request.netns)) return;
      inPod(request, () => {
        using socket = new NetlinkSocket();
        writeLinkSettings(socket, request.ifname, before);
      });
    });
    backups.remove(request);
  },

  gc(request: Request): void {
    const dir = dataDirOf(request);
    const valid = readConfig("failed to load netconf", () => validAttachments(request.config));
    if (valid !== undefined) new Backups(dir).retain(request.network, valid);
  },

  status(request: Request): void {
    try {
      tuningConfig(request);
      readAllowList();
    } catch (error) {
      throw new CniError(ErrorCode.notAvailable, messageOf(error), undefined, error);
    }
  },
};

function inPod(request: Request, work: () => void): void {
  try {
    within(request.netns, work);
  } catch (cause) {
    if (!(cause instanceof OpError)) throw cause;
    const words = cause.object === request.netns
      ? `failed to open netns ${JSON.stringify(request.netns)}: ${cause.kernel}`
      : cause.message;
    throw failed(request, words, cause);
  }
}

/** Writes a setting; `undo` writes back what was there. */
function setSysctl(request: Request, { key, value }: Sysctl, undo: DisposableStack): void {
  const before = readable(key);
  writeSysctl(key, value);
  if (before !== undefined) undo.defer(() => quietly(request, () => writeSysctl(key, before)));
}

/** Undefined for settings that can only be written. */
function readable(key: string): string | undefined {
  try {
    return readSysctl(key);
  } catch {
    return undefined;
  }
}

function tuneLink(
  request: Request,
  wanted: LinkSettings,
  backups: Backups,
  undo: DisposableStack,
): void {
  using socket = new NetlinkSocket();
  const before = only(readLinkSettings(socket, request.ifname), wanted);
  const known = backups.find(request) !== undefined;
  backups.put(request, request.network, before);
  if (!known) undo.defer(() => quietly(request, () => backups.remove(request)));
  try {
    writeLinkSettings(socket, request.ifname, wanted);
  } catch (error) {
    quietly(request, () => writeLinkSettings(socket, request.ifname, before));
    throw error;
  }
}

/** Those settings of the first that the second has. */
function only(all: LinkSettings, wanted: LinkSettings): LinkSettings {
  return Object.fromEntries(Object.entries(all).filter(([name]) => name in wanted));
}

function withMac(result: Result, ifname: string, mac: Mac): Result {
  return {
    ...result,
    interfaces: result.interfaces.map((one) =>
      one.name === ifname && one.sandbox !== undefined ? { ...one, mac } : one
    ),
  };
}

function checkSysctl(request: Request, { name, key, value }: Sysctl): void {
  const have = readSysctl(key);
  // The kernel separates several numbers by tabs, whatever was written.
  if (have?.split(/\s+/).join(" ") === value.trim().split(/\s+/).join(" ")) return;
  throw bad(request, `sysctl ${name} is ${have ?? "unknown to the kernel"}, should be ${value}`);
}

function checkLink(request: Request, wanted: LinkSettings): void {
  using socket = new NetlinkSocket();
  const have = readLinkSettings(socket, request.ifname);
  for (const name of Object.keys(wanted) as LinkSetting[]) {
    if (have[name] === wanted[name]) continue;
    throw bad(request, `${name} of ${request.ifname} is ${have[name]}, should be ${wanted[name]}`);
  }
}

function bad(request: Request, words: string): OpError {
  return new OpError("confirm", `${request.containerId} ${request.ifname}`, {
    code: ErrorCode.plugin,
    kernel: words,
    advice: "Delete the pod; its replacement is tuned anew",
  });
}

function failed(request: Request, kernel: string, cause: OpError): OpError {
  return new OpError(`${request.command} tuning of`, request.containerId, {
    code: ErrorCode.plugin,
    errno: cause.errno,
    kernel,
    cause,
  });
}
