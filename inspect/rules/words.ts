/**
 * Rules in words, and who made them. Pure.
 *
 * @module
 */

import type { Chain, Clause, Rule, Verdict } from "./model.ts";

/** What a rule does, said in words; its own comment, where it has one, says what it is for. */
export function ruleWords(rule: Rule): string {
  const conditions = rule.clauses.map(clauseWords).join(", ");
  const deed = verdictWords(rule.verdict);
  const words = conditions === "" ? `everything: ${deed}` : `${conditions}: ${deed}`;
  return rule.comment === undefined ? words : `${words} (${rule.comment})`;
}

function clauseWords(clause: Clause): string {
  const not = clause.not ? "not " : "";
  switch (clause.kind) {
    case "source":
      return `${not}from ${clause.nets.join(" or ")}`;
    case "destination":
      return `${not}to ${clause.nets.join(" or ")}`;
    case "in":
      return `${not}in by ${clause.names.join(" or ")}`;
    case "out":
      return `${not}out by ${clause.names.join(" or ")}`;
    case "protocol":
      return `${not}${clause.names.join(" or ")}`;
    case "source-port":
      return `${not}from port ${portWords(clause.ports)}`;
    case "destination-port":
      return `${not}to port ${portWords(clause.ports)}`;
    case "state":
      return `${not}of ${clause.states.join(" or ")} connections`;
    case "mark":
      return `${not}marked ${hex(clause.value)}${
        clause.mask === 0xffff_ffff ? "" : ` in the bits ${hex(clause.mask)}`
      }`;
    case "source-local":
      return `${not}from an address of this node`;
    case "destination-local":
      return `${not}to an address of this node`;
    case "family":
      return `${not}IPv${clause.family}`;
    case "other":
      return `${not}[${clause.text}]`;
  }
}

function portWords(ports: readonly (readonly [number, number])[]): string {
  return ports.map(([first, last]) => first === last ? `${first}` : `${first} to ${last}`)
    .join(" or ");
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/** What happens to a packet. */
export function verdictWords(verdict: Verdict): string {
  switch (verdict.kind) {
    case "accept":
      return "let through";
    case "drop":
      return "thrown away";
    case "reject":
      return "refused";
    case "return":
      return "back to the chain before";
    case "masquerade":
      return "leaves with this node's address";
    case "continue":
      return "only counted or logged";
    case "jump":
    case "goto":
      return `goes through ${verdict.chain}`;
    case "snat":
      return `leaves with the address ${verdict.to}`;
    case "dnat":
      return `sent on to ${verdict.to}`;
    case "redirect":
      return `sent to this node itself ${verdict.to}`.trim();
    case "mark":
      return `marked: ${verdict.text}`;
    case "other":
      return `[${verdict.text}]`;
  }
}

const OWNERS: readonly (readonly [pattern: RegExp, owner: string])[] = [
  [/^twill/, "twill"],
  [/^flannel-ipv[46]$|^FLANNEL-/, "flannel"],
  [/^kube-proxy$|^KUBE-/, "kube-proxy"],
  [/^CNI-|^cni_/, "cni"],
  [/^DOCKER/, "docker"],
  [/^(?:cali|CALI)-?/, "calico"],
  [/^CILIUM/, "cilium"],
  [/^firewalld$/, "firewalld"],
  [/^ufw6?-/, "ufw"],
  [/^LIBVIRT|^libvirt/, "libvirt"],
];

/** The program that made a rule, by the names of table, chain and target; else `other`. */
export function ownerOf({ table, name }: Chain, { verdict }: Rule): string {
  const target = "chain" in verdict ? verdict.chain : "";
  for (const word of [table, name, target]) {
    const found = OWNERS.find(([pattern]) => pattern.test(word));
    if (found !== undefined) return found[1];
  }
  return "other";
}
