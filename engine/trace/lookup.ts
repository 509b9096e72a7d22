/**
 * The kernel's routing decision as data: what is asked, and what it answers. The kernel decides
 * (`RTM_GETROUTE`), we only say it in words.
 *
 * @module
 */

import type { Cidr, Ip } from "../ip.ts";

/** What the kernel is asked. */
export interface RouteQuestion {
  readonly to: Ip;
  readonly from?: Ip;
  /** The packet comes in by this link and is to be forwarded; absent: it is sent from here. */
  readonly iif?: string;
  /** The packet's mark. */
  readonly mark?: number;
}

/** The entry of the routing table that decided. */
export interface RouteEntry {
  readonly dst: Cidr;
  /** `rtm_protocol`. */
  readonly protocol: number;
  readonly metric: number;
  readonly table: number;
}

/** What it answers. */
export type RouteAnswer =
  | {
    readonly kind: "found";
    /** The outgoing link. */
    readonly dev: string;
    readonly via?: Ip;
    /** The source that a packet sent from here gets. */
    readonly src?: Ip;
    /** Bytes, where the route limits its packets. */
    readonly mtu?: number;
    readonly entry?: RouteEntry;
  }
  /** The destination is this very host. */
  | { readonly kind: "local"; readonly dev: string }
  /** The packet goes nowhere. */
  | { readonly kind: "none"; readonly errno: number; readonly words: string };
