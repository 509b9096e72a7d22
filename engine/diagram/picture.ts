/**
 * A node's pod network as boxes and lines: pods, their bridge, the overlay, the uplink, the other
 * nodes. Pure, and without a form: `text.ts`, `svg.ts` and `mermaid.ts` draw it.
 *
 * @module
 */

/** What a box stands for; the order is the way of a packet that leaves a pod. */
export const LAYERS = ["pod", "bridge", "overlay", "uplink", "peer"] as const;
/** One of {@link LAYERS}. */
export type Layer = typeof LAYERS[number];

/** A thing in the picture. */
export interface Box {
  /** Unique in the picture: `pod:default/web`. */
  readonly id: string;
  readonly layer: Layer;
  /** Its name. Foreign text: drawers escape it. */
  readonly title: string;
  /** What is known about it. Foreign text too. */
  readonly lines: readonly string[];
  readonly ok: boolean;
}

/** A line between two boxes. */
export interface Wire {
  /** {@link Box.id} of the end that is nearer to the pods. */
  readonly from: string;
  readonly to: string;
  /** What happens to packets there. */
  readonly label: string;
  readonly ok: boolean;
}

/** The whole picture. */
export interface Diagram {
  readonly title: string;
  readonly boxes: readonly Box[];
  readonly wires: readonly Wire[];
}

/** What is drawn of a node, as far as it is known. */
export interface Scene {
  readonly node?: string;
  /** Pods' addresses here, for the title. */
  readonly subnets: readonly string[];
  readonly pods: readonly {
    readonly name: string;
    readonly ips: readonly string[];
    /** The node's end of its pair. */
    readonly veth?: string;
    readonly ok: boolean;
  }[];
  readonly bridge?: { readonly name: string; readonly lines: readonly string[] };
  /** Devices that put packets into others. */
  readonly overlays: readonly {
    readonly name: string;
    readonly lines: readonly string[];
    /** What they do to packets: `VXLAN, UDP port 8472`. */
    readonly wraps: string;
    readonly ok: boolean;
  }[];
  readonly uplink?: { readonly name: string; readonly lines: readonly string[] };
  readonly peers: readonly {
    readonly name: string;
    readonly lines: readonly string[];
    /** The overlay device that leads there; absent: without encapsulation. */
    readonly by?: string;
    readonly ok: boolean;
  }[];
  /** Pods are seen with the node's address outside. */
  readonly masquerade: boolean;
}

/** Puts boxes and lines together. */
export function diagramOf(scene: Scene): Diagram {
  const { node, subnets, pods, bridge, overlays, uplink, peers } = scene;
  const boxes: Box[] = [];
  const wires: Wire[] = [];
  for (const { name, ips, veth, ok } of pods) {
    const id = unique(boxes, `pod:${name}`);
    boxes.push({ id, layer: "pod", title: name, lines: [...ips, ...veth ? [veth] : []], ok });
    if (bridge !== undefined) wires.push({ from: id, to: `bridge:${bridge.name}`, label: "", ok });
  }
  if (bridge !== undefined) {
    const { name, lines } = bridge;
    boxes.push({ id: `bridge:${name}`, layer: "bridge", title: name, lines, ok: true });
  }
  for (const { name, lines, wraps, ok } of overlays) {
    const id = `overlay:${name}`;
    boxes.push({ id, layer: "overlay", title: name, lines, ok });
    if (bridge !== undefined) {
      wires.push({ from: `bridge:${bridge.name}`, to: id, label: "to pods of other nodes", ok });
    }
    if (uplink !== undefined) {
      wires.push({ from: id, to: `uplink:${uplink.name}`, label: wraps, ok });
    }
  }
  if (uplink !== undefined) {
    const { name, lines } = uplink;
    const id = `uplink:${name}`;
    boxes.push({ id, layer: "uplink", title: name, lines, ok: true });
    if (bridge !== undefined) {
      const label = scene.masquerade ? "to the rest, with this node's address" : "to the rest";
      wires.push({ from: `bridge:${bridge.name}`, to: id, label, ok: true });
    }
  }
  for (const { name, lines, by, ok } of peers) {
    const id = unique(boxes, `peer:${name}`);
    boxes.push({ id, layer: "peer", title: name, lines, ok });
    if (uplink !== undefined) {
      const label = by === undefined
        ? "without encapsulation"
        : overlays.length > 1
        ? `by ${by}`
        : "";
      wires.push({ from: `uplink:${uplink.name}`, to: id, label, ok });
    }
  }
  const where = subnets.length === 0 ? "no subnet yet" : `pods in ${subnets.join(", ")}`;
  return { title: `${node ?? "this node"}: ${where}`, boxes, wires };
}

function unique(boxes: readonly Box[], wish: string): string {
  let id = wish;
  for (let n = 2; boxes.some((box) => box.id === id); n++) id = `${wish}#${n}`;
  return id;
}

/**
 * The same with fewer boxes: of each layer at most `most`, those with faults first; one more stands
 * for the rest.
 */
export function shorten({ title, boxes, wires }: Diagram, most: number): Diagram {
  const kept = LAYERS.flatMap((layer) => {
    const all = boxes.filter((box) => box.layer === layer);
    if (all.length <= most) return all;
    const chosen = new Set(
      [...all.filter(({ ok }) => !ok), ...all.filter(({ ok }) => ok)].slice(0, most),
    );
    const left = all.filter((box) => !chosen.has(box));
    const bad = left.filter(({ ok }) => !ok).length;
    const rest: Box = {
      id: `${layer}:more`,
      layer,
      title: `and ${left.length} more`,
      lines: bad === 0 ? [] : [`${bad} of them with problems`],
      ok: bad === 0,
    };
    return [...all.filter((box) => chosen.has(box)), rest];
  });
  const ids = new Set(kept.map(({ id }) => id));
  return {
    title,
    boxes: kept,
    wires: wires.filter(({ from, to }) => ids.has(from) && ids.has(to)),
  };
}

/** Foreign text in one line that no terminal or parser takes for more: control characters go. */
export function oneLine(text: string): string {
  // deno-lint-ignore no-control-regex -- they are what must not pass; so must marks that turn text round
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "?");
}
