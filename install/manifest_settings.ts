/**
 * What `twill manifest --set` may change.
 *
 * @module
 */

import { UsageError } from "./context.ts";
import { DEFAULT_BIN_DIR, DEFAULT_CONF_DIR, parseDirectory } from "./layout.ts";

/** One setting. */
interface Spec {
  readonly default: string;
  readonly help: string;
  /** Accepts a value, or throws {@link UsageError}. */
  readonly check: (text: string) => void;
}

/** The version's own tag stands where the image names none. */
const IMAGE = "twill";

/** Every setting by its name. The order is that of the help text. */
const SETTINGS = {
  image: { default: "", help: "twill:VERSION", check: word },
  imagePullPolicy: {
    default: "IfNotPresent",
    help: "when nodes fetch the image",
    check: oneOf("IfNotPresent", "Always", "Never"),
  },
  imagePullSecret: { default: "", help: "name of a Secret for the image's registry", check: name },
  namespace: { default: "kube-flannel", help: "where everything is", check: required(name) },
  configMap: {
    default: "new",
    help: "existing: kube-flannel-cfg is there already, and is not printed",
    check: oneOf("new", "existing"),
  },
  network: { default: "10.244.0.0/16", help: "all pods, IPv4; empty for none", check: word },
  network6: { default: "", help: "all pods, IPv6; empty for none", check: word },
  backend: { default: "vxlan", help: "vxlan or host-gw", check: required(word) },
  vni: { default: "", help: "of vxlan; 1 unless set", check: whole(1, 0xff_ffff) },
  port: { default: "", help: "of vxlan; 8472 unless set", check: whole(1, 65_535) },
  directRouting: { default: "", help: "vxlan: peers in one segment without it", check: boolean },
  mtu: { default: "", help: "of pods, bytes; from the interface unless set", check: whole(576) },
  nftables: {
    default: "",
    help: "true: flannel's tables; false: iptables; empty: twill's own table",
    check: boolean,
  },
  ipMasq: {
    default: "true",
    help: "masquerade pods that leave the overlay",
    check: required(boolean),
  },
  healthzPort: {
    default: "8081",
    help: "of /healthz, /readyz and /metrics on each node",
    check: required(whole(1, 65_535)),
  },
  privileged: {
    default: "true",
    help: "false: NET_ADMIN and NET_RAW only; then plugins run without the daemon's help",
    check: required(boolean),
  },
  cniBinDir: {
    default: DEFAULT_BIN_DIR,
    help: "where the nodes' runtime looks for plugins",
    check: (text) => void parseDirectory(text),
  },
  cniConfDir: {
    default: DEFAULT_CONF_DIR,
    help: "where it looks for networks",
    check: (text) => void parseDirectory(text),
  },
  cpu: { default: "100m", help: "CPU that is reserved", check: required(quantity) },
  memory: { default: "120Mi", help: "memory that is reserved", check: required(quantity) },
} as const satisfies Record<string, Spec>;

/** A setting's name. */
export type SettingName = keyof typeof SETTINGS;

/** All settings, as texts that were checked. */
export type Settings = { readonly [N in SettingName]: string };

const NAMES = Object.keys(SETTINGS) as SettingName[];

/**
 * The settings, with what the command line changes.
 *
 * @param version of this program, for the image's tag.
 * @throws {UsageError} naming the setting.
 */
export function readSettings(words: readonly string[], version: string): Settings {
  const given = new Map<SettingName, string>();
  for (const word of words) {
    const [, key = "", value = ""] = /^([^=]*)=(.*)$/s.exec(word) ?? [];
    if (key === "") {
      throw new UsageError(`--set: want KEY=VALUE, got ${JSON.stringify(word)}`);
    }
    if (!isSetting(key)) {
      throw new UsageError(
        `--set: no setting ${JSON.stringify(key)}; there are ${NAMES.join(", ")}`,
      );
    }
    try {
      SETTINGS[key].check(value);
    } catch (e) {
      if (!(e instanceof UsageError)) throw e;
      throw new UsageError(`--set ${key}: ${e.message}`);
    }
    given.set(key, value);
  }
  const settings = Object.fromEntries(
    NAMES.map((name) => [name, given.get(name) ?? SETTINGS[name].default]),
  ) as { [N in SettingName]: string };
  return { ...settings, image: settings.image || `${IMAGE}:${version}` };
}

/** One line for each setting. */
export function settingsHelp(): string[] {
  const width = Math.max(...NAMES.map((name) => name.length));
  return NAMES.map((name) => {
    const spec: Spec = SETTINGS[name];
    const fallback = spec.default === "" ? "" : ` (default ${spec.default})`;
    return `  ${name.padEnd(width)}  ${spec.help}${fallback}`;
  });
}

function isSetting(text: string): text is SettingName {
  return Object.hasOwn(SETTINGS, text);
}

function required(check: Spec["check"]): Spec["check"] {
  return (text) => {
    if (text === "") throw new UsageError("want a value, got nothing");
    check(text);
  };
}

function word(text: string): void {
  if (/[\s"']/.test(text)) throw new UsageError(`want one word, got ${JSON.stringify(text)}`);
}

/** A name of Kubernetes (RFC 1123 label), or nothing. */
function name(text: string): void {
  if (/^(?:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$/.test(text)) return;
  throw new UsageError(`want small letters, digits and "-", got ${JSON.stringify(text)}`);
}

function boolean(text: string): void {
  oneOf("true", "false", "")(text);
}

function oneOf(...words: readonly string[]): Spec["check"] {
  return (text) => {
    if (words.includes(text)) return;
    const want = words.filter((one) => one !== "").join(" or ");
    throw new UsageError(`want ${want}, got ${JSON.stringify(text)}`);
  };
}

function whole(least: number, most = 65_535): Spec["check"] {
  return (text) => {
    if (text === "" || /^\d{1,9}$/.test(text) && Number(text) >= least && Number(text) <= most) {
      return;
    }
    throw new UsageError(`want ${least} to ${most}, got ${JSON.stringify(text)}`);
  };
}

/** As Kubernetes writes amounts: 100m, 0.5, 120Mi. */
function quantity(text: string): void {
  if (/^\d+(?:\.\d+)?(?:m|[kMGT]i?)?$/.test(text)) return;
  throw new UsageError(`want an amount like 100m or 120Mi, got ${JSON.stringify(text)}`);
}
