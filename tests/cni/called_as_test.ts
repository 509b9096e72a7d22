/** Which plugin the program is: by the name it was called by, by `CNI_COMMAND`, by its words. */

import assert from "node:assert/strict";

const TWILL = Deno.env.get("TWILL_BIN") ?? new URL("../../dist/twill", import.meta.url).pathname;
const VERSION = { CNI_COMMAND: "VERSION" };
const PREVIOUS = { cniVersion: "1.0.0", ips: [{ address: "10.0.0.1/8" }] };

interface Row {
  readonly title: string;
  /** The name of a symbolic link to the program. */
  readonly name: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly status?: number;
  readonly stdout?: RegExp;
  readonly stderr?: RegExp;
}

const ROWS: readonly Row[] = [
  { title: "a plugin's name", name: "host-local", stderr: /^CNI host-local plugin/ },
  {
    title: "a plugin's name, whatever the arguments",
    name: "portmap",
    args: ["cni", "flannel"],
    stderr: /^CNI portmap plugin/,
  },
  { title: "CNI_COMMAND alone", name: "twill", env: VERSION, stdout: /"supportedVersions"/ },
  {
    title: "CNI_COMMAND and another name",
    name: "any",
    env: VERSION,
    stdout: /"supportedVersions"/,
  },
  {
    title: "CNI_COMMAND means flannel",
    name: "twill",
    env: { CNI_COMMAND: "ADD" },
    status: 1,
    stdout: /subnet\.env/,
  },
  { title: "cni means flannel", name: "twill", args: ["cni"], stderr: /^CNI flannel plugin/ },
  {
    title: "cni TYPE",
    name: "twill",
    args: ["cni", "portmap"],
    env: { CNI_COMMAND: "ADD" },
    stdout: /10\.0\.0\.1\/8/,
  },
  {
    title: "cni with a type that is none, even with CNI_COMMAND",
    name: "twill",
    args: ["cni", "nope"],
    env: VERSION,
    status: 2,
    stderr: /no plugin "nope", want one of flannel/,
  },
  { title: "--version", name: "twill", args: ["--version"], stdout: /^twill / },
];

for (const { title, name, args = [], env = {}, status = 0, stdout, stderr } of ROWS) {
  Deno.test(`called as: ${title}`, async () => {
    const dir = Deno.makeTempDirSync();
    try {
      Deno.symlinkSync(TWILL, `${dir}/${name}`);
      const child = new Deno.Command(`${dir}/${name}`, {
        args: [...args],
        clearEnv: true,
        env: {
          CNI_CONTAINERID: "c1",
          CNI_NETNS: "/nonexistent",
          CNI_IFNAME: "eth0",
          CNI_PATH: dir,
          ...env,
        },
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const writer = child.stdin.getWriter();
      const config = {
        cniVersion: "1.0.0",
        name: "dbnet",
        subnetFile: `${dir}/subnet.env`,
        prevResult: PREVIOUS,
      };
      await writer.write(new TextEncoder().encode(JSON.stringify(config))).catch(() => {});
      await writer.close().catch(() => {});
      const output = await child.output();
      const [out, err] = [output.stdout, output.stderr].map((b) => new TextDecoder().decode(b));
      assert.equal(output.code, status, `${out}${err}`);
      assert.match(out ?? "", stdout ?? /^$/);
      assert.match(err ?? "", stderr ?? /^$/);
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  });
}
