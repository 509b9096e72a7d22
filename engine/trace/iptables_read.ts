/**
 * The lines of `iptables-save` as tables for the evaluator. Pure.
 *
 * @module
 */

import type { Family } from "../ip.ts";
import { parseIp } from "../ip.ts";
import { readIpRange, readNumberRange } from "./ranges.ts";
import {
  type Action,
  ALL_BITS,
  type Base,
  type Hook,
  type Match,
  type TraceChain,
  type TraceRule,
  type TraceTable,
} from "./rules.ts";

/** Hook and priority of the built-in chains, linux/netfilter_ipv4.h. */
const HOOKS: Readonly<Record<string, Hook>> = {
  PREROUTING: "prerouting",
  INPUT: "input",
  FORWARD: "forward",
  OUTPUT: "output",
  POSTROUTING: "postrouting",
};
const PRIORITIES: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  nat: -100,
  filter: 0,
  security: 50,
};
/** Source addresses are translated last. */
const SOURCE_NAT = 100;

/** Reads the output of `iptables-save`, one or several tables. */
export function readIptables(text: string, family: Family): TraceTable[] {
  const tables: TraceTable[] = [];
  let name = "";
  let chains = new Map<string, { base?: Base; rules: TraceRule[] }>();
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) {
      name = line.slice(1).trim();
      chains = new Map();
    } else if (line.startsWith(":")) {
      const [chain = "", policy = "-"] = line.slice(1).split(" ");
      const base = baseOf(name, chain, policy);
      chains.set(chain, { ...(base && { base }), rules: [] });
    } else if (line.startsWith("-A ")) {
      const [chain, rule] = readRule(line);
      chains.get(chain)?.rules.push(rule);
    } else if (line === "COMMIT") {
      const program = family === 4 ? "iptables" : "ip6tables";
      tables.push({
        name: `${program} -t ${name}`,
        family,
        chains: new Map(
          [...chains].map((
            [chain, rest],
          ): [string, TraceChain] => [chain, { name: chain, ...rest }]),
        ),
      });
    }
  }
  return tables;
}

function baseOf(table: string, chain: string, policy: string): Base | undefined {
  const hook = HOOKS[chain];
  if (hook === undefined || policy === "-") return undefined;
  const late = table === "nat" && (hook === "postrouting" || hook === "input");
  return {
    hook,
    type: table === "nat" ? "nat" : "filter",
    priority: late ? SOURCE_NAT : PRIORITIES[table] ?? 0,
    policy: policy === "DROP" ? "drop" : "accept",
  };
}

/** Words of a line; what stands in quotes is one. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)].map(([, quoted, plain]) =>
    quoted ?? plain ?? ""
  );
}

/** Options that take no word and mean nothing for the verdict. */
const QUIET = new Set(["--random-fully", "--random", "--rsource", "--rdest", "--reap", "--set"]);

/** Options that take a word and only say more about another one. */
const ASIDE = new Set([
  "--probability",
  "--every",
  "--packet",
  "--name",
  "--mask",
  "--seconds",
  "--hitcount",
  "--nfacct-name",
]);

/** No condition at all. */
const NOTHING: Match = { kind: "unknown", text: "" };

function readRule(line: string): [chain: string, rule: TraceRule] {
  const [, chain = "", ...words] = wordsOf(line);
  const matches: Match[] = [];
  const actions: Action[] = [];
  let not = false;
  for (let at = 0; at < words.length;) {
    const option = words[at++]!;
    if (option === "!") {
      not = true;
      continue;
    }
    const word = (): string => words[at++] ?? "";
    if (option === "-j" || option === "-g") {
      const target = word();
      const rest = words.slice(at);
      at = words.length;
      actions.push(...targetOf(option, target, rest));
    } else if (option === "-m") {
      word();
    } else if (option === "--comment") {
      word();
    } else if (!QUIET.has(option)) {
      matches.push(guarded(() => matchOf(option, word, not), option));
    }
    not = false;
  }
  return [chain, { text: line, matches: matches.filter(isReal), actions }];
}

function isReal(match: Match): boolean {
  return match !== NOTHING;
}

function guarded(read: () => Match, option: string): Match {
  try {
    return read();
  } catch (e) {
    if (!(e instanceof SyntaxError)) throw e;
    return { kind: "unknown", text: option };
  }
}

const STATES: Readonly<Record<string, string>> = {
  NEW: "new",
  ESTABLISHED: "established",
  RELATED: "related",
  INVALID: "invalid",
  UNTRACKED: "untracked",
};

function matchOf(option: string, word: () => string, not: boolean): Match {
  switch (option) {
    case "-s":
      return { kind: "address", side: "source", ranges: word().split(",").map(readIpRange), not };
    case "-d":
      return {
        kind: "address",
        side: "destination",
        ranges: word().split(",").map(readIpRange),
        not,
      };
    case "-p":
      return { kind: "protocol", names: [word()], not };
    case "-i":
      return { kind: "link", side: "in", names: [word()], not };
    case "-o":
      return { kind: "link", side: "out", names: [word()], not };
    case "--dport":
    case "--dports":
      return {
        kind: "port",
        side: "destination",
        ranges: word().split(",").map(readNumberRange),
        not,
      };
    case "--sport":
    case "--sports":
      return { kind: "port", side: "source", ranges: word().split(",").map(readNumberRange), not };
    case "--mark": {
      const [value = 0, mask = ALL_BITS] = word().split("/").map(Number);
      return { kind: "mark", value: (value & mask) >>> 0, mask, not };
    }
    case "--ctstate":
    case "--state":
      return { kind: "state", names: word().split(",").map((one) => STATES[one] ?? one), not };
    case "--dst-type":
    case "--src-type": {
      const type = word();
      if (type !== "LOCAL") return { kind: "unknown", text: `${option} ${type}` };
      return { kind: "local", side: option === "--dst-type" ? "destination" : "source", not };
    }
    case "--mode": {
      const mode = word();
      return mode === "random" || mode === "nth"
        ? { kind: "chance" }
        : { kind: "unknown", text: `--mode ${mode}` };
    }
    case "--rcheck":
    case "--update":
      return { kind: "recent", not };
    default:
      if (ASIDE.has(option)) {
        word();
        return NOTHING;
      }
      return { kind: "unknown", text: option };
  }
}

function targetOf(option: "-j" | "-g", target: string, rest: readonly string[]): Action[] {
  const after = (name: string): string | undefined => {
    const at = rest.indexOf(name);
    return at < 0 ? undefined : rest[at + 1];
  };
  switch (target) {
    case "ACCEPT":
      return [{ kind: "accept" }];
    case "DROP":
      return [{ kind: "drop" }];
    case "REJECT":
      return [{ kind: "reject" }];
    case "RETURN":
      return [{ kind: "return" }];
    case "LOG":
    case "NFLOG":
    case "TRACE":
    case "CT":
      return [{ kind: "continue" }];
    case "MASQUERADE":
      return [{ kind: "snat" }];
    case "SNAT":
      return [sourceOf(after("--to-source"))];
    case "DNAT":
      return [destinationOf(after("--to-destination"))];
    case "MARK":
      return [markOf(rest)];
    default:
      if (/^[A-Z]+$/.test(target) && KNOWN_TARGETS.has(target)) {
        return [{ kind: "unknown", text: target }];
      }
      return [{ kind: option === "-g" ? "goto" : "jump", chain: target }];
  }
}

/** Targets of modules that change or redirect packets in ways that are not followed. */
const KNOWN_TARGETS = new Set([
  "REDIRECT",
  "NETMAP",
  "TPROXY",
  "NFQUEUE",
  "TEE",
  "CONNMARK",
  "TCPMSS",
  "SET",
  "CLASSIFY",
  "DSCP",
  "TTL",
  "HL",
]);

/** `10.0.0.1:80`, `10.0.0.1`, `:80`, `[fd00::1]:80`. */
export function destinationOf(text: string | undefined): Action {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]*|[^.[\]]*:[^.[\]]*))(?::(\d+))?$/.exec(text ?? "");
  const plain = match?.[1] ?? match?.[2] ?? "";
  try {
    return {
      kind: "dnat",
      ...(plain === "" ? {} : { ip: parseIp(plain) }),
      ...(match?.[3] === undefined ? {} : { port: Number(match[3]) }),
    };
  } catch {
    return { kind: "unknown", text: `DNAT to ${text}` };
  }
}

function sourceOf(text: string | undefined): Action {
  try {
    return { kind: "snat", ip: parseIp(text?.split(":")[0] ?? "") };
  } catch {
    return { kind: "unknown", text: `SNAT to ${text}` };
  }
}

/** `--set-xmark value/mask`: mark := mark & ~mask ^ value. */
function markOf(rest: readonly string[]): Action {
  const [option, text = ""] = rest;
  const [value = 0, mask = ALL_BITS] = text.split("/").map(Number);
  switch (option) {
    case "--set-xmark":
      return { kind: "mark", keep: (~mask) >>> 0, flip: value };
    case "--set-mark":
      return { kind: "mark", keep: (~(mask | value)) >>> 0, flip: value };
    case "--or-mark":
      return { kind: "mark", keep: (~value) >>> 0, flip: value };
    case "--and-mark":
      return { kind: "mark", keep: value, flip: 0 };
    case "--xor-mark":
      return { kind: "mark", keep: ALL_BITS, flip: value };
    default:
      return { kind: "unknown", text: rest.join(" ") };
  }
}
