/**
 * The page as text: HTML without anything from elsewhere. It is whole without its script, which
 * only fetches it again and swaps the part that changes. Pure.
 *
 * @module
 */

import { escapeMarkup } from "../../engine/diagram/markup.ts";
import { diagramOf, type Scene, shorten } from "../../engine/diagram/picture.ts";
import { drawSvg } from "../../engine/diagram/svg.ts";
import { leaseSubnets } from "../../engine/lease.ts";
import type { NodeStatus } from "../../engine/node_status.ts";
import { nameOf, type PagePeer, peersOf } from "./scene.ts";

/** Boxes of a kind in the picture, and rows of the table. */
const MOST = { boxes: 12, rows: 500 } as const;

/** Milliseconds between two looks of the script. */
const REFRESH = 5_000;

const STYLE = `
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 1.6rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top; }
.ok { color: #1a7f37; } .wrong { color: #b3261e; }
.picture { overflow-x: auto; } svg { max-width: none; }
footer { color: #57606a; margin-top: 2rem; font-size: .85rem; }
@media (prefers-color-scheme: dark) {
  .ok { color: #3fb950; } .wrong { color: #f85149; } footer { color: #9198a1; }
}`;

const SCRIPT = `
setInterval(async () => {
  const old = document.querySelector("main");
  try {
    const answer = await fetch(location.pathname, { cache: "no-store" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const now = page.querySelector("main");
    if (answer.ok && now) old.replaceWith(now);
    document.getElementById("stale").hidden = answer.ok;
  } catch {
    document.getElementById("stale").hidden = false;
  }
}, ${REFRESH});`;

/** What the page is made from. */
export interface PageView {
  readonly status: NodeStatus;
  /** The picture; absent, with a reason, when the kernel cannot be read. */
  readonly scene: Scene | string;
  /** `Date.now()`. */
  readonly now: number;
  /** Marks the page's own style and script: no others run. */
  readonly nonce: string;
}

/** The whole document. */
export function pageHtml({ status, scene, now, nonce }: PageView): string {
  const { reasons, leases } = status;
  const node = leases === undefined ? "this node" : nameOf(leases.own);
  const ready = reasons.length === 0;
  const peers = peersOf(status);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeMarkup(node)}: twill</title>
<link rel="icon" href="data:,">
<style nonce="${nonce}">${STYLE}
</style>
</head>
<body>
<main>
<h1>${escapeMarkup(node)}: <span class="${ready ? "ok" : "wrong"}">${
    ready ? "ready" : "not ready"
  }</span></h1>
${list("Why it is not ready", reasons, "wrong")}${list("Remarks", status.remarks, "")}<table>
${nodeRows(status, now).map(([name, value]) => row("th", [name], [value])).join("\n")}
</table>
<h2>The network of this node</h2>
<div class="picture">
${
    typeof scene === "string"
      ? `<p class="wrong">${escapeMarkup(scene)}</p>`
      : drawSvg(shorten(diagramOf(scene), MOST.boxes))
  }</div>
<h2>Other nodes: ${peers.length}</h2>
${peerTable(peers)}
<footer>${escapeMarkup(status.version)}; as of ${new Date(now).toISOString()}.
More: <code>twill inspect status</code>, <code>twill inspect check</code>.</footer>
</main>
<p id="stale" class="wrong" hidden>The daemon does not answer any more: this is what it last said.</p>
<script nonce="${nonce}">${SCRIPT}
</script>
</body>
</html>
`;
}

function list(head: string, lines: readonly string[], kind: string): string {
  if (lines.length === 0) return "";
  const items = lines.map((line) => `<li>${escapeMarkup(line)}</li>`).join("");
  return `<h2>${head}</h2>\n<ul class="${kind}">${items}</ul>\n`;
}

function row(tag: "th" | "td", heads: readonly string[], cells: readonly string[]): string {
  const first = heads.map((text) => `<${tag}>${escapeMarkup(text)}</${tag}>`).join("");
  return `<tr>${first}${cells.map((text) => `<td>${escapeMarkup(text)}</td>`).join("")}</tr>`;
}

function nodeRows(status: NodeStatus, now: number): [string, string][] {
  const { leases, uplink, store, pass, plugins, policy } = status;
  return [
    ["Subnet", leases === undefined ? "none yet" : leaseSubnets(leases.own).join(", ")],
    ["Backend", leases?.conf.backend.type ?? "not known yet"],
    ["Uplink", uplink === undefined ? "none yet" : `${uplink.name}, MTU ${uplink.mtu}`],
    [
      "Store",
      `${store.name} ${store.connected ? "answers" : "does not answer"}${
        store.problem === undefined ? "" : `: ${store.problem}`
      }`,
    ],
    [
      "Lease",
      leases?.ends === undefined
        ? "has no end"
        : `ends in ${span(leases.ends - now)} unless renewed`,
    ],
    [
      "Last pass",
      pass === undefined
        ? "none yet"
        : `${pass.cause}; ${pass.changes} changes in ${Math.round(pass.took)} ms`,
    ],
    ["Peers", pass === undefined ? "none yet" : `${pass.programmed} of ${pass.peers} programmed`],
    ["Plugin calls", `${plugins.served} served by the daemon`],
    ["NetworkPolicy", `${policy.state}; ${policy.policies} policies`],
    ["Up for", span(now - status.started)],
  ];
}

/** Milliseconds in the one unit that says enough. */
function span(ms: number): string {
  const units = [["days", 86_400], ["hours", 3_600], ["minutes", 60]] as const;
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [unit, size] = units.find(([, size]) => seconds >= 2 * size) ?? ["s", 1];
  return `${Math.floor(seconds / size)} ${unit}`;
}

function peerTable(peers: readonly PagePeer[]): string {
  if (peers.length === 0) return "<p>None.</p>";
  // Those with problems first: they are why somebody looks.
  const sorted = [
    ...peers.filter(({ reason }) => reason !== undefined),
    ...peers.filter(({ reason }) => reason === undefined),
  ];
  const rows = sorted.slice(0, MOST.rows).map(({ name, addresses, subnets, reason }) => {
    const state = reason === undefined
      ? '<td class="ok">ok</td>'
      : `<td class="wrong">${escapeMarkup(reason)}</td>`;
    return row("td", [name, addresses.join(", "), subnets.join(", ")], [])
      .replace("</tr>", () => `${state}</tr>`);
  });
  const more = peers.length > MOST.rows ? `<p>And ${peers.length - MOST.rows} more.</p>` : "";
  return `<table>
<tr><th>Node</th><th>Address</th><th>Pods in</th><th>State</th></tr>
${rows.join("\n")}
</table>${more}`;
}
