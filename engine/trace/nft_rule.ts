/**
 * One rule of nft, word by word. Pure.
 *
 * @module
 */

import { destinationOf } from "./iptables_read.ts";
import { addressSet, EXTRAS, readMap, splitElements } from "./nft_elements.ts";
import type { Named } from "./nft_read.ts";
import { readNumberRange } from "./ranges.ts";
import { type Action, ALL_BITS, type Field, type Match, type TraceRule } from "./rules.ts";

/** Reads a rule as nft lists it, without its handle. */
export function readRuleWords(text: string, named: Named): TraceRule {
  const reader = new Reader(wordsOf(text), named);
  try {
    reader.read();
  } catch (e) {
    if (!(e instanceof SyntaxError)) throw e;
    reader.giveUp();
  }
  return { text, matches: reader.matches, actions: reader.actions };
}

/** Words; what stands in braces or quotes is one. */
function wordsOf(text: string): string[] {
  return [...text.matchAll(/"[^"]*"|\{[^}]*\}|\S+/g)].map(([word]) => word);
}

/** Names of ports and marks that nft prints although numbers were given. */
const SERVICES: Readonly<Record<string, number>> = {
  ssh: 22,
  domain: 53,
  http: 80,
  https: 443,
};

class Reader {
  readonly matches: Match[] = [];
  readonly actions: Action[] = [];
  readonly #words: readonly string[];
  readonly #named: Named;
  #at = 0;

  constructor(words: readonly string[], named: Named) {
    this.#words = words;
    this.#named = named;
  }

  /** The rest cannot be read: the rule may do anything. */
  giveUp(): void {
    const text = this.#words.slice(this.#at - 1).join(" ");
    this.matches.push({ kind: "unknown", text });
    this.actions.push({ kind: "unknown", text });
    this.#at = this.#words.length;
  }

  #next(): string {
    return this.#words[this.#at++] ?? "";
  }

  #peek(ahead = 0): string {
    return this.#words[this.#at + ahead] ?? "";
  }

  #take(...words: readonly string[]): boolean {
    if (!words.every((word, i) => this.#peek(i) === word)) return false;
    this.#at += words.length;
    return true;
  }

  read(): void {
    while (this.#at < this.#words.length) {
      if (!this.#statement() && !this.#condition()) this.giveUp();
    }
  }

  #statement(): boolean {
    const word = this.#peek();
    switch (word) {
      case "accept":
      case "drop":
      case "return":
      case "continue":
        this.#at++;
        this.actions.push({ kind: word });
        return true;
      case "jump":
      case "goto":
        this.#at++;
        this.actions.push({ kind: word, chain: this.#next() });
        return true;
      case "reject":
        this.#at = this.#skipTo("comment");
        this.actions.push({ kind: "reject" });
        return true;
      case "counter":
        this.#at++;
        if (this.#take("packets")) this.#at += 3;
        if (this.#take("name")) this.#at++;
        return true;
      case "comment":
        this.#at += 2;
        return true;
      case "log":
      case "notrack":
        this.#at = word === "log"
          ? this.#skipTo("comment", "accept", "drop", "reject")
          : this.#at + 1;
        return true;
      case "masquerade":
        this.#at++;
        while (["fully-random", "random", "persistent"].includes(this.#peek())) this.#at++;
        this.actions.push({ kind: "snat" });
        return true;
      case "dnat":
      case "snat":
        return this.#translate(word);
      case "update":
      case "add":
        // Into a set: `update @name { … }`.
        if (!this.#peek(1).startsWith("@")) return false;
        this.#at += 3;
        return true;
    }
    if (this.#take("meta", "mark", "set")) return this.#setMark();
    // The mark of a connection changes nothing for its first packet.
    if (this.#take("ct", "mark", "set")) return this.#markConnection();
    return this.#map();
  }

  #skipTo(...words: readonly string[]): number {
    const at = this.#words.findIndex((word, i) => i > this.#at && words.includes(word));
    return at < 0 ? this.#words.length : at;
  }

  /** `dnat to ADDRESS[:PORT]`, `dnat ip to …`. */
  #translate(kind: "dnat" | "snat"): boolean {
    this.#at++;
    if (["ip", "ip6"].includes(this.#peek())) this.#at++;
    if (!this.#take("to")) return false;
    const to = this.#next();
    while (["fully-random", "random", "persistent"].includes(this.#peek())) this.#at++;
    const action = destinationOf(to);
    if (kind === "dnat" || action.kind !== "dnat") this.actions.push(action);
    else this.actions.push({ kind: "snat", ...(action.ip && { ip: action.ip }) });
    return true;
  }

  /** `meta mark set VALUE`, `… set meta mark | VALUE`, `… ^ VALUE`, `… & VALUE`. */
  #setMark(): boolean {
    if (!(this.#take("meta", "mark") || this.#take("mark"))) {
      this.actions.push({ kind: "mark", keep: 0, flip: numberOf(this.#next()) });
      return true;
    }
    const [operator, value] = [this.#next(), numberOf(this.#next())];
    if (operator === "|" || operator === "or") {
      this.actions.push({ kind: "mark", keep: (~value) >>> 0, flip: value });
    } else if (operator === "^" || operator === "xor") {
      this.actions.push({ kind: "mark", keep: ALL_BITS, flip: value });
    } else if (operator === "&" || operator === "and") {
      this.actions.push({ kind: "mark", keep: value, flip: 0 });
    } else return false;
    return true;
  }

  /** `ct mark set ct mark & MASK | VALUE`, or any such sum. */
  #markConnection(): boolean {
    do {
      if (!(this.#take("ct", "mark") || this.#take("meta", "mark"))) numberOf(this.#next());
    } while (this.#take("&") || this.#take("|") || this.#take("^"));
    this.actions.push({ kind: "continue" });
    return true;
  }

  /** `FIELD [. FIELD …] vmap @NAME`, `numgen random mod N vmap { … }`. */
  #map(): boolean {
    const start = this.#at;
    const fields: Field[] = [];
    do {
      const field = this.#field(fields.length > 0);
      if (field === undefined) {
        this.#at = start;
        return false;
      }
      fields.push(field);
    } while (this.#take("."));
    if (!this.#take("vmap")) {
      if (fields.length > 1) return this.#tuple(fields);
      this.#at = start;
      return false;
    }
    const source = this.#next();
    const map = source.startsWith("@")
      ? this.#named.maps.get(source.slice(1))
      : readMap(splitElements(source.slice(1, -1)));
    if (map === undefined) return false;
    this.actions.push({ kind: "map", fields, map });
    return true;
  }

  /** `FIELD . FIELD @NAME`, `… { … }`. */
  #tuple(fields: readonly Field[]): boolean {
    const not = this.#negated();
    const elements = new Set(this.#elements().map((one) => one.replace(EXTRAS, "")));
    this.matches.push({ kind: "tuple", fields, elements, not });
    return true;
  }

  /** @param inside it is one of several. */
  #field(inside: boolean): Field | undefined {
    for (const side of ["saddr", "daddr"] as const) {
      if (this.#take("ip", side) || this.#take("ip6", side)) return side;
    }
    if (this.#take("meta", "l4proto")) return "protocol";
    if (this.#take("th", "dport")) return "dport";
    if (this.#take("th", "sport")) return "sport";
    if (this.#take("iifname") || this.#take("meta", "iifname")) return "iif";
    if (this.#take("oifname") || this.#take("meta", "oifname")) return "oif";
    for (const protocol of ["tcp", "udp"]) {
      if (this.#peek() !== protocol || !["dport", "sport"].includes(this.#peek(1))) continue;
      if (!inside && this.#peek(2) !== "vmap" && this.#peek(2) !== ".") return undefined;
      this.matches.push({ kind: "protocol", names: [protocol], not: false });
      this.#at += 2;
      return this.#words[this.#at - 1] as "dport" | "sport";
    }
    if (this.#peek() === "numgen" && this.#peek(2) === "mod") {
      this.#at += 4;
      return "chance";
    }
    return undefined;
  }

  #condition(): boolean {
    for (const [family, number] of [["ip", 4], ["ip6", 6]] as const) {
      for (const side of ["saddr", "daddr"] as const) {
        if (!this.#take(family, side)) continue;
        const not = this.#negated();
        const ranges = addressSet(this.#elements());
        if (ranges === undefined) return false;
        this.matches.push(
          // In a table of both families it also says which family is meant.
          { kind: "family", family: number },
          { kind: "address", side: side === "saddr" ? "source" : "destination", ranges, not },
        );
        return true;
      }
    }
    if (
      this.#take("meta", "l4proto") || this.#take("ip", "protocol") || this.#take("ip6", "nexthdr")
    ) {
      const not = this.#negated();
      this.matches.push({ kind: "protocol", names: this.#elements(), not });
      return true;
    }
    for (const protocol of ["tcp", "udp", "sctp", "th"]) {
      for (const side of ["dport", "sport"] as const) {
        if (!this.#take(protocol, side)) continue;
        const not = this.#negated();
        const ranges = this.#elements().map((one) => readNumberRange(String(SERVICES[one] ?? one)));
        if (protocol !== "th") {
          this.matches.push({ kind: "protocol", names: [protocol], not: false });
        }
        this.matches.push({
          kind: "port",
          side: side === "dport" ? "destination" : "source",
          ranges,
          not,
        });
        return true;
      }
    }
    if (this.#take("meta")) {
      if (this.#at >= this.#words.length) return false;
    }
    for (
      const [word, side] of [["iifname", "in"], ["oifname", "out"], ["iif", "in"], [
        "oif",
        "out",
      ]] as const
    ) {
      if (!this.#take(word)) continue;
      const not = this.#negated();
      this.matches.push({
        kind: "link",
        side,
        names: this.#elements().map((one) => one.replaceAll('"', "")),
        not,
      });
      return true;
    }
    if (this.#take("mark")) return this.#mark("mark");
    if (this.#take("ct", "mark")) return this.#mark("connection-mark");
    if (this.#take("ct", "direction")) {
      const not = this.#negated();
      this.matches.push({ kind: "direction", name: this.#next(), not });
      return true;
    }
    for (const [word, family] of [["icmp", 4], ["icmpv6", 6]] as const) {
      if (!this.#take(word, "type")) continue;
      const not = this.#negated();
      this.matches.push({ kind: "icmp-type", family, names: this.#elements(), not });
      return true;
    }
    if (this.#take("ct", "state")) {
      const not = this.#negated();
      const names = this.#elements().flatMap((one) => one.split(","));
      this.matches.push({ kind: "state", names, not });
      return true;
    }
    if (this.#take("nfproto")) {
      this.matches.push({ kind: "family", family: this.#next() === "ipv6" ? 6 : 4 });
      return true;
    }
    for (const side of ["saddr", "daddr"] as const) {
      if (!this.#take("fib", side, "type")) continue;
      const not = this.#negated();
      if (this.#next() !== "local") return false;
      this.matches.push({ kind: "local", side: side === "saddr" ? "source" : "destination", not });
      return true;
    }
    if (this.#peek() === "numgen") {
      this.#at = this.#skipTo("jump", "goto", "accept", "drop", "dnat");
      this.matches.push({ kind: "chance" });
      return true;
    }
    return false;
  }

  /** `mark VALUE`, `mark & MASK == VALUE`. */
  #mark(kind: "mark" | "connection-mark"): boolean {
    if (this.#take("&") || this.#take("and")) {
      const mask = numberOf(this.#next());
      const operator = this.#next();
      if (operator !== "==" && operator !== "!=") return false;
      const value = numberOf(this.#next());
      this.matches.push({ kind, mask, value, not: operator === "!=" });
      return true;
    }
    const not = this.#negated();
    // A mask of leading bits is listed as a prefix: `0x00000700/24`.
    const [value = "", length = "32"] = this.#next().split("/");
    const mask = (ALL_BITS << (32 - numberOf(length))) >>> 0;
    this.matches.push({ kind, mask: length === "0" ? 0 : mask, value: numberOf(value), not });
    return true;
  }

  #negated(): boolean {
    if (this.#take("==")) return false;
    return this.#take("!=");
  }

  /** One element, a set in braces, or a named set. */
  #elements(): string[] {
    const word = this.#next();
    if (word.startsWith("{")) return splitElements(word.slice(1, -1));
    if (!word.startsWith("@")) return [word];
    const set = this.#named.sets.get(word.slice(1));
    if (set === undefined) throw new SyntaxError(`no set ${word}`);
    return [...set];
  }
}

function numberOf(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number)) throw new SyntaxError(`no number: ${text}`);
  return number >>> 0;
}
