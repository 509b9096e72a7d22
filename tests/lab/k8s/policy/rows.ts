/**
 * The case tables in a real cluster: each row made by the API and judged by real packets between
 * real pods, in both orders.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Case, type Expectation, expectation } from "../../../engine/policy/language.ts";
import type { Arena } from "./arena.ts";

/** Until a change of the API must be in force, ms: far more than a machine under load needs. */
const DEADLINE = 10_000;
/** So often what is wrong is tried at least: on a machine that has much to do one try can outlast that. */
const TRIES = 5;

/** A change is mostly in force after so long, ms: to try it earlier costs another try. */
const SOON = 50;

/** What is there first. */
export type Order = "pods first" | "policies first";

/**
 * Does what the steps of a row say and tries what they expect.
 *
 * With `policies first` no step finds a pod of the steps before: all pods are made after its policies
 * and labels, and what is denied must never be open, not even for the first packet.
 */
export async function row(arena: Arena, { steps }: Case, order: Order): Promise<void> {
  const deeds = steps.flatMap((step) => step.deeds);
  const byAddress = deeds.some((deed) => deed.includes("IP("));
  // A node's whole subnet is known without its pods.
  const foretold = deeds.some((deed) => /IP\(10\.244\.|except 10\.244\./.test(deed));
  for (const { deeds, expect } of steps) {
    if (order === "policies first") {
      await arena.clear();
      if (foretold) await arena.foretell();
    }
    for (const deed of deeds) await arena.do(deed);
    if (order === "policies first") {
      await arena.heardByAll();
      await arena.fill(foretold);
    } else await new Promise((resolve) => setTimeout(resolve, SOON));
    await Promise.all(
      expect.map((text) => probe(arena, expectation(text), order, byAddress ? 1 : 2)),
    );
  }
}

/**
 * Tries what an expectation says, between all pods; those that are wrong are tried again.
 *
 * @param families IPv4 alone, where policies name addresses of it.
 */
async function probe(
  arena: Arena,
  { protocol, port, open }: Expectation,
  order: Order,
  families: number,
): Promise<void> {
  if (protocol === "SCTP") return; // no sockets in this kernel; the tables are compared elsewhere
  const { names } = arena;
  let pairs = names.flatMap((source) =>
    names.filter((destination) => source !== destination).flatMap((destination) =>
      arena.ips(destination).slice(0, families).map((ip) => ({ source, destination, ip }))
    )
  );
  const end = performance.now() + DEADLINE;
  for (let count = 1;; count++) {
    const tried = await Promise.all(pairs.map(async (pair) => {
      const want = open(pair.source, pair.destination);
      const got = await arena.pod(pair.source).ask(
        { deed: "try", protocol: protocol as "TCP" | "UDP", ip: pair.ip, port },
        want ? "soon" : "never",
      );
      return { ...pair, got, want };
    }));
    pairs = tried.filter(({ got, want }) => got !== want);
    if (pairs.length === 0) return;
    if (order === "policies first" && tried.some(({ got, want }) => got && !want)) break;
    if (performance.now() > end && count >= TRIES) break;
  }
  const words = pairs.map(({ source, destination, ip }) =>
    `${source} → ${destination} (${ip}) is ${open(source, destination) ? "closed" : "open"}`
  );
  assert.fail([`${protocol}/${port}: ${words.join("; ")}`, await arena.state()].join("\n"));
}
