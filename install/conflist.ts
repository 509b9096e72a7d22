/**
 * The network configuration list that is installed, and what can be learnt from one that is there.
 *
 * @module
 */

/** The list of flannel's manifest, to the letter; earlier versions of twill installed it too. */
const FLANNELS = {
  name: "cbr0",
  cniVersion: "0.3.1",
  plugins: [
    { type: "flannel", delegate: { hairpinMode: true, isDefaultGateway: true } },
    { type: "portmap", capabilities: { portMappings: true } },
  ],
} as const;

/**
 * Ours: the same network, but one plugin, which does what others would do behind it; so a runtime
 * starts one process for each pod. The oldest version is that of podman, the newest has GC and
 * STATUS; a runtime that does not know `cniVersions` takes `cniVersion`.
 */
const OURS = {
  name: FLANNELS.name,
  cniVersion: "1.0.0",
  cniVersions: ["0.4.0", "1.0.0", "1.1.0"],
  plugins: [
    {
      ...FLANNELS.plugins[0],
      capabilities: { portMappings: true, bandwidth: true },
    },
  ],
} as const;

/** The file's text. */
export function conflistText(): string {
  return textOf(OURS);
}

/** True for a text that install writes, or has written. */
export function isKnownConflist(text: string): boolean {
  return text === textOf(OURS) || text === textOf(FLANNELS);
}

function textOf(list: unknown): string {
  return `${JSON.stringify(list, null, 2)}\n`;
}

/** What a list says about the traces that its pods leave on the node. */
export interface Network {
  /** Its name: that of the directory of addresses, and in the comments of rules. */
  readonly name: string;
  /** The bridge that its pods hang on. */
  readonly bridge: string;
}

/** The network of the list that we install. */
export const STOCK_NETWORK: Network = { name: OURS.name, bridge: "cni0" };

/**
 * The network of any list with the plugin `flannel`; undefined for a text that is none.
 *
 * Its name becomes a part of paths, and its bridge one of a deletion: what could be neither counts
 * as absent.
 */
export function networkOf(text: string): Network | undefined {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { name, plugins } = (list ?? {}) as Readonly<Record<string, unknown>>;
  if (typeof name !== "string" || !/^[a-zA-Z0-9][\w.-]*$/.test(name)) return undefined;
  if (!Array.isArray(plugins)) return undefined;
  const flannel = plugins.find((plugin) => plugin?.type === "flannel");
  if (flannel === undefined) return undefined;
  const bridge = flannel.delegate?.bridge;
  const isName = typeof bridge === "string" && /^[^\s/]{1,15}$/.test(bridge);
  return { name, bridge: isName ? bridge : STOCK_NETWORK.bridge };
}

/**
 * The file that a runtime takes: the first by name of those with an ending that it knows
 * (containerd, with its default of one network).
 */
export function chosenConfig(names: readonly string[]): string | undefined {
  return names.filter((name) => /\.(?:conf|conflist|json)$/.test(name)).sort()[0];
}
