/**
 * Packets between pods on one bridge pass the rules only while br_netfilter hands them over.
 *
 * @module
 */

import { OpError } from "../../engine/errors.ts";
import { readSysctl, writeSysctl } from "../../ffi/sysctl.ts";

/** The switch of each family, below `/proc/sys/`; there only while the module is loaded. */
const SWITCHES = ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"];

/**
 * Switches it on where it is off, which is what Kubernetes asks of nodes.
 *
 * @param needed some pod of this node is isolated.
 * @returns Why policies between pods of this node are not enforced; undefined when they are.
 */
export function bridgeProblem(needed: boolean): string | undefined {
  if (!needed) return undefined;
  const words = "Policies between pods of this node are not enforced: ";
  for (const key of SWITCHES) {
    const value = readSysctl(key);
    if (value === undefined) {
      return `${words}the kernel has no br_netfilter. Load it (modprobe br_netfilter), now and at ` +
        "every boot (/etc/modules-load.d)";
    }
    if (value === "1") continue;
    try {
      writeSysctl(key, "1");
    } catch (e) {
      if (!(e instanceof OpError)) throw e;
      return `${words}${e.message}. Set ${key.replaceAll("/", ".")}=1`;
    }
  }
  return undefined;
}
