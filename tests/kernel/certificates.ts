/**
 * Certificates for tests, made by openssl in a folder of their own.
 *
 * @module
 */

/** An authority and what it has issued. Disposing it removes the folder. */
export class Certificates implements Disposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "twill-tls-" });
  /** Path of the authority's certificate. */
  readonly ca = `${this.folder}/ca.pem`;

  constructor() {
    const subject = ["-days", "1", "-subj", "/CN=authority of a test"];
    this.#openssl("req", "-x509", "-new", "-key", this.#key("ca"), "-out", this.ca, ...subject);
  }

  /** A path in the folder. */
  path(name: string): string {
    return `${this.folder}/${name}`;
  }

  /** Writes a file into the folder; its path. */
  write(name: string, text: string): string {
    Deno.writeTextFileSync(this.path(name), text);
    return this.path(name);
  }

  /**
   * A certificate for servers and clients.
   *
   * @param hosts `IP:127.0.0.1`, `DNS:localhost`; empty for a client.
   */
  issue(name: string, hosts: readonly string[] = []): { cert: string; key: string; ca: string } {
    const key = this.#key(name);
    const [request, cert] = [this.path(`${name}.csr`), this.path(`${name}.pem`)];
    const extensions = this.write(
      `${name}.ext`,
      `extendedKeyUsage=serverAuth,clientAuth\n${
        hosts.length === 0 ? "" : `subjectAltName=${hosts.join()}\n`
      }`,
    );
    this.#openssl("req", "-new", "-key", key, "-subj", `/CN=${name}`, "-out", request);
    const by = ["-CA", this.ca, "-CAkey", this.path("ca.key"), "-CAcreateserial", "-days", "1"];
    this.#openssl("x509", "-req", "-in", request, ...by, "-extfile", extensions, "-out", cert);
    return { cert, key, ca: this.ca };
  }

  /** The same key behind a passphrase; its path. */
  encrypted(key: string): string {
    this.#openssl("pkcs8", "-topk8", "-in", key, "-passout", "pass:x", "-out", `${key}.encrypted`);
    return `${key}.encrypted`;
  }

  /** Keys by which etcd signs tokens: the value of `--auth-token`. @param ttl such as `1s`. */
  tokens(ttl: string): string {
    const [key, pub] = [this.path("token.key"), this.path("token.pub")];
    this.#openssl("genrsa", "-out", key, "2048");
    this.#openssl("rsa", "-in", key, "-pubout", "-out", pub);
    return `jwt,pub-key=${pub},priv-key=${key},sign-method=RS256,ttl=${ttl}`;
  }

  #key(name: string): string {
    const path = this.path(`${name}.key`);
    this.#openssl("ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", path);
    return path;
  }

  #openssl(...args: readonly string[]): void {
    const { code, stderr } = new Deno.Command("openssl", { args: [...args] }).outputSync();
    if (code !== 0) throw new Error(`openssl ${args[0]}: ${new TextDecoder().decode(stderr)}`);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}
