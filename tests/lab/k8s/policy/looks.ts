/**
 * `twill inspect policy` on a node of a real cluster.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "../../command.ts";
import type { Json } from "../objects.ts";
import type { Arena } from "./arena.ts";
import { reaches } from "./lives.ts";

/** Each command tells of the same policy what is true. */
export async function inspected(arena: Arena): Promise<void> {
  const node = arena.node("x/a");
  await arena.do("x/web on pod=a types Ingress; in: P(pod=c) @ UDP/80");
  await arena.do("x/typo on app=nobody types Ingress; in: P(all) @ any port");
  await arena.heardByAll();
  await reaches(arena, "y/a", arena.ips("x/a")[0] ?? "", false);
  const ask = async (words: string, code = 0): Promise<Json> => {
    const command = `twill inspect policy ${words} -o json`;
    const output = await node.exec(["sh", "-c", command]);
    assert.equal(output.code, code, `${command}: ${output.stderr}${output.stdout}`);
    return JSON.parse(output.stdout);
  };
  const { item } = await ask("show x/a") as { item: Json };
  assert.match(JSON.stringify(item), /"web"|x\/web/);
  assert.equal((await ask("can x/c x/a 80/UDP")).allowed, true);
  const denied = await ask("can y/a x/a 80/UDP", 1);
  assert.equal(denied.allowed, false);
  assert.match(JSON.stringify(denied), /x\/web/, "the policy that isolates it");
  const table = await ask("matrix -n x --port 80/UDP");
  assert.match(JSON.stringify(table), /x\/a/);
  const { findings } = await ask("lint", 1) as { findings: Json[] };
  assert.ok(findings.some((one) => JSON.stringify(one).includes("x/typo")), "what matches nobody");
  const { items } = await until("drops are counted", async () => {
    const log = await ask("log") as { items: { policies: string[]; packets: number }[] };
    return log.items.some(({ policies, packets }) => policies.includes("x/web") && packets > 0) &&
      log;
  });
  assert.ok(items.every(({ policies }) => policies.every((name) => name !== "x/typo")));
}
