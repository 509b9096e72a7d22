/**
 * What `twill` alone says: all commands, and what was probably meant. Pure, and loaded without the
 * command-line library.
 *
 * @module
 */

/** Every first word that twill understands, in the order of the overview. */
export const COMMAND_BRIEFS: readonly (readonly [name: string, brief: string])[] = [
  ["cni", "Answer one request of a container runtime (CNI): environment and stdin in, JSON out"],
  ["daemon", "The node agent: gets this node's subnet and keeps the way to all others open"],
  [
    "inspect",
    "Look, change nothing: status, subnet, routes, peers, pods, rules, leases, check, ...",
  ],
  ["install", "Put the plugins, the network and (if asked) a systemd unit on this node"],
  ["uninstall", "Take every trace of twill, and of flannel, off this node"],
  ["manifest", "Print the Kubernetes objects that run twill on every node"],
  ["completions", "Teach bash, zsh or fish the commands, flags and live names"],
];

const EXAMPLES: readonly (readonly [line: string, what: string])[] = [
  ["twill daemon --help", "all flags of the node agent"],
  ["twill inspect status", "is this node all right?"],
  ["twill inspect peers", "is the way to every other node complete?"],
  ["twill inspect routes --all", "the routing table, said in words"],
  ["twill uninstall --dry-run", "what would go, if twill went"],
  ["CNI_COMMAND=VERSION twill cni", "what a runtime asks first"],
];

/** The text of `twill --help`. */
export function overview(): string {
  const list = (rows: readonly (readonly [string, string])[]): string[] => {
    const width = Math.max(...rows.map(([left]) => left.length));
    return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
  };
  return [
    "twill: the pod network of a node, compatible with flannel",
    "",
    "USAGE",
    "  twill COMMAND [flags]",
    "  twill --help | --version",
    "",
    "COMMANDS",
    ...list(COMMAND_BRIEFS),
    "",
    "EXAMPLES",
    ...list(EXAMPLES),
    "",
    "twill COMMAND --help tells more. Called by the name of a plugin (flannel, bridge, host-local,",
    "portmap, loopback), or with CNI_COMMAND set, twill is that plugin.",
    "",
  ].join("\n");
}

/** The message for a first word that is no command. */
export function unknownCommand(word: string): string {
  const names = [...COMMAND_BRIEFS.map(([name]) => name), "--help", "--version"];
  const near = nearest(word, names);
  const meant = near === undefined ? "" : `; did you mean ${near}?`;
  return `twill: no command ${JSON.stringify(word)}${meant}\nRun: twill --help\n`;
}

/** The name that needs the fewest edits: at most two, or a third of its letters. */
function nearest(word: string, names: readonly string[]): string | undefined {
  const ranked = names.map((name) => ({ name, edits: distance(word, name) }))
    .filter(({ name, edits }) => edits <= Math.max(2, name.length / 3) && edits < name.length)
    .sort((a, b) => a.edits - b.edits);
  return ranked[0]?.name;
}

/** Insertions, deletions, substitutions and swaps of neighbours between two words. */
function distance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row.push(Math.min(
        rows[i - 1]![j]! + 1,
        row[j - 1]! + 1,
        rows[i - 1]![j - 1]! + (same ? 0 : 1),
        swapped ? rows[i - 2]![j - 2]! + 1 : Infinity,
      ));
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
