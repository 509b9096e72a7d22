/**
 * Images out of this machine's own files, since no registry is in reach.
 *
 * @module
 */

import { must } from "../command.ts";
import { TWILL } from "../node.ts";
import { FOLDER } from "./machine.ts";

const HERE = new URL(".", import.meta.url).pathname;
const K8S = Deno.env.get("TWILL_K8S");

/** What either daemon may start or open, as in deploy/Containerfile; modprobe is that of busybox. */
const RULES = [
  ...["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save"]
    .concat("ip6tables-restore", "nft").map((name) => `/usr/sbin/${name}`),
  "/usr/lib/x86_64-linux-gnu/xtables",
  "/usr/lib/x86_64-linux-gnu/libnftables.so.1",
];

/** An image, and the file that containerd imports. */
export interface Image {
  readonly name: string;
  readonly path: string;
}

/**
 * Makes an image.
 *
 * @param files paths on this machine, or `PATH=PATH_INSIDE`
 */
async function makeImage(name: string, files: readonly string[], entry: string): Promise<Image> {
  const short = name.replaceAll(/\W/g, "-");
  const [root, path] = [`${FOLDER}/images/${short}`, `${FOLDER}/images/${short}.tar`];
  await must([`${HERE}mkroot`, `${K8S}/root`, root, ...files]);
  await must([`${HERE}mkimage`, name, root, path, JSON.stringify([entry])]);
  await must(["rm", "-rf", root]);
  return { name, path };
}

/** The image that `twill manifest` names, as deploy/Containerfile makes it. */
export async function twillImage(program = TWILL, tag?: string): Promise<Image> {
  const version = tag ?? (await must([program, "--version"])).split(" ")[1];
  const own = "/usr/local/bin/twill";
  return await makeImage(
    `docker.io/library/twill:${version}`,
    [...RULES, `${program}=${own}`],
    own,
  );
}

/** twill as a later build: the same program, which does not know that it is. @returns its path */
export async function nextBuild(): Promise<string> {
  const path = `${FOLDER}/twill-next`;
  const info = new URL("../../../dist/embed/build_info.json", import.meta.url);
  const { build } = JSON.parse(Deno.readTextFileSync(info));
  const other = String(build).replaceAll(/./g, (digit) => digit === "0" ? "1" : "0");
  await must(["sh", "-ec", 'sed "s/$1/$2/g" "$3" >"$4"; chmod 755 "$4"', "sh"].concat(
    [build, other, TWILL, path],
  ) as [string, ...string[]]);
  await must(["sh", "-ec", '! cmp -s "$1" "$2"', "sh", TWILL, path]);
  return path;
}

/** An image as flannel's manifest wants it; it has the plugin, too. */
export async function flannelImage(): Promise<Image> {
  const flanneld = (await must(["sh", "-c", "command -v flanneld"])).trim();
  const files = [`${flanneld}=/opt/bin/flanneld`, `${K8S}/cni/flannel=/flannel`];
  return await makeImage("lab.local/flannel:1", [...RULES, ...files], "/opt/bin/flanneld");
}
