/**
 * A table of iptables as text: what `iptables-save` prints, and the smallest input for
 * `iptables-restore --noflush` that brings wanted rules in or takes rules of ours out.
 *
 * Chains are made with `-N`: a line `:NAME - [0:0]` would empty a chain that another process made
 * after we looked, whereas `-N` makes the whole transaction fail, and we look again.
 *
 * @module
 */

import { networkOf, parseInet, parseIp } from "../ip.ts";

/** One rule: its chain, and what stands behind `-A CHAIN`, one option or value each. */
export interface IptablesRule {
  readonly chain: string;
  readonly words: readonly string[];
}

/** A rule that is to be there. */
export interface WantedRule extends IptablesRule {
  /** Goes to the head of its chain when it is missing, not to the end. */
  readonly first?: true;
  /** Holds words of the operator's, which iptables may print in a form that we cannot foresee. */
  readonly free?: true;
}

/** Chains and rules that are to be there, in the order in which missing ones are made. */
export interface Wanted {
  readonly chains: readonly string[];
  readonly rules: readonly WantedRule[];
}

/** A table as `iptables-save -t TABLE` prints it. */
export class IptablesTable {
  /** `nat`, `filter`. */
  readonly name: string;
  /** The rules of each chain, as text behind `-A CHAIN `; most are never looked at. */
  readonly #chains = new Map<string, string[]>();

  /** @param text what `iptables-save` printed; a table that is not in it is empty. */
  constructor(name: string, text: string) {
    this.name = name;
    let inside = false;
    for (const line of text.split("\n")) {
      if (line.startsWith("*")) inside = line.slice(1) === name;
      if (!inside) continue;
      const [head = "", chain = ""] = line.split(" ", 2);
      if (head.startsWith(":")) this.#chain(head.slice(1));
      else if (head === "-A") this.#chain(chain).push(line.slice(head.length + chain.length + 2));
    }
  }

  #chain(name: string): string[] {
    const known = this.#chains.get(name);
    if (known !== undefined) return known;
    const rules: string[] = [];
    this.#chains.set(name, rules);
    return rules;
  }

  /** True when the table has a chain of that name. */
  hasChain(chain: string): boolean {
    return this.#chains.has(chain);
  }

  /** The rules of one chain, in their order. */
  rules(chain: string): IptablesRule[] {
    return (this.#chains.get(chain) ?? []).map((text) => ({ chain, words: words(text) }));
  }

  /** The rules anywhere in the table that jump to a chain. */
  jumpsTo(target: string): IptablesRule[] {
    return [...this.#chains].flatMap(([chain, rules]) =>
      rules.filter((text) => text.includes(target))
        .map((text) => ({ chain, words: words(text) }))
        .filter((rule) => targetOf(rule) === target)
    );
  }

  /** True when the chain has a rule of the same meaning; comments do not count. */
  has({ chain, words: wanted }: IptablesRule): boolean {
    const key = meaning(wanted);
    return this.rules(chain).some((rule) => meaning(rule.words) === key);
  }
}

/** The words of a rule as `iptables-save` prints it: quoted ones hold spaces and escapes. */
export function words(text: string): string[] {
  const found: string[] = [];
  for (const [, quoted, plain] of text.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)) {
    found.push(quoted?.replaceAll(/\\(.)/g, "$1") ?? plain ?? "");
  }
  return found;
}

/** A word as `iptables-restore` reads it back. @throws {SyntaxError} for a line break or NUL */
export function quoted(word: string): string {
  if (/[\n\r\0]/.test(word)) {
    throw new SyntaxError(`want words of one line, got ${JSON.stringify(word)}`);
  }
  return /^[\w./:,@%+=!-]+$/.test(word) ? word : `"${word.replaceAll(/["\\]/g, "\\$&")}"`;
}

/** What a rule jumps to: a chain or a target such as DNAT. */
export function targetOf(rule: IptablesRule): string | undefined {
  return valueOf(rule, "-j");
}

/** The value of an option, in the short form that `iptables-save` prints: `-s`, `--comment`. */
export function valueOf({ words }: IptablesRule, option: string): string | undefined {
  const at = words.indexOf(option);
  return at < 0 ? undefined : words[at + 1];
}

/** The forms that operators write, and the one that `iptables-save` prints. */
const PRINTED: Readonly<Record<string, string>> = {
  "--source": "-s",
  "--src": "-s",
  "--destination": "-d",
  "--dst": "-d",
  "--protocol": "-p",
  "--proto": "-p",
  "--in-interface": "-i",
  "--out-interface": "-o",
  "--jump": "-j",
  "--goto": "-g",
  "--match": "-m",
  "--source-port": "--sport",
  "--destination-port": "--dport",
  "--source-ports": "--sports",
  "--destination-ports": "--dports",
};

/** Modules that do nothing but carry options of ours. */
const CARRIERS = ["comment", "tcp", "udp", "sctp", "multiport", "addrtype", "mark"];

/**
 * A rule's meaning, for comparison: options in one spelling and one order, without the modules
 * that only carry them and without comments.
 */
export function meaning(words: readonly string[]): string {
  const options: string[][] = [];
  let not = "";
  for (const word of words) {
    if (word === "!") not = "! ";
    else if (/^-[^\d]/.test(word) || options.length === 0) {
      options.push([`${not}${PRINTED[word] ?? word}`]);
      not = "";
    } else options.at(-1)?.push(word);
  }
  return JSON.stringify(
    options.map(([option = "", ...values]) => [option, ...values.map((v) => value(option, v))])
      .filter(([option = "", first = ""]) => !saysNothing(option, first))
      .sort((a, b) => a.join(" ") < b.join(" ") ? -1 : 1),
  );
}

function value(option: string, text: string): string {
  if (!/^(?:! )?-[sd]$/.test(option)) return text;
  try {
    const length = text.includes(":") ? 128 : 32;
    return networkOf(parseInet(text.includes("/") ? text : `${parseIp(text)}/${length}`));
  } catch {
    return text;
  }
}

function saysNothing(option: string, value: string): boolean {
  switch (option) {
    case "-m":
      return CARRIERS.includes(value);
    case "--comment":
      return true;
    case "-s":
    case "-d":
      return value === "0.0.0.0/0" || value === "::/0";
  }
  return false;
}

/** What of the wanted is not there yet; what is wanted twice is missing once. */
export function missing(table: IptablesTable, wanted: Wanted): Wanted {
  const rules = new Map<string, WantedRule>();
  for (const rule of wanted.rules) {
    const key = `${rule.chain} ${meaning(rule.words)}`;
    if (!rules.has(key) && !table.has(rule)) rules.set(key, rule);
  }
  return {
    chains: wanted.chains.filter((chain) => !table.hasChain(chain)),
    rules: [...rules.values()],
  };
}

/** The input that makes chains and adds rules; empty when there is nothing to add. */
export function additionText(table: string, { chains, rules }: Wanted): string {
  return restoreText(table, [
    ...chains.map((chain) => `-N ${chain}`),
    ...rules.map(({ chain, words, first }) =>
      [first ? `-I ${chain} 1` : `-A ${chain}`, ...words.map(quoted)].join(" ")
    ),
  ]);
}

/**
 * The input that takes rules out, then empties and deletes chains; empty when there is nothing to
 * take. Chains that do not exist are left out.
 */
export function removalText(
  table: IptablesTable,
  rules: readonly IptablesRule[],
  chains: readonly string[],
): string {
  const present = chains.filter((chain) => table.hasChain(chain));
  return restoreText(table.name, [
    ...rules.map(({ chain, words }) => ["-D", chain, ...words.map(quoted)].join(" ")),
    ...present.map((chain) => `-F ${chain}`),
    ...present.map((chain) => `-X ${chain}`),
  ]);
}

/** {@link removalText} for whole chains: every jump to them goes with them. */
export function chainRemovalText(table: IptablesTable, chains: readonly string[]): string {
  return removalText(table, chains.flatMap((chain) => table.jumpsTo(chain)), chains);
}

function restoreText(table: string, lines: readonly string[]): string {
  return lines.length === 0 ? "" : `*${table}\n${lines.join("\n")}\nCOMMIT\n`;
}

/** The longest comment, bytes (`XT_MAX_COMMENT_LEN` with its zero byte, linux/netfilter). */
export const LONGEST_COMMENT = 255;

/** The comment by which an attachment's rules are known. */
export function ruleComment(network: string, containerId: string): string {
  return `name: "${network}" id: "${containerId}"`;
}

/** Network and container of a {@link ruleComment}, also one with `prefix` in front. */
export function commentOwner(
  rule: IptablesRule,
  prefix = "",
): { readonly network: string; readonly containerId: string } | undefined {
  const comment = valueOf(rule, "--comment") ?? "";
  if (!comment.startsWith(prefix)) return undefined;
  const match = /^name: "([^"]*)" id: "([^"]*)"$/.exec(comment.slice(prefix.length));
  if (match === null) return undefined;
  const [, network = "", containerId = ""] = match;
  return { network, containerId };
}
