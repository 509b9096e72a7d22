/**
 * The plugin types that this program serves. `mod.ts` reads this list to learn what it was called
 * as, before anything else is loaded; so nothing may be imported here.
 *
 * @module
 */

/** Every plugin type, as it stands in `type` of a configuration and as the file is called. */
export const PLUGIN_NAMES = [
  "flannel",
  "bridge",
  "host-local",
  "portmap",
  "loopback",
  "tuning",
  "bandwidth",
  "firewall",
] as const;

/** One of {@link PLUGIN_NAMES}. */
export type PluginName = (typeof PLUGIN_NAMES)[number];

/** True when the text is a plugin type that we serve. */
export function isPluginName(text: string | undefined): text is PluginName {
  return PLUGIN_NAMES.some((name) => name === text);
}
