import assert from "node:assert/strict";
import { answers, DAEMON, lease, MEMORY } from "./known.ts";
import { nodeOf, podParts } from "./pods_scene.ts";
import { fdb, HEALTHY, inspect, neighbour, peer, route, type Scene } from "./scene.ts";

const NODE: Scene = {
  ...nodeOf(podParts(2, "default/web"), podParts(3, "default/api")),
  status: answers(),
};

Deno.test("diagram: a healthy node, as text, as Mermaid and as SVG", async (t) => {
  for (const form of ["text", "mermaid", "svg", "name"]) {
    const outcome = await inspect(`diagram -o ${form}`, NODE);
    assert.equal(outcome.code, 0);
    assert.equal(outcome.stderr, "");
    await t.assertSnapshot(outcome.stdout);
  }
});

Deno.test("diagram: without a UTF-8 locale it is ASCII", async (t) => {
  const { stdout } = await inspect("diagram", { ...NODE, unicode: false });
  // deno-lint-ignore no-control-regex -- the range is the point
  assert.match(stdout, /^[\x00-\x7f]*$/);
  await t.assertSnapshot(stdout);
});

const MISSING: Scene = {
  ...NODE,
  facts: [...HEALTHY, ...peer(4).slice(0, 2)],
  status: answers({ ...DAEMON, leases: { ...MEMORY, leases: [...MEMORY.leases, lease(4)] } }),
};

Deno.test("diagram: what is wrong is marked, told, and the exit code", async () => {
  const text = await inspect("diagram", MISSING);
  assert.equal(text.code, 1);
  assert.match(text.stdout, / node4 .* PROBLEM$/m);
  assert.doesNotMatch(text.stdout, /node2 .* PROBLEM$/m);
  assert.match(text.stdout, /^1 problem\n\n10\.244\.4\.0\/24: no forwarding entry/m);
  const svg = await inspect("diagram -o svg", MISSING);
  assert.equal(svg.code, 1);
  assert.match(svg.stdout, /^<svg [^]*class="box peer wrong"[^]*<\/svg>\n$/);
  assert.match(svg.stderr, /^1 problem\n/);
  const mermaid = await inspect("diagram -o mermaid", MISSING);
  assert.match(mermaid.stdout, /^ {2}class n\d+ wrong$/m);
});

Deno.test("diagram: of many, those with problems are drawn; --all draws all, json has all", async () => {
  const many = Array.from({ length: 40 }, (_, i) => {
    const [base, mac] = [`10.244.${10 + i}.0`, `02:00:00:00:${10 + i}:04`];
    return [
      route(`${base}/24`, "flannel.1", { gateway: base, onlink: true, protocol: 146 }),
      neighbour("flannel.1", base, mac),
      ...(i === 39 ? [] : [fdb("flannel.1", mac, `192.0.2.${10 + i}`)]),
    ];
  }).flat();
  const scene = { ...NODE, facts: [...HEALTHY, ...many], status: {} };
  const { stdout } = await inspect("diagram", scene);
  assert.match(stdout, /and 26 more/);
  assert.match(stdout, /10\.244\.49\.0.* PROBLEM/);
  const all = await inspect("diagram --all", scene);
  assert.doesNotMatch(all.stdout, / more/);
  const { boxes } = JSON.parse((await inspect("diagram -o json", scene)).stdout);
  assert.equal(boxes.filter(({ layer }: { layer: string }) => layer === "peer").length, 42);
});

Deno.test("diagram: nothing there is exit code 3 and says so", async () => {
  const outcome = await inspect("diagram", { facts: [], files: {} });
  assert.equal(outcome.code, 3);
  assert.match(outcome.stderr, /Cannot tell about the pod network/);
});
