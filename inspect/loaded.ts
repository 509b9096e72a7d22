/**
 * The parts of the real world that need much code; each is loaded when a command asks for it.
 *
 * @module
 */

import { has, type Loaded } from "./real_context.ts";

/** See the module. */
export const LOADED: Loaded = {
  open: async () => (await import("../ffi/kernel.ts")).Kernel.open(),
  traceTools: async () => (await import("./trace/real_tools.ts")).realTraceTools(),
  checkTools: async () => (await import("./check/real_tools.ts")).realTools(),
  policyTools: async () => {
    const [{ listTable }, { policyCounts, policyDrops }] = await Promise.all([
      import("../ffi/nft.ts"),
      import("../ffi/policy_drops.ts"),
    ]);
    return { table: (name) => listTable(name), counts: policyCounts, drops: policyDrops };
  },
  podTools: async () => ({ view: (await import("../ffi/netns_view.ts")).viewNetns }),
  ruleTools: async () => {
    const { readLegacyRules, readNftRules } = await import("../ffi/rulesets.ts");
    return { read: () => ({ nft: readNftRules(), legacy: readLegacyRules() }) };
  },
  changes: async function* (signal, paths): AsyncGenerator<void> {
    yield* (await import("./changes.ts")).changes(signal, paths, has("CAP_NET_ADMIN"));
  },
};
