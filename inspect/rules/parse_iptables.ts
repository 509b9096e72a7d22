/**
 * Reads what `iptables-legacy-save` prints. Pure, and never fails: what it does not understand
 * stays text.
 *
 * @module
 */

import type { Chain, Clause, Hook, Rule, Verdict } from "./model.ts";
import { HOOKS } from "./model.ts";
import { netsOf, portsOf } from "./values.ts";

/** Where iptables hangs its tables, linux/netfilter_ipv4.h. */
const PRIORITIES: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  nat: -100,
  filter: 0,
  security: 50,
};

/** Source addresses are changed last. */
function priorityOf(table: string, hook: Hook): number {
  const source = table === "nat" && (hook === "postrouting" || hook === "input");
  return source ? 100 : PRIORITIES[table] ?? 0;
}

/** The chains of all tables. */
export function parseIptables(text: string, family: "ip" | "ip6"): Chain[] {
  const chains: Chain[] = [];
  let table = "";
  let found = new Map<string, { base?: NonNullable<Chain["base"]>; rules: Rule[] }>();
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) {
      table = line.slice(1).trim();
      found = new Map();
    } else if (line.startsWith(":")) {
      const [name = "", policy = "-"] = line.slice(1).split(" ");
      const hook = HOOKS.find((one) => one === name.toLowerCase());
      found.set(name, {
        rules: [],
        ...(policy === "-" || hook === undefined ? {} : {
          base: {
            hook,
            type: table === "nat" ? "nat" : "filter",
            priority: priorityOf(table, hook),
            policy: policy === "DROP" ? "drop" as const : "accept" as const,
          },
        }),
      });
    } else if (line.startsWith("-A ")) {
      const [, name = "", rule = ""] = /^-A (\S+)\s*(.*)$/.exec(line) ?? [];
      found.get(name)?.rules.push(readRule(rule));
    } else if (line === "COMMIT") {
      for (const [name, chain] of found) {
        chains.push({ program: "legacy", family, table, name, ...chain });
      }
    }
  }
  return chains;
}

/** One rule, behind its chain's name. */
export function readRule(text: string): Rule {
  const words = (text.match(/"(?:\\.|[^"\\])*"|\S+/g) ?? []).map((word) =>
    word.startsWith('"') ? word.slice(1, -1).replace(/\\(.)/g, "$1") : word
  );
  const clauses: Clause[] = [];
  const rest: string[] = [];
  let verdict: Verdict = { kind: "continue" };
  let comment: string | undefined;
  let not = false;
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    const argument = (): string => words[++at] ?? "";
    const clause = (one: Clause | undefined, text: string): void => {
      clauses.push(one ?? { kind: "other", not, text: `${word} ${text}` });
    };
    switch (word) {
      case "!":
        not = true;
        continue;
      case "-s":
      case "-d": {
        const text = argument();
        const nets = netsOf(text.split(","));
        clause(nets && { kind: word === "-s" ? "source" : "destination", not, nets }, text);
        break;
      }
      case "-i":
      case "-o":
        clauses.push({ kind: word === "-i" ? "in" : "out", not, names: [argument()] });
        break;
      case "-p":
        clauses.push({ kind: "protocol", not, names: [argument()] });
        break;
      case "--dport":
      case "--dports":
      case "--sport":
      case "--sports": {
        const text = argument();
        const ports = portsOf(text.split(","));
        const kind = word.startsWith("--d") ? "destination-port" : "source-port";
        clause(ports && { kind, not, ports }, text);
        break;
      }
      case "--ctstate":
      case "--state":
        clauses.push({ kind: "state", not, states: argument().toLowerCase().split(",") });
        break;
      case "--mark": {
        const [value = "0", mask = "0xffffffff"] = argument().split("/");
        clauses.push({ kind: "mark", not, value: Number(value), mask: Number(mask) });
        break;
      }
      case "--src-type":
      case "--dst-type": {
        const text = argument();
        const kind = word === "--src-type" ? "source-local" : "destination-local";
        clause(text === "LOCAL" ? { kind, not } : undefined, text);
        break;
      }
      case "--comment":
        comment = argument();
        break;
      case "-m":
        at++;
        break;
      case "-j":
      case "-g":
        verdict = verdictOf(word, argument(), words.slice(at + 1));
        at = words.length;
        break;
      default:
        rest.push(not ? `! ${word}` : word);
    }
    not = false;
  }
  if (rest.length > 0) clauses.push({ kind: "other", not: false, text: rest.join(" ") });
  return { clauses, verdict, text, ...(comment === undefined ? {} : { comment }) };
}

function verdictOf(word: string, target: string, options: readonly string[]): Verdict {
  if (word === "-g") return { kind: "goto", chain: target };
  const text = options.join(" ");
  const to = options[1] ?? "";
  switch (target) {
    case "ACCEPT":
      return { kind: "accept" };
    case "DROP":
      return { kind: "drop" };
    case "REJECT":
      return { kind: "reject" };
    case "RETURN":
      return { kind: "return" };
    case "MASQUERADE":
      return { kind: "masquerade" };
    case "SNAT":
      return { kind: "snat", to };
    case "DNAT":
      return { kind: "dnat", to };
    case "REDIRECT":
      return { kind: "redirect", to };
    case "MARK":
      return { kind: "mark", text };
    case "LOG":
    case "NFLOG":
      return { kind: "continue" };
    // Targets of the kernel are in capitals, and so are most chains: the options tell them apart.
    default:
      return options.length > 0 || target === "NOTRACK" || target === "TRACE"
        ? { kind: "other", text: `${target} ${text}`.trim() }
        : { kind: "jump", chain: target };
  }
}
