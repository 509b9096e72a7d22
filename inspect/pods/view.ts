/**
 * What the sources of `pods` tell, before it is joined.
 *
 * @module
 */

import type { Ip } from "../../engine/ip.ts";
import type { LinkView } from "../../ffi/netns_view.ts";

/** An address that host-local has given out. */
export interface Reservation {
  readonly network: string;
  readonly ip: Ip;
  /** Empty where a plugin died while it wrote. */
  readonly containerId: string;
  /** Absent in very old files. */
  readonly ifname?: string;
}

/** What the runtime's library remembers of one attachment (libcni's results cache). */
export interface Attachment {
  readonly network: string;
  readonly containerId: string;
  readonly ifname: string;
  readonly netns?: string;
  /** `K8S_POD_NAMESPACE`. */
  readonly namespace?: string;
  /** `K8S_POD_NAME`. */
  readonly name?: string;
  readonly ips: readonly Ip[];
  /** The pod's end of the pair. */
  readonly mac?: string;
  /** The node's end. */
  readonly veth?: string;
}

/** A network namespace that has a name. */
export interface Namespace {
  readonly path: string;
  readonly links: readonly LinkView[];
}

/** All sources. */
export interface PodSources {
  readonly reservations: readonly Reservation[];
  readonly attachments: readonly Attachment[];
  readonly namespaces: readonly Namespace[];
  /** The node's own links. */
  readonly host: readonly LinkView[];
  /** Namespaces could be looked into: what is not in any of them is nowhere. */
  readonly entered: boolean;
  readonly notes: readonly string[];
}

/** How `pods` looks into the kernel. */
export interface PodTools {
  /** See `ffi/netns_view.ts`. @throws {OpError} */
  readonly view: (netns?: string) => readonly LinkView[];
}
