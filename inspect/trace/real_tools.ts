/**
 * The tools of `trace` on a real node.
 *
 * @module
 */

import { parseListing } from "../../engine/rules/nft_listing.ts";
import { hasIptables, saveTable } from "../../ffi/iptables_sync.ts";
import { Kernel } from "../../ffi/kernel.ts";
import { sendMarked } from "../../ffi/live_trace.ts";
import { listTable, nft } from "../../ffi/nft.ts";
import type { TraceTools } from "./tools.ts";

/** They hold the node's netlink socket, and one for each namespace that was asked. */
export function realTraceTools(): TraceTools {
  const kernels = new Map<string, Kernel>();
  const kernelOf = (netns: string | undefined): Kernel => {
    const known = kernels.get(netns ?? "");
    if (known !== undefined) return known;
    const kernel = Kernel.open(netns === undefined ? {} : { pod: netns });
    kernels.set(netns ?? "", kernel);
    return kernel;
  };
  return {
    lookUp: (netns, question) =>
      kernelOf(netns).lookUp(netns === undefined ? "host" : "pod", question),
    ruleText: (table, chain, handle) =>
      parseListing(listTable(table, undefined, "handles")).get(chain)
        ?.find((rule) => BigInt(rule.handle) === handle)?.text,
    token: () => 20_000 + crypto.getRandomValues(new Uint16Array(1))[0]! % 40_000,
    live: sendMarked,
    ruleset: () => nft("list ruleset\n"),
    iptables: (family, table) => hasIptables(family) ? saveTable(family, table) : undefined,
    [Symbol.dispose]: () => {
      for (const kernel of kernels.values()) kernel[Symbol.dispose]();
    },
  };
}
