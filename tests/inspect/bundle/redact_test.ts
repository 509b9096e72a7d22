/** Secrets, in every form that we know of, and what is none. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { dump } from "js-yaml";
import { redact } from "../../../inspect/bundle/redact.ts";

/** How a secret may stand in a text. */
const FORMS: Readonly<Record<string, (secret: string) => string>> = {
  json: (s) => JSON.stringify({ password: s, other: 1 }),
  "json, indented": (s) => JSON.stringify({ a: { "client-key-data": s, b: 2 } }, null, 2),
  "json in json": (s) => JSON.stringify({ config: JSON.stringify({ Backend: { PSK: s } }) }),
  "json in json in json": (s) =>
    JSON.stringify([JSON.stringify({ config: JSON.stringify({ token: s }) })]),
  yaml: (s) => dump({ users: [{ name: "n", user: { token: s, password: s } }] }),
  "yaml block": (s) => `users:\n- user:\n    token: |\n      ${s}\n      more ${s}\n  name: x\n`,
  flag: (s) => `twill daemon --etcd-password='${s.replaceAll("'", "")}' --ip-masq`,
  "list of words": (s) => JSON.stringify(["--etcd-password", s.replace(/\W/g, "x"), "--ip-masq"]),
  variable: (s) => `FLANNELD_ETCD_PASSWORD=${s.replace(/["'\\]/g, "")}\n`,
  unit: (s) => `Environment="FLANNELD_ETCD_PASSWORD=${s.replace(/["'\\]/g, "")}"\n`,
  url: (s) =>
    `cannot reach https://root:${encodeURIComponent(s).replaceAll("'", "")}@etcd:2379: refused`,
  header: (s) => `> Authorization: Bearer ${s.replace(/\W/g, ".")}\n`,
  bearer: (s) => `sent Bearer ${s.replace(/\W/g, ".")} to the API`,
  pem: (s) => `-----BEGIN EC PRIVATE KEY-----\n${s}\n-----END EC PRIVATE KEY-----\n`,
  "cut pem": (s) => `-----BEGIN PRIVATE KEY-----\n${s}`,
  jwt: (s) => `token eyJhbGciOiJSUzI1NiJ9.${s.replace(/\W/g, "_")}.abc`,
};

const hex = fc.string({
  unit: fc.constantFrom(..."0123456789abcdef"),
  minLength: 12,
  maxLength: 12,
});
/** Two parts that must both go, whatever stands between them. */
const secrets = fc.tuple(
  hex,
  fc.constantFrom("", '"', "'", "\\", " ", ",", "}", "$&", ":", "=", "#", "@"),
  hex,
);

for (const [name, form] of Object.entries(FORMS)) {
  Deno.test(`redact: ${name}`, () => {
    fc.assert(fc.property(secrets, ([a, between, b]) => {
      const text = form(a + between + b);
      const clean = redact(text);
      assert.ok(!clean.includes(a) && !clean.includes(b), `${text}\n${clean}`);
      assert.equal(redact(clean), clean, "once is enough");
    }));
  });
}

Deno.test("redact: JSON stays JSON, and what is no secret stays", () => {
  const value = {
    password: "p",
    nested: JSON.stringify({ token: "t", keep: 1 }),
    userName: null,
    secret: { a: 1 },
    automountServiceAccountToken: false,
    PIN: 7,
    store: "etcd https://u:p@h:1/x",
  };
  assert.deepEqual(JSON.parse(redact(JSON.stringify(value, null, 2))), {
    ...value,
    password: "REMOVED",
    nested: JSON.stringify({ token: "REMOVED", keep: 1 }),
    store: "etcd https://REMOVED@h:1/x",
  });
  const text =
    "10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink\nflags: --etcd-password=x --ip-masq\n";
  assert.equal(redact(text), text.replace("=x", "=REMOVED"));
});
