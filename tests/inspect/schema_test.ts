import assert from "node:assert/strict";
import { answers, DAEMON, lease, MEMORY } from "./known.ts";
import { nodeOf, podParts } from "./pods_scene.ts";
import { ENV_DUAL, fdb, HEALTHY, inspect, peer, peer6, route, type Scene, vtep6 } from "./scene.ts";

/** The part of JSON Schema that our documents need. */
interface Schema {
  /** `FILE#/$defs/NAME`. */
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
}

function load(file: string): Schema {
  return JSON.parse(Deno.readTextFileSync(new URL(`../../docs/schema/${file}`, import.meta.url)));
}

function resolve({ $ref, ...schema }: Schema): Schema {
  if ($ref === undefined) return schema;
  const [file = "", name = ""] = $ref.split("#/$defs/");
  const found = load(file).$defs?.[name];
  if (found === undefined) throw new Error(`no schema ${$ref}`);
  return found;
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return Number.isInteger(value) ? "integer" : typeof value;
}

/** Where a value is not as the schema says; unlike JSON Schema, unknown keys are errors too. */
function errors(unresolved: Schema, value: unknown, at: string): string[] {
  const schema = resolve(unresolved);
  // Anything goes: documents that others define.
  if (Object.keys(schema).length === 0) return [];
  const type = typeOf(value);
  if ("const" in schema && value !== schema.const) return [`${at} is not ${schema.const}`];
  if (schema.enum !== undefined && !schema.enum.includes(value)) return [`${at}: ${value}`];
  if (schema.type !== undefined && ![schema.type].flat().includes(type)) return [`${at}: ${type}`];
  if (Array.isArray(value)) {
    return value.flatMap((one, i) => errors(schema.items ?? {}, one, `${at}[${i}]`));
  }
  if (type !== "object") return [];
  const object = value as Readonly<Record<string, unknown>>;
  const known = schema.properties ?? {};
  const others = schema.additionalProperties;
  return [
    ...(schema.required ?? []).filter((key) => !(key in object)).map((key) => `${at} lacks ${key}`),
    ...Object.entries(object).flatMap(([key, one]) =>
      key in known || others !== undefined
        ? errors(known[key] ?? others!, one, `${at}.${key}`)
        : [`${at}.${key} is not described`]
    ),
  ];
}

const SCENES: Readonly<Record<string, Scene>> = {
  "a healthy node": {},
  "both families": {
    facts: [...HEALTHY, ...vtep6(), ...peer6(2)],
    files: { "/run/flannel/subnet.env": ENV_DUAL },
  },
  "faults of every kind of entry": {
    facts: [
      ...HEALTHY,
      ...peer(4).slice(0, 1),
      ...peer(5).slice(1),
      ...peer(6).slice(0, 2),
      fdb("flannel.1", "02:00:00:00:09:04", "192.0.2.9"),
      route("10.244.9.0/24", "eth0", { gateway: "192.0.2.9", protocol: 4 }),
      route("10.244.0.0/16", undefined, { blackhole: true }),
    ],
  },
  "a daemon with a bad record and a peer that is not programmed": {
    status: answers({
      ...DAEMON,
      store: { ...DAEMON.store, bad: [{ who: "k", reason: "r" }] },
      leases: { ...MEMORY, leases: [...MEMORY.leases, lease(4)] },
    }),
  },
  "pods with and without all that is known": nodeOf(podParts(2, "default/web"), podParts(3), {
    ...podParts(4),
    host: [],
    namespaces: {},
  }),
  "nothing at all": { facts: [], files: {} },
};

for (const command of ["subnet", "routes --all", "peers", "leases", "pods", "check"]) {
  const [kind] = command.split(" ");
  for (const [name, scene] of Object.entries(SCENES)) {
    Deno.test(`schema: ${command} of ${name} is as docs/schema says`, async () => {
      const schema = load(`inspect_${kind}.json`);
      const { stdout } = await inspect(`${command} -o json`, scene);
      assert.deepEqual(errors(schema, JSON.parse(stdout), kind!), []);
    });
  }
}
