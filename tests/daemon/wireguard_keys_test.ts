import assert from "node:assert/strict";
import { Log } from "../../daemon/log.ts";
import { openKeys, type SecretFiles, withPsk } from "../../daemon/wireguard_keys.ts";
import { OpError } from "../../engine/errors.ts";
import { stringifyJson } from "../../engine/json.ts";
import { parseNetConf, withoutSecrets } from "../../engine/net_conf.ts";

/** From RFC 7748, 6.1. */
const PRIVATE = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
const PUBLIC = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
const PSK = "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=";

interface Scene extends Disposable {
  readonly files: SecretFiles;
  readonly log: Log;
  readonly said: string[];
}

function scene(): Scene {
  const dir = Deno.makeTempDirSync();
  const said: string[] = [];
  return {
    files: { key: `${dir}/state/key`, oldKey: `${dir}/wgkey`, psk: `${dir}/state/psk` },
    log: new Log({ format: "text", level: "info", write: (line: string) => void said.push(line) }),
    said,
    [Symbol.dispose]: () => Deno.removeSync(dir, { recursive: true }),
  };
}

Deno.test("openKeys: makes a key once, for root alone, and does not tell it", async () => {
  using s = scene();
  const { publicKey, privateKey } = await openKeys(s.files, s.log);
  const again = await openKeys(s.files, s.log);
  assert.equal(again.publicKey, publicKey);
  assert.ok(again.privateKey.equals(privateKey));
  assert.equal((Deno.statSync(s.files.key).mode ?? 0) & 0o777, 0o600);
  assert.equal(s.said.length, 1);
  assert.ok(!s.said[0]?.includes(Deno.readTextFileSync(s.files.key).trim()));
});

Deno.test("openKeys: takes over flannel's, and knows the public half of it", async () => {
  using s = scene();
  Deno.writeTextFileSync(s.files.oldKey ?? "", `${PRIVATE}\n`);
  assert.equal((await openKeys(s.files, s.log)).publicKey, PUBLIC);
  Deno.removeSync(s.files.oldKey ?? "");
  assert.equal((await openKeys(s.files, s.log)).publicKey, PUBLIC);
});

Deno.test("openKeys: a damaged file is named, not replaced, not quoted", async () => {
  using s = scene();
  await openKeys(s.files, s.log);
  Deno.writeTextFileSync(s.files.key, "secret but short");
  await assert.rejects(openKeys(s.files, s.log), (e) => {
    assert.ok(e instanceof OpError);
    return e.message.includes(s.files.key) && !`${e.message}${e.advice}`.includes("short");
  });
});

Deno.test("withPsk: the key of the network outlives a store that is away", () => {
  using s = scene();
  const conf = parseNetConf(
    `{"Network":"10.0.0.0/16","Backend":{"Type":"wireguard","psk":"${PSK}","MTU":1400}}`,
  );
  const remembered = withoutSecrets(conf);
  assert.throws(() => withPsk(remembered, s.files), /pre-shared key of the remembered/);
  assert.equal(withPsk(conf, s.files), conf);
  assert.equal((Deno.statSync(s.files.psk).mode ?? 0) & 0o777, 0o600);
  const { backend } = withPsk(remembered, s.files);
  assert.equal(stringifyJson(backend.raw), stringifyJson(conf.backend.raw));
});
