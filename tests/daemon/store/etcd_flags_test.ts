import assert from "node:assert/strict";
import { parseFlags } from "../../../daemon/flags.ts";
import { Log } from "../../../daemon/log.ts";
import type { EtcdOptions } from "../../../daemon/store/etcd.ts";
import { etcdOptionsOf } from "../../../daemon/store/etcd_flags.ts";
import { TlsFiles } from "../../../daemon/store/etcd_tls.ts";
import { Certificates } from "../../kernel/certificates.ts";

const files = new Certificates();
const { cert, key, ca } = files.issue("client");
Deno.test.afterAll(() => files[Symbol.dispose]());

const lines: string[] = [];
const log = new Log({ write: (line) => lines.push(line) });

function options(...args: string[]): EtcdOptions {
  const line = parseFlags(args, () => undefined);
  assert.equal(line.kind, "run");
  return etcdOptionsOf((line as Extract<typeof line, { kind: "run" }>).flags, log);
}

const TLS = "--etcd-endpoints=https://10.0.0.2:2379";
const USER = ["--etcd-username=maid", "--etcd-password=open-sesame"];

Deno.test("etcd flags: nothing said means two endpoints without TLS", () => {
  assert.deepEqual(options(), { endpoints: ["http://127.0.0.1:4001", "http://127.0.0.1:2379"] });
});

Deno.test("etcd flags: empty and repeated endpoints are left out", () => {
  const { endpoints } = options("--etcd-endpoints=http://a:1, http://b:2,,http://a:1/");
  assert.deepEqual(endpoints, ["http://a:1", "http://b:2"]);
});

Deno.test("etcd flags: a CA file alone makes TLS, and endpoints without a scheme secure", () => {
  const { endpoints, tls } = options("--etcd-endpoints=10.0.0.2:2379", `--etcd-cafile=${ca}`);
  assert.deepEqual(endpoints, ["https://10.0.0.2:2379"]);
  assert.deepEqual(Object.keys(tls?.() ?? {}), ["ca"]);
});

Deno.test("etcd flags: certificate and key are read, and the same object as long as they stay", () => {
  const { tls } = options(TLS, `--etcd-certfile=${cert}`, `--etcd-keyfile=${key}`);
  assert.match(tls?.().key ?? "", /PRIVATE KEY/);
  assert.equal(tls?.(), tls?.());
});

Deno.test("etcd flags: TLS files for plain endpoints are no silent protection", () => {
  lines.length = 0;
  options("--etcd-endpoints=http://10.0.0.2:2379", `--etcd-cafile=${ca}`);
  assert.match(lines.join(""), /TLS files are not used.*endpoints=http:\/\/10\.0\.0\.2:2379/);
});

Deno.test("etcd flags: user and password go over TLS, or where that is allowed", () => {
  const auth = { username: "maid", password: "open-sesame" };
  assert.deepEqual(options(TLS, ...USER).auth, auth);
  assert.deepEqual(options(...USER, "--etcd-allow-insecure-auth").auth, auth);
});

/** The arguments, and the words that name the flag or file. */
const BAD: readonly (readonly [args: readonly string[], message: RegExp])[] = [
  [["--etcd-endpoints="], /^Cannot use --etcd-endpoints: it names no endpoint$/],
  [["--etcd-endpoints=http://a:1,b"], /^Cannot use --etcd-endpoints: no etcd endpoint: "b"/],
  [USER, /^Cannot use --etcd-username: http:.*4001,http:.* is without TLS/],
  [[...USER, `${TLS},http://a:1`], /^Cannot use --etcd-username: http:\/\/a:1 is without TLS/],
  [[TLS, "--etcd-username=maid"], /^Cannot use --etcd-username: user and password go together$/],
  [[TLS, "--etcd-password=x"], /^Cannot use --etcd-password: user and password go together$/],
  [[TLS, "--etcd-cafile=/no/ca"], /^Cannot read etcd authority \/no\/ca: No such file/],
  [[TLS, "--etcd-cafile=/"], /^Cannot read etcd authority \/: Is a directory/],
  [[TLS, `--etcd-cafile=${key}`], /^Cannot use etcd authority .*client\.key: no PEM certificate/],
  [
    [TLS, `--etcd-cafile=${files.write("bad.pem", garbled("CERTIFICATE"))}`],
    /^Cannot use etcd authority .*bad\.pem: certificate 1 in it cannot be read$/,
  ],
  [[TLS, `--etcd-certfile=${cert}`], /^Cannot use etcd certificate .*client\.pem: .*go together$/],
  [[TLS, `--etcd-keyfile=${key}`], /^Cannot use etcd key .*client\.key: .*go together$/],
  [
    [TLS, `--etcd-certfile=${cert}`, "--etcd-keyfile=/no/key"],
    /^Cannot read etcd key \/no\/key: No such file/,
  ],
  [
    [TLS, `--etcd-certfile=${cert}`, `--etcd-keyfile=${cert}`],
    /^Cannot use etcd key .*client\.pem: no PEM private key in it$/,
  ],
  [
    [TLS, `--etcd-certfile=${cert}`, `--etcd-keyfile=${files.issue("other").key}`],
    /^Cannot use etcd key .*other\.key: it does not belong to the certificate .*client\.pem$/,
  ],
  [
    [TLS, `--etcd-certfile=${cert}`, `--etcd-keyfile=${files.encrypted(key)}`],
    /^Cannot use etcd key .*: it is encrypted/,
  ],
];
function garbled(what: string): string {
  return `-----BEGIN ${what}-----\nAAAA\n-----END ${what}-----\n`;
}
for (const [args, message] of BAD) {
  Deno.test(`etcd flags: refuses ${args.join(" ").replaceAll(files.folder, "")}`, () => {
    assert.throws(() => options(...args), (e) => {
      assert.match((e as Error).message, message);
      assert.doesNotMatch((e as Error).message, /maid|open-sesame/);
      return (e as Error).name === "OpError";
    });
  });
}

Deno.test("TlsFiles: a file that turns bad is told once, and the one of before stays in use", () => {
  const copy = files.write("copy.pem", Deno.readTextFileSync(ca));
  lines.length = 0;
  const tls = new TlsFiles({ ca: copy, cert: "", key: "" }, log);
  const before = tls.current();
  Deno.writeTextFileSync(copy, "");
  assert.equal(tls.current(), before);
  assert.equal(tls.current(), before);
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /copy\.pem: no PEM certificate in it; the one of before stays/);
  Deno.copyFileSync(cert, copy);
  assert.notEqual(tls.current().ca, before.ca);
});
