/**
 * etcd over TLS, as a client that has only addresses and files: which certificates are taken, which
 * are refused, and in which words.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Log } from "../../daemon/log.ts";
import { EtcdClient, type EtcdOptions } from "../../daemon/store/etcd.ts";
import { readTls, TlsFiles } from "../../daemon/store/etcd_tls.ts";
import { Certificates } from "./certificates.ts";
import { request, Scene, until, VALUE, Watching } from "./etcd_scene.ts";
import { EtcdServer } from "./etcd_server.ts";

const files = new Certificates();
/** Its certificate names addresses only, one of the three that it listens on not among them. */
const server = await EtcdServer.start({
  tls: files.issue("server", ["IP:127.0.0.1", "IP:::1"]),
  hosts: ["[::1]", "127.0.0.2"],
});
const client = files.issue("client");
/** It lets in who has a certificate of the same authority. */
const strict = await EtcdServer.start({
  tls: files.issue("strict", ["DNS:localhost"]),
  args: ["--client-cert-auth", `--trusted-ca-file=${files.ca}`],
  ctl: [`--cert=${client.cert}`, `--key=${client.key}`],
  name: "localhost",
}).catch(async (e) => {
  await server.stop();
  throw e;
});
globalThis.addEventListener("unload", () => {
  server.signal("SIGKILL");
  strict.signal("SIGKILL");
});
Deno.test.afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await strict[Symbol.asyncDispose]();
  files[Symbol.dispose]();
});
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

const CA = { ca: files.ca, cert: "", key: "" };

/** One request to one endpoint; what went wrong, or nothing. */
async function knock(endpoint: string, paths?: Parameters<typeof readTls>[0]): Promise<string> {
  const tls = paths && readTls(paths);
  const options: EtcdOptions = { endpoints: [endpoint], deadline: 2_000 };
  using etcd = new EtcdClient({ ...options, ...(tls && { tls: () => tls }) });
  try {
    await etcd.list("/nothing/", new AbortController().signal);
    return "";
  } catch (e) {
    return (e as Error).message.replace("Cannot list etcd keys /nothing/: ", "");
  }
}

test("etcd: CA-only TLS to an address: leases, snapshots and renewals", async () => {
  await using scene = await Scene.make(server);
  const tls = new TlsFiles(CA, new Log({ write: (line) => scene.lines.push(line) }));
  const etcd = new EtcdClient({ endpoints: [server.endpoint], tls: () => tls.current() });
  const store = scene.store({ etcd, ttl: 3, margin: 2_500 });
  await store.acquire(request("192.168.64.1"), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.1.0/24");
  await scene.put("10.5.2.0-24", VALUE("192.168.64.2"));
  await watching.shows("10.5.1.0/24", "10.5.2.0/24");
  await scene.logged(/Lease renewed/);
  assert.equal(store.status().problem, undefined);
});

for (const [what, host] of [["IPv4", "127.0.0.1"], ["IPv6", "[::1]"]] as const) {
  test(`etcd: a certificate with nothing but the ${what} address is taken`, async () => {
    assert.equal(await knock(`https://${host}:${server.port}`, CA), "");
    assert.equal(await knock(`${host}:${server.port}`, CA), "", "with TLS files https is meant");
  });
}

test("etcd: a certificate for another address is refused, and both are named", async () => {
  const endpoint = `https://127.0.0.2:${server.port}`;
  const words = await knock(endpoint, CA);
  assert.equal(
    words,
    `${endpoint}: its certificate is not for 127.0.0.2 but for IP:127.0.0.1, IP:::1`,
  );
});

test("etcd: a name wants a certificate with that name, an address one with the address", async () => {
  assert.match(await knock(`https://localhost:${server.port}`, CA), /not for localhost but for IP/);
  const paths = { ...CA, cert: client.cert, key: client.key };
  assert.equal(await knock(`https://localhost:${strict.port}`, paths), "");
  assert.match(
    await knock(`https://127.0.0.1:${strict.port}`, paths),
    /not for 127\.0\.0\.1 but for DNS:localhost$/,
  );
});

test("etcd: a certificate of another authority is refused", async () => {
  using others = new Certificates();
  for (const paths of [{ ...CA, ca: others.ca }, undefined]) {
    assert.match(
      await knock(server.endpoint, paths),
      /^https:\/\/127\.0\.0\.1:\d+: its certificate comes from none of the authorities/,
    );
  }
});

test("etcd: without --etcd-cafile the authorities of the system count", async () => {
  const config = new URL(import.meta.resolve("../../deno.json")).pathname;
  const program = `
    import { EtcdClient } from "${import.meta.resolve("../../daemon/store/etcd.ts")}";
    using etcd = new EtcdClient({ endpoints: ["${server.endpoint}"] });
    await etcd.list("/nothing/", AbortSignal.timeout(5000));
    Deno.exit(0);`;
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      "--quiet",
      `--config=${config}`,
      `data:text/typescript,${encodeURI(program)}`,
    ],
    env: { SSL_CERT_FILE: files.ca },
    stdin: "null",
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
});

test("etcd: a client certificate opens the door, none keeps it shut", async () => {
  const endpoint = `https://localhost:${strict.port}`;
  assert.equal(await knock(endpoint, { ...CA, cert: client.cert, key: client.key }), "");
  // The alert and the end of the connection travel at the same time.
  const shut = /^https:\/\/localhost:\d+: .*wants? another client certificate/;
  assert.match(await knock(endpoint, CA), shut);
  using others = new Certificates();
  const { cert, key } = others.issue("stranger");
  assert.match(await knock(endpoint, { ...CA, cert, key }), shut);
});

test("etcd: the wrong kind of endpoint is told in plain words", async () => {
  assert.equal(
    await knock(`http://127.0.0.1:${server.port}`),
    `http://127.0.0.1:${server.port}: connection reset; does it want https://?`,
  );
  await using plain = await EtcdServer.start();
  assert.match(
    await knock(`https://127.0.0.1:${plain.port}`, CA),
    /^https:\/\/127\.0\.0\.1:\d+: it does not speak TLS; is it http:\/\/\?$/,
  );
  assert.match(await knock("http://127.0.0.1:1"), /^http:\/\/127\.0\.0\.1:1: connection refused$/);
  assert.match(
    await knock("http://no-such-host.invalid:1"),
    /^http:\/\/no-such-host\.invalid:1: its name cannot be resolved$/,
  );
});

test("etcd: certificates that were renewed on disk are used for the next connection", async () => {
  using mine = new Certificates();
  const { cert, key } = mine.issue("stranger");
  const tls = new TlsFiles({ ca: files.ca, cert, key }, new Log({ write: () => {} }));
  using etcd = new EtcdClient({
    endpoints: [`https://localhost:${strict.port}`],
    tls: () => tls.current(),
    deadline: 1_000,
  });
  const { signal } = new AbortController();
  await assert.rejects(etcd.list("/nothing/", signal));
  await Deno.copyFile(client.cert, cert);
  await Deno.copyFile(client.key, key);
  await until("an answer", () => etcd.list("/nothing/", signal).then(() => true, () => false));
});
