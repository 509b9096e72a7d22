/**
 * From a plugin's type to its code. Each import has a literal specifier, so that the compiler
 * embeds the module, and happens only when that plugin is asked for: start-up time is a feature.
 *
 * @module
 */

import type { PluginName } from "./names.ts";
import type { Plugin } from "./plugin.ts";

/** Those that were loaded: even a module that is there already takes its time to import. */
const loaded = new Map<PluginName, Plugin>();

/** Loads one plugin, and nothing of the others. */
export async function loadPlugin(name: PluginName): Promise<Plugin> {
  const known = loaded.get(name);
  if (known !== undefined) return known;
  const plugin = await load(name);
  loaded.set(name, plugin);
  return plugin;
}

async function load(name: PluginName): Promise<Plugin> {
  switch (name) {
    case "flannel":
      return (await import("./plugins/flannel.ts")).flannel;
    case "bridge":
      return (await import("./plugins/bridge.ts")).bridge;
    case "host-local":
      return (await import("./plugins/host_local.ts")).hostLocal;
    case "portmap":
      return (await import("./plugins/portmap.ts")).portmap;
    case "loopback":
      return (await import("./plugins/loopback.ts")).loopback;
    case "tuning":
      return (await import("./plugins/tuning.ts")).tuning;
    case "bandwidth":
      return (await import("./plugins/bandwidth.ts")).bandwidth;
    case "firewall":
      return (await import("./plugins/firewall.ts")).firewall;
  }
}
