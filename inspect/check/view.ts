/**
 * All that `check` knows of a node before it judges: gathered once, judged by pure functions.
 *
 * @module
 */

import type { Fact } from "../../engine/fact.ts";
import type { Ip } from "../../engine/ip.ts";
import type { RouteAnswer } from "../../engine/trace/lookup.ts";
import type { Knowledge } from "../knowledge.ts";
import type { Overlay } from "../overlay.ts";

/** What was read, or why it could not be. */
export type Known<T> =
  | { readonly kind: "known"; readonly value: T }
  | { readonly kind: "missing" }
  | { readonly kind: "unknown"; readonly why: string };

/** A kernel feature, tried in a network namespace of its own. */
export interface Feature {
  /** `vxlan`, `bridge`, `veth`, `nft`. */
  readonly name: string;
  /** The kernel's words where it refused. */
  readonly refused?: string;
}

/** A network configuration in the runtime's directory. */
export interface ConfigFile {
  readonly name: string;
  readonly text: string;
}

/** A node as `check` sees it. */
export interface NodeView {
  readonly overlay: Overlay;
  /** Something of a pod network of ours or flannel's is here; else this is a check before it. */
  readonly installed: boolean;
  /** By path below `/proc/sys/`; what this kernel lacks is absent. */
  readonly sysctls: ReadonlyMap<string, string>;
  readonly features: Known<readonly Feature[]>;
  /** What the daemon says of itself and of the leases. */
  readonly known: Knowledge;
  /** Links, addresses, routes, neighbours and forwarding entries, as the backend wants them read. */
  readonly facts: readonly Fact[];
  /** Rule tables and chains of ours and of flannel. */
  readonly rules: Known<readonly Fact[]>;
  readonly confDir: string;
  /** In the order in which a runtime looks at them. */
  readonly configs: Known<readonly ConfigFile[]>;
  readonly binDirs: readonly string[];
  /** Names of the files in these directories; missing when there is none of them. */
  readonly plugins: Known<readonly string[]>;
  readonly networksDir: string;
  /** Reserved addresses of the chosen network. */
  readonly reserved: Known<readonly Ip[]>;
  /** The way that the kernel would send a packet from this node; by destination. */
  readonly ways: ReadonlyMap<Ip, RouteAnswer>;
  /** `Date.now()`. */
  readonly now: number;
}
