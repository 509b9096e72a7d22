/** The status page: its text, and who may see it. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { serveHealth } from "../../../daemon/health.ts";
import { PageDesk, refusePage } from "../../../daemon/page/desk.ts";
import { pageHtml } from "../../../daemon/page/html.ts";
import { pageScene } from "../../../daemon/page/scene.ts";
import type { Fact } from "../../../engine/fact.ts";
import type { NodeStatus } from "../../../engine/node_status.ts";
import { DAEMON, lease, MEMORY } from "../../inspect/known.ts";
import { HEALTHY, link, NOW } from "../../inspect/scene.ts";

function page(status: NodeStatus, facts: readonly Fact[] = HEALTHY): string {
  return pageHtml({ status, scene: pageScene(status, facts), now: NOW, nonce: "n" });
}

Deno.test("page: node, peers and picture", () => {
  const html = page(DAEMON);
  assert.match(html, /<h1>node1: <span class="ok">ready</);
  assert.match(
    html,
    /<tr><td>node3<\/td><td>192\.0\.2\.3<\/td><td>10\.244\.3\.0\/24<\/td><td class="ok">ok</,
  );
  for (const word of ["veth1", "cni0", "flannel.1", "VXLAN, VNI 1", "eth0", "node2"]) {
    assert.match(html, new RegExp(`<text [^>]*>${word}</text>`));
  }
  assert.match(html, /<td>ends in 23 hours unless renewed<\/td>/);
});

Deno.test("page: what is wrong is said, at the peer too", () => {
  const reason = "the kernel said no";
  const refused = [{ who: "10.244.3.0-24", reason }];
  const html = page({ ...DAEMON, reasons: ["waiting for x"], pass: { ...DAEMON.pass!, refused } });
  assert.match(html, /<span class="wrong">not ready</);
  assert.match(html, /<li>waiting for x<\/li>/);
  assert.match(html, /<td>node3<\/td>.*<td class="wrong">the kernel said no<\/td>/);
  assert.match(html, /<g class="box peer wrong">/);
});

Deno.test("page: before there is a lease, and without a picture", () => {
  const { leases: _, pass: __, uplink: ___, ...young } = DAEMON;
  assert.match(page(young, []), /<td>none yet<\/td>/);
  const none = pageHtml({ status: young, scene: "no <kernel>", now: NOW, nonce: "n" });
  assert.match(none, /<p class="wrong">no &lt;kernel&gt;<\/p>/);
});

/** A status in which everything that others choose is this word. */
function foreign(word: string): [NodeStatus, Fact[]] {
  const trouble = [{ who: "10.244.3.0-24", reason: word }];
  const status: NodeStatus = {
    ...DAEMON,
    version: word,
    reasons: [word],
    remarks: [word],
    store: { name: word, connected: false, problem: word, bad: trouble },
    uplink: { name: word, mtu: 1500 },
    leases: {
      ...MEMORY,
      own: { ...lease(1), node: word },
      leases: [{ ...lease(2), node: word }, { ...lease(3), node: word }],
    },
    pass: { ...DAEMON.pass!, cause: word, refused: trouble },
  };
  const port: Fact = { kind: "port", where: "host", dev: word, bridge: "cni0" };
  return [status, [...HEALTHY, ...link(word, 1500, ""), port]];
}

Deno.test("page: no foreign string makes an element, an attribute or an entity", () => {
  const shape = (html: string): string =>
    html.replace(/<(style|script) [^]*?<\/\1>/g, "").replace(/>[^<]*</g, "><")
      .replace(/ (?:x|y|d|width|height|viewBox)="[^"]*"/g, "");
  const plain = shape(page(...foreign("xyz")));
  const words = fc.string({ unit: "binary" }).map((word) => `x${word}`);
  fc.assert(
    fc.property(words, (word) => {
      const html = page(...foreign(word));
      assert.equal(shape(html), plain);
      assert.doesNotMatch(
        html.replace(/<(style|script) [^]*?<\/\1>/g, ""),
        /&(?!amp;|lt;|gt;|quot;|#39;)/,
      );
    }),
    {
      examples: [
        ["<script>document.title = 'owned'</script>"],
        ["<img src=x onerror=alert(1)>"],
        ["'\"><svg onload=alert(1)>"],
        ["</title></style></script><b>"],
        ["$&$'$`"],
        ["&lt;b&gt;"],
      ],
    },
  );
});

Deno.test("page: of very many peers the table shows 500, those with problems first", () => {
  const many = Array.from({ length: 600 }, (_, i) => ({
    ...lease(2),
    node: `m${i}`,
    subnet: `10.${i >> 8}.${i & 255}.0/24` as never,
  }));
  const refused = [{ who: "10.2.87.0-24", reason: "no" }];
  const html = page({
    ...DAEMON,
    leases: { ...MEMORY, leases: many },
    pass: { ...DAEMON.pass!, refused },
  });
  assert.equal(html.match(/<tr><td>m\d+<\/td>/g)?.length, 500);
  assert.match(html, /<tr><td>m599<\/td>/);
  assert.match(html, /And 100 more\./);
});

for (
  const [pageFor, asker, host, status] of [
    ["loopback", "127.0.0.1", "localhost", undefined],
    ["loopback", "::ffff:127.0.0.1", "127.0.0.1", undefined],
    ["loopback", "::1", "[::1]", undefined],
    ["loopback", "192.0.2.7", "localhost", 403],
    ["loopback", "127.0.0.1", "evil.example", 403],
    ["loopback", "127.0.0.1.example", "localhost", 403],
    ["loopback", "::ffff:192.0.2.7", "127.0.0.1", 403],
    ["all", "192.0.2.7", "node1", undefined],
    ["off", "127.0.0.1", "localhost", 404],
  ] as const
) {
  Deno.test(`page: --status-page=${pageFor}, ${asker} asks for ${host}: ${status ?? 200}`, () => {
    assert.equal(refusePage(pageFor, asker, host)?.status, status);
  });
}

Deno.test("page: on the health port, with the headers that keep it to itself", async () => {
  const ending = new AbortController();
  let reads = 0;
  const facts = (): readonly Fact[] => {
    reads++;
    return HEALTHY;
  };
  const desk = new PageDesk({ status: () => DAEMON, facts });
  const none = (): Promise<Response> => Promise.resolve(new Response());
  const pages = {
    health: () => ({ reasons: [], remarks: [] }),
    metrics: () => "",
    arrival: none,
    trace: none,
    page: () => desk.answer(),
  };
  const server = serveHealth("127.0.0.1", 0, pages, "loopback", ending.signal);
  const url = `http://127.0.0.1:${(server.addr as Deno.NetAddr).port}/`;
  const [first, second] = [await fetch(url), await fetch(url)];
  assert.equal(first.status, 200);
  const policy = first.headers.get("content-security-policy") ?? "";
  const nonce = /script-src 'nonce-([^']+)'/.exec(policy)?.[1];
  assert.match(policy, /^default-src 'none';/);
  const [html, other] = [await first.text(), await second.text()];
  assert.ok(html.includes(`<script nonce="${nonce}">`));
  assert.ok(!other.includes(`nonce="${nonce}"`), "a nonce is for one answer");
  assert.doesNotMatch(html, /(?:src|href)="(?!data:)/);
  assert.equal(reads, 1, "one look at the kernel is enough for a second");
  ending.abort();
  await server.finished;
});
