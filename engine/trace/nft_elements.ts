/**
 * Elements of nft's sets and maps. Pure.
 *
 * @module
 */

import { readIpRange } from "./ranges.ts";
import type { Action, IpRange, VerdictMap } from "./rules.ts";

/** The elements between braces, without what nft adds to them; commas in quotes do not separate. */
export function splitElements(text: string): string[] {
  return [...text.matchAll(/(?:"[^"]*"|[^,"])+/g)].map(([one]) => one.replace(/\s+/g, " ").trim())
    .filter((one) => one !== "");
}

/** What may stand behind an element. */
export const EXTRAS =
  / (?:comment "[^"]*"|timeout \S+|expires \S+|counter(?: packets \d+ bytes \d+)?)/g;

/** The elements of a set as ranges of addresses; undefined when they are something else. */
export function addressSet(elements: readonly string[]): IpRange[] | undefined {
  try {
    return elements.map((one) => readIpRange(one.replace(EXTRAS, "").trim()));
  } catch (e) {
    if (!(e instanceof SyntaxError)) throw e;
    return undefined;
  }
}

/** Elements `KEY : VERDICT`, whose parts may carry comments and timeouts. */
export function readMap(elements: readonly string[]): VerdictMap {
  return new Map(elements.map((element): [string, Action] => {
    const at = element.lastIndexOf(" : ");
    const key = element.slice(0, at).replace(EXTRAS, "");
    return [key.trim(), readVerdict(element.slice(at + 3).trim())];
  }));
}

/** The comments of elements, by key. */
export function readLabels(elements: readonly string[]): [key: string, label: string][] {
  return elements.flatMap((element) => {
    const match = /^(.*?) comment "([^"]*)"/.exec(element);
    return match === null ? [] : [[match[1]!, match[2]!] as [string, string]];
  });
}

/** `accept`, `goto CHAIN`, …. */
export function readVerdict(text: string): Action {
  const [word = "", chain = ""] = text.split(" ");
  switch (word) {
    case "accept":
    case "drop":
    case "return":
    case "continue":
      return { kind: word };
    case "jump":
    case "goto":
      return { kind: word, chain };
    default:
      return { kind: "unknown", text };
  }
}
