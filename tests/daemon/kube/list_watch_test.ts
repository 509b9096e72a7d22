import assert from "node:assert/strict";
import { KubeClient } from "../../../daemon/kube/client.ts";
import { ListWatch } from "../../../daemon/kube/list_watch.ts";
import { at } from "../../../daemon/kube/raw.ts";
import { Log } from "../../../daemon/log.ts";
import { FakeApi, status } from "./fake_api.ts";
import { node, NODES, Scene, until } from "./scene.ts";

Deno.test("ListWatch: what is there, comes, changes and goes; only what is kept counts as change", async () => {
  await using scene = new Scene();
  scene.api.put(NODES, node("a", "1"));
  scene.start();
  await scene.sees({ a: "1" });
  await until(() => scene.api.watches === 1, () => "no watch");
  scene.api.put(NODES, node("b", "2"));
  await scene.sees({ a: "1", b: "2" });
  scene.api.edit(NODES, "a", (raw) => raw.status = { images: ["new"] });
  scene.api.edit(NODES, "a", (raw) => raw.spec.podCIDR = "3");
  await scene.sees({ a: "3", b: "2" });
  scene.api.delete(NODES, "b");
  await scene.sees({ a: "3" });
  assert.deepEqual(scene.changes, [["a"], ["b"], ["a"], ["b"]]);
  assert.equal(scene.count("list"), 1);
});

Deno.test("ListWatch: asks for metadata alone where that is enough, and hands selectors on", async () => {
  await using api = new FakeApi();
  using client = new KubeClient({ from: "test", servers: [api.url], compress: true });
  const path = "/api/v1/namespaces";
  api.put(path, { metadata: { name: "ns", labels: { a: "b" } } });
  const watch = new ListWatch({
    client,
    path,
    resource: "namespaces",
    query: { labelSelector: "a=b" },
    metadataOnly: true,
    strip: (raw) => at(raw, "metadata", "labels"),
    log: new Log({ write: () => {} }),
  });
  const ending = new AbortController();
  for await (const { objects, changed } of watch.views(ending.signal)) {
    assert.deepEqual([...changed], ["ns"]);
    assert.deepEqual(objects.get("ns"), { a: "b" });
    await until(() => api.watches === 1, () => "no watch");
    ending.abort();
  }
  const accepts = api.seen.map(({ headers }) => headers.get("accept"));
  assert.deepEqual(accepts, [
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
  ]);
  assert.ok(api.seen.every(({ query }) => query.labelSelector === "a=b"));
  const life = Number(api.seen[1]?.query.timeoutSeconds);
  assert.ok(life >= 300 && life <= 600, `${life} s`);
});

Deno.test("ListWatch: an empty list is told too", async () => {
  await using scene = new Scene();
  scene.start();
  await until(() => scene.changes.length > 0, () => "nothing told");
  assert.deepEqual(scene.changes, [[]]);
});

Deno.test("ListWatch: reads all pages, and again from the first when the token is too old", async () => {
  await using scene = new Scene();
  const want: Record<string, string> = {};
  for (let i = 0; i < 1_200; i++) {
    want[`n${i}`] = String(i);
    scene.api.put(NODES, node(`n${i}`, String(i)));
  }
  // Version 0 is answered whole: only a fresh list has pages.
  let times = 0;
  scene.api.answer = ({ query }) => {
    if (query.resourceVersion === "0") return status(410, "Expired", "too old");
    if (query.continue !== undefined && ++times === 2) {
      scene.api.edit(NODES, "n0", () => {});
      scene.api.compact();
    }
    return undefined;
  };
  scene.start();
  await scene.sees(want);
  const lists = scene.api.seen.filter(({ query }) => query.watch === undefined);
  assert.deepEqual(lists.map(({ query }) => query.continue?.replace(/.*:/, "") ?? ""), [
    "",
    "",
    "500",
    "1000",
    "",
    "500",
    "1000",
  ]);
});

Deno.test("ListWatch: a watch that ends goes on from where it was, without a list", async () => {
  await using scene = new Scene();
  scene.api.put(NODES, node("a", "1"));
  scene.start();
  await until(() => scene.api.watches === 1, () => "no watch");
  scene.api.inject("BOOKMARK", { metadata: { resourceVersion: scene.api.version } });
  scene.api.endWatches();
  scene.api.put(NODES, node("b", "2"));
  await scene.sees({ a: "1", b: "2" });
  assert.equal(scene.count("list"), 1);
});

Deno.test("ListWatch: a client that gives up its connections costs no pause and no list", async () => {
  await using scene = new Scene({ again: { first: 60_000, cap: 60_000 } });
  scene.api.put(NODES, node("a", "1"));
  scene.start();
  await until(() => scene.api.watches === 1, () => "no watch");
  scene.client.renew();
  await until(() => scene.count("watch") === 2, () => "no second watch");
  scene.api.put(NODES, node("b", "2"));
  await scene.sees({ a: "1", b: "2" });
  assert.equal(scene.count("list"), 1);
  assert.doesNotMatch(scene.lines.join(""), / warn /);
});

/** One node goes, another comes. */
function replaceAll(api: FakeApi): void {
  api.put(NODES, node("b", "2"));
  api.delete(NODES, "a");
}

/** How history ends: as the status of the request, and as an event. */
const EXPIRED: readonly (readonly [name: string, cut: (api: FakeApi) => void])[] = [
  ["HTTP 410", (api) => {
    api.endWatches();
    replaceAll(api);
    api.compact();
  }],
  ["an ERROR event", (api) => {
    api.inject("ERROR", { kind: "Status", code: 410, reason: "Expired", message: "too old" });
    replaceAll(api);
    api.compact();
  }],
  ["an ERROR event of an old server", (api) => {
    api.inject("ERROR", { kind: "Status", reason: "Gone" });
    replaceAll(api);
    api.compact();
  }],
  ["a version of the future", (api) => {
    api.inject("BOOKMARK", { metadata: { resourceVersion: "99999" } });
    api.endWatches();
    replaceAll(api);
  }],
];
for (const [name, cut] of EXPIRED) {
  Deno.test(`ListWatch: after ${name} all is read again, and what went meanwhile is gone`, async () => {
    await using scene = new Scene();
    scene.api.put(NODES, node("a", "1"));
    scene.start();
    await until(() => scene.api.watches === 1, () => "no watch");
    cut(scene.api);
    await scene.sees({ b: "2" });
    await until(() => scene.watch.status().gaps > 0, () => "no gap");
    assert.equal(scene.watch.status().gaps, 1);
    // That is how history ends, and no reason to worry anybody.
    assert.doesNotMatch(scene.lines.join(""), / warn /);
    await until(() => scene.watch.status().connected, () => "not connected");
    const fresh = scene.api.seen.filter(({ query }) => query.watch === undefined).at(-1);
    assert.equal(fresh?.query.resourceVersion, undefined);
  });
}

Deno.test("ListWatch: history that ended is no reason to wait, unless it ends at once again", async () => {
  await using scene = new Scene({ again: { first: 5_000, cap: 5_000 } });
  scene.api.put(NODES, node("a", "1"));
  scene.start();
  await until(() => scene.api.watches === 1, () => "no watch");
  const began = performance.now();
  scene.api.answer = ({ query }) =>
    query.watch === undefined ? undefined : status(410, "Expired", "too old");
  scene.api.delete(NODES, "a");
  scene.api.endWatches();
  await until(() => scene.count("list") === 2, () => `${scene.count("list")} lists`);
  assert.ok(performance.now() - began < 2_400, "it waited");
  await until(() => scene.count("list") === 3, () => `${scene.count("list")} lists`);
  assert.ok(performance.now() - began > 2_400, "it did not wait");
});

Deno.test("ListWatch: a silent connection is given up, and no trouble as long as a new one opens", async () => {
  await using scene = new Scene({ silence: 100 });
  scene.api.put(NODES, node("a", "1"));
  scene.start();
  await scene.sees({ a: "1" });
  await until(() => scene.count("watch") >= 3, () => `${scene.count("watch")} watches`);
  assert.match(scene.lines.join(""), /debug .*Cannot watch nodes: nothing was heard/);
  assert.equal(scene.watch.status().problem, undefined);
  assert.equal(scene.count("list"), 1);
  await until(() => scene.api.watches <= 1, () => `${scene.api.watches} watches are still open`);
});

Deno.test("ListWatch: 429 waits as long as the server says, and keeps the version", async () => {
  await using scene = new Scene();
  const at: number[] = [];
  scene.api.answer = ({ query }) => {
    if (query.watch === undefined) return undefined;
    at.push(performance.now());
    if (at.length > 1) return undefined;
    return new Response("{}", { status: 429, headers: { "retry-after": "1" } });
  };
  scene.start();
  await until(() => at.length === 2, () => "no second watch");
  assert.ok(at[1]! - at[0]! >= 990, `${at[1]! - at[0]!} ms`);
  assert.equal(scene.count("list"), 1);
});

/** What a server or a proxy says, and what the operator reads. */
const REFUSALS: readonly (readonly [string, () => Response, RegExp])[] = [
  [
    "HTML",
    () => new Response("<html><body><h1>Bad\nGateway</h1></body></html>", { status: 502 }),
    /list nodes: Bad Gateway \(502\)/,
  ],
  ["nothing", () => new Response(null, { status: 500 }), /no reason given \(500\)/],
  [
    "half a list",
    () => new Response('{"items": [{"metadata": {"name": "a"}}, {"meta'),
    /read the answer/,
  ],
  ["a list without a version", () => new Response('{"items": []}'), /no resourceVersion/],
  ["null", () => new Response("null"), /no resourceVersion/],
  [
    "a Status in place of a list",
    () => status(503, "ServiceUnavailable", "starting"),
    /starting \(503/,
  ],
];
for (const [name, answer, want] of REFUSALS) {
  Deno.test(`ListWatch: ${name} in place of a list is a failure with words, and passes`, async () => {
    await using scene = new Scene();
    scene.api.put(NODES, node("a", "1"));
    let left = 3;
    scene.api.answer = () => left-- > 0 ? answer() : undefined;
    scene.start();
    await scene.sees({ a: "1" });
    const told = scene.lines.filter((line) => line.includes(" warn "));
    assert.equal(told.length, 1, told.join(""));
    assert.match(told[0]!, want);
  });
}

/** Lines of a watch that are no events. */
const GARBAGE = [
  "{",
  "null",
  "[]",
  '{"type": "NEW"}',
  '{"type": "ERROR", "object": null}',
  "\u0000",
];
for (const line of GARBAGE) {
  Deno.test(`ListWatch: ${JSON.stringify(line)} in a watch changes nothing`, async () => {
    await using scene = new Scene();
    scene.api.put(NODES, node("a", "1"));
    let left = 2;
    scene.api.answer = ({ query }) =>
      query.watch !== undefined && left-- > 0 ? new Response(`${line}\n`) : undefined;
    scene.start();
    await until(() => scene.api.watches === 1, () => "no watch");
    scene.api.put(NODES, node("b", "2"));
    await scene.sees({ a: "1", b: "2" });
  });
}

Deno.test("ListWatch: an object that cannot be read keeps what was kept of it, and is named", async () => {
  await using scene = new Scene();
  scene.api.put(NODES, node("a", "1"));
  scene.start();
  await until(() => scene.api.watches === 1, () => "no watch");
  scene.api.put(NODES, node("a", "bad"));
  scene.api.put(NODES, node("b", "2"));
  await scene.sees({ a: "1", b: "2" });
  assert.deepEqual(scene.bad, { a: "podCIDR is bad" });
  scene.api.put(NODES, node("a", "3"));
  await scene.sees({ a: "3", b: "2" });
  assert.deepEqual(scene.bad, {});
});

Deno.test("ListWatch: 403 names verb and resource, is tried again, and keeps what is known", async () => {
  await using scene = new Scene();
  scene.api.put(NODES, node("a", "1"));
  scene.start();
  await until(() => scene.api.watches === 1, () => "no watch");
  scene.api.forbidden.add("watch nodes");
  scene.api.endWatches();
  await until(() => !scene.watch.status().connected, () => "connected");
  const { problem } = scene.watch.status();
  assert.ok(problem?.denied);
  assert.match(problem.words, /flannel has not the verb watch on nodes/);
  await until(() => scene.count("watch") >= 4, () => "no further try");
  assert.equal(scene.lines.filter((line) => line.includes("has not the verb")).length, 1);
  assert.match(problem.advice ?? "", /twill manifest --only rbac/);
  await scene.sees({ a: "1" });
  scene.api.put(NODES, node("b", "2"));
  await scene.sees({ a: "1", b: "2" });
  assert.ok(!scene.watch.status().connected);
  scene.api.forbidden.clear();
  await until(() => scene.watch.status().connected, () => "not connected");
  scene.api.put(NODES, node("c", "3"));
  await scene.sees({ a: "1", b: "2", c: "3" });
});

Deno.test("ListWatch: a kubelet's credential is told to be one", async () => {
  await using scene = new Scene();
  scene.api.user = "system:node:worker-1";
  scene.api.forbidden.add("list nodes");
  scene.start();
  await until(() => !scene.watch.status().connected, () => "connected");
  assert.match(scene.watch.status().problem?.advice ?? "", /twill manifest --only kubeconfig/);
});

Deno.test("ListWatch: a large event in many pieces, several events in one", async () => {
  await using scene = new Scene();
  const big = { type: "ADDED", object: { ...node("big", "1"), images: "x".repeat(300_000) } };
  const small = { type: "ADDED", object: node("é", "2") };
  const bytes = new TextEncoder().encode(`${JSON.stringify(big)}\n${JSON.stringify(small)}\n`);
  let first = true;
  scene.api.answer = ({ query }) => {
    if (query.watch === undefined || !first) return undefined;
    first = false;
    let from = 0;
    return new Response(
      new ReadableStream({
        pull(controller): void {
          if (from >= bytes.length) return controller.close();
          controller.enqueue(bytes.slice(from, from += 9_973));
        },
      }),
    );
  };
  scene.start();
  await scene.sees({ big: "1", "é": "2" });
});

Deno.test("ListWatch: a server that ends each watch at once is not asked without a pause", async () => {
  await using scene = new Scene({ again: { first: 200, cap: 400 } });
  scene.api.answer = ({ query }) => query.watch === undefined ? undefined : new Response("");
  scene.start();
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  assert.ok(scene.count("watch") <= 7, `${scene.count("watch")} watches`);
});
