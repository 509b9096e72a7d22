import assert from "node:assert/strict";
import { findAccess, type KubeAccess } from "../../../daemon/kube/access.ts";
import { KubeClient } from "../../../daemon/kube/client.ts";
import { Credentials } from "../../../daemon/kube/credentials.ts";
import { KubeError } from "../../../daemon/kube/errors.ts";
import { OpError } from "../../../engine/errors.ts";
import { Certificates } from "../../kernel/certificates.ts";
import { FakeApi, status } from "./fake_api.ts";

const NONE = { kubeconfig: "", apiUrl: "" };
const FOREVER = new AbortController().signal;

/** A folder with files, gone at the end. */
class Folder implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "twill-kube-" });
  write(name: string, text: string): string {
    Deno.writeTextFileSync(`${this.path}/${name}`, text);
    return `${this.path}/${name}`;
  }
  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

interface Config {
  readonly cluster?: Record<string, unknown>;
  readonly user?: Record<string, unknown>;
  readonly [more: string]: unknown;
}

function kubeconfig({ cluster, user, ...more }: Config): string {
  return JSON.stringify({
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
    clusters: [{ name: "k", cluster: { server: "https://10.0.0.1:6443", ...cluster } }],
    users: [{ name: "u", user: { ...user } }],
    ...more,
  });
}

async function read(text: string): Promise<KubeAccess> {
  using folder = new Folder();
  const path = folder.write("config", text);
  const access = await findAccess({ ...NONE, kubeconfig: path }, { env: () => undefined });
  return JSON.parse(JSON.stringify(access).replaceAll(folder.path, ""));
}

/** What stands in a kubeconfig, and what it comes to. */
const READS: readonly (readonly [name: string, text: string, want: Partial<KubeAccess>])[] = [
  ["a token", kubeconfig({ user: { token: "t" } }), {
    servers: ["https://10.0.0.1:6443"],
    token: { kind: "text", text: "t" },
    compress: true,
  }],
  [
    "tokenFile before token, beside the kubeconfig",
    kubeconfig({
      user: { token: "t", tokenFile: "sub/token" },
    }),
    { token: { kind: "file", path: "/sub/token" } },
  ],
  [
    "inline data before files",
    kubeconfig({
      cluster: { "certificate-authority-data": btoa("CA"), "certificate-authority": "x" },
    }),
    { ca: { kind: "text", text: "CA" } },
  ],
  [
    "client certificate files, relative and absolute",
    kubeconfig({
      user: { "client-certificate": "c.pem", "client-key": "/etc/k.pem" },
    }),
    { cert: { kind: "file", path: "/c.pem" }, key: { kind: "file", path: "/etc/k.pem" } },
  ],
  ["user and password", kubeconfig({ user: { username: "u", password: "p" } }), {
    basic: { username: "u", password: "p" },
  }],
  ["a proxy", kubeconfig({ cluster: { "proxy-url": "socks5://h:1" } }), { proxy: "socks5://h:1" }],
  ["disable-compression", kubeconfig({ cluster: { "disable-compression": true } }), {
    compress: false,
  }],
  ["a path in the address", kubeconfig({ cluster: { server: "https://h/k8s/c-1/" } }), {
    servers: ["https://h/k8s/c-1"],
  }],
  ["IPv6", kubeconfig({ cluster: { server: "https://[fd00::1]:6443" } }), {
    servers: ["https://[fd00::1]:6443"],
  }],
  [
    "YAML",
    "current-context: c\ncontexts:\n- {name: c, context: {cluster: k, user: u}}\nclusters:\n" +
    "- name: k\n  cluster: {server: 'https://h'}\nusers: [{name: u, user: {token: x}}]\n",
    { servers: ["https://h"], token: { kind: "text", text: "x" } },
  ],
  [
    "refused members that are off",
    kubeconfig({
      cluster: { "insecure-skip-tls-verify": false, "tls-server-name": "" },
      user: { exec: null },
    }),
    { servers: ["https://10.0.0.1:6443"] },
  ],
];
for (const [name, text, want] of READS) {
  Deno.test(`readKubeconfig: ${name}`, async () => {
    const access = await read(text);
    assert.deepEqual({ ...access, ...want }, access);
  });
}

/** What is refused, and by which words. */
const REFUSED: readonly (readonly [name: string, text: string, want: RegExp])[] = [
  ["exec", kubeconfig({ user: { exec: { command: "aws" } } }), /user "u": exec \(aws\)/],
  [
    "auth-provider",
    kubeconfig({ user: { "auth-provider": { name: "gcp" } } }),
    /auth-provider \(gcp/,
  ],
  ["as", kubeconfig({ user: { as: "root" } }), /as is not supported/],
  [
    "insecure-skip-tls-verify",
    kubeconfig({
      cluster: { "insecure-skip-tls-verify": true },
    }),
    /cluster "k": insecure-skip-tls-verify is refused/,
  ],
  [
    "tls-server-name",
    kubeconfig({ cluster: { "tls-server-name": "x" } }),
    /tls-server-name is not/,
  ],
  ["no context", kubeconfig({ "current-context": "" }), /no current-context/],
  [
    "a context that is not there",
    kubeconfig({ "current-context": "d" }),
    /there is no context "d"/,
  ],
  ["a user that is not there", kubeconfig({ users: [] }), /there is no user "u"/],
  ["no server", kubeconfig({ cluster: { server: "" } }), /cluster "k" has no server/],
  ["a bad server", kubeconfig({ cluster: { server: "ftp://x" } }), /server of cluster "k".*ftp/],
  ["a certificate alone", kubeconfig({ user: { "client-certificate": "x" } }), /has no client-key/],
  ["bad base64", kubeconfig({ user: { "client-key-data": "%" } }), /client-key-data of user "u"/],
  [
    "a token over http",
    kubeconfig({
      cluster: { server: "http://10.0.0.1" },
      user: { token: "t" },
    }),
    /without TLS everybody/,
  ],
  ["a bad proxy", kubeconfig({ cluster: { "proxy-url": "h:1" } }), /proxy-url of cluster "k"/],
  ["no YAML", "a: b: c", /use kubeconfig/],
  ["a list", "[]", /no current-context/],
];
for (const [name, text, want] of REFUSED) {
  Deno.test(`readKubeconfig: refuses ${name} by name`, async () => {
    await assert.rejects(read(text), (e) => e instanceof OpError && want.test(e.message));
  });
}

Deno.test("findAccess: KUBECONFIG's files are merged, the first wins, missing ones are left out", async () => {
  using folder = new Folder();
  const one = folder.write("one", '{"current-context": "c"}');
  const two = folder.write("two", kubeconfig({ "current-context": "d", user: { token: "t" } }));
  const list = `${one}:${folder.path}/none:${two}`;
  const env = (name: string): string | undefined => name === "KUBECONFIG" ? list : undefined;
  assert.deepEqual((await findAccess(NONE, { env })).token, { kind: "text", text: "t" });
});

Deno.test("findAccess: a pod's account, its address as the fallback of --kube-api-url", async () => {
  using folder = new Folder();
  folder.write("token", "t");
  const env = (name: string): string | undefined =>
    ({ KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" })[name];
  const around = { env, accountDir: folder.path };
  const access = await findAccess({ ...NONE, apiUrl: "10.0.0.1:6443" }, around);
  assert.deepEqual(access.servers, ["https://10.0.0.1:6443", "https://[fd00::1]:443"]);
  assert.deepEqual(access.token, { kind: "file", path: `${folder.path}/token` });
});

Deno.test("findAccess: nothing found says what to set", async () => {
  const none = findAccess(NONE, { env: () => undefined, accountDir: "/nonexistent" });
  await assert.rejects(none, /this is no pod .* no kubeconfig is named/);
});

/** An address where nobody listens. */
function deadUrl(): string {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return `http://127.0.0.1:${(listener.addr as Deno.NetAddr).port}`;
}

function get(client: KubeClient): Promise<unknown> {
  return client.json({ verb: "get", resource: "nodes", path: "/api/v1/nodes", signal: FOREVER });
}

Deno.test("KubeClient: a token file that was renewed is read again after a 401", async () => {
  await using api = new FakeApi();
  using folder = new Folder();
  const path = folder.write("token", "old\n");
  api.token = "old";
  const access = { from: "test", servers: [api.url], compress: true };
  using client = new KubeClient({ ...access, token: { kind: "file", path } });
  await get(client);
  folder.write("token", "new\n");
  api.token = "new";
  await get(client);
  api.token = "newer";
  await assert.rejects(get(client), (e) => e instanceof KubeError && e.status === 401);
});

Deno.test("Credentials: a token file is read again each minute, and a missing one is forgiven", () => {
  using folder = new Folder();
  const path = folder.write("token", "one");
  let now = 0;
  const access = { from: "test", servers: [], compress: true };
  const credentials = new Credentials({ ...access, token: { kind: "file", path } }, () => now);
  assert.equal(credentials.authorization(), "Bearer one");
  folder.write("token", "two");
  assert.equal(credentials.authorization(), "Bearer one");
  now = 61_000;
  assert.equal(credentials.authorization(), "Bearer two");
  Deno.removeSync(path);
  now = 122_000;
  assert.equal(credentials.authorization(), "Bearer two");
});

Deno.test("KubeClient: the next address is used when the first does not answer", async () => {
  await using api = new FakeApi();
  const access = { from: "test", servers: [deadUrl(), api.url], compress: true };
  using client = new KubeClient(access);
  await get(client);
  assert.equal(client.server, api.url);
});

Deno.test("KubeClient: no server at all is an error with the address and the reason", async () => {
  const access = { from: "test", servers: [deadUrl()], compress: true };
  using client = new KubeClient(access);
  await assert.rejects(get(client), (e) => {
    assert.ok(e instanceof OpError);
    assert.match(e.message, /^Cannot get nodes: http:\/\/127.0.0.1:\d+: .*[Cc]onnection refused/);
    return true;
  });
});

Deno.test("KubeClient: a server that says nothing is given up, and the signal ends a wait", async () => {
  await using api = new FakeApi();
  const hang = Promise.withResolvers<void>();
  api.answer = () => hang.promise.then(() => status(500, "", ""));
  const access = { from: "test", servers: [api.url], compress: true };
  using client = new KubeClient(access);
  const request = { verb: "get", resource: "nodes", path: "/api/v1/nodes" };
  const late = client.open({ ...request, signal: FOREVER, patience: 50 });
  await assert.rejects(late, /the server does not answer/);
  const ended = client.open({ ...request, signal: AbortSignal.timeout(50) });
  await assert.rejects(ended, { name: "TimeoutError" });
  hang.resolve();
});

Deno.test("KubeClient: renew ends what is open, and asks again what had no answer yet", async () => {
  await using api = new FakeApi();
  const access = { from: "test", servers: [api.url], compress: true };
  using client = new KubeClient(access);
  const hang = Promise.withResolvers<void>();
  let asked = 0;
  api.answer = () => ++asked === 1 ? hang.promise.then(() => status(500, "", "")) : undefined;
  const request = { verb: "list", resource: "nodes", path: "/api/v1/nodes", signal: FOREVER };
  const answer = client.json(request);
  while (asked === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  client.renew();
  assert.ok(await answer);
  hang.resolve();
  const watch = await client.open({ ...request, query: { watch: "1", resourceVersion: "100" } });
  client.renew();
  await assert.rejects(watch.text(), /address has changed/);
});

Deno.test("KubeClient: TLS with an address in the certificate; other authorities are refused", async () => {
  using certificates = new Certificates();
  using others = new Certificates();
  const server = certificates.issue("api", ["IP:127.0.0.1"]);
  const client = certificates.issue("client");
  await using api = new FakeApi({
    cert: Deno.readTextFileSync(server.cert),
    key: Deno.readTextFileSync(server.key),
  });
  const url = api.url.replace("http:", "https:");
  const text = kubeconfig({
    cluster: { server: url, "certificate-authority": server.ca },
    user: { "client-certificate": client.cert, "client-key": client.key },
  });
  const path = certificates.write("config", text);
  const access = await findAccess({ ...NONE, kubeconfig: path }, { env: () => undefined });
  using good = new KubeClient(access);
  await get(good);
  using bad = new KubeClient({ ...access, ca: { kind: "file", path: others.ca } });
  await assert.rejects(
    get(bad),
    (e) => e instanceof OpError && /invalid peer certificate/.test(e.message),
  );
});
