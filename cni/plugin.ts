/**
 * What a plugin is, and what it gets.
 *
 * A plugin holds no state between requests and none beside them: a one-shot process serves one
 * request and ends, the daemon serves many at once with the same code. Whatever a request needs
 * comes in with it.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import type { Ip } from "../engine/ip.ts";
import { Fields, JsonObject, stringifyJson } from "../engine/json.ts";
import type { Command, Environment, GetVariable } from "./environment.ts";
import type { PluginName } from "./names.ts";
import type { Operation } from "./operation.ts";
import { parseResult, type Result, resultVersion } from "./result.ts";
import { formatOf, type Version } from "./versions.ts";

/** A pod of Kubernetes, by the names that its runtime gives in `CNI_ARGS`, and its addresses. */
export interface AddedPod {
  readonly namespace: string;
  readonly name: string;
  /** Empty when the runtime does not say it. */
  readonly uid: string;
  readonly ips: readonly Ip[];
}

/** See {@link Call.admit}. */
export type Admit = (pod: AddedPod) => Promise<void>;

/** One invocation as it arrives, before anything is decoded. */
export interface Call {
  /** The plugin that is called. */
  readonly type: PluginName;
  /** The caller's environment. Throws when a value is no Unicode text. */
  readonly env: GetVariable;
  /** The whole environment for processes started on the caller's behalf; absent: our own. */
  readonly childEnv?: Readonly<Record<string, string>>;
  /** Reads stdin to its end. Called at most once, and not for VERSION. */
  readonly stdin: () => Uint8Array<ArrayBuffer>;
  /** Writes one line of log to the caller's stderr. */
  readonly log: (line: string) => void;
  /** True when this thread may sleep in a lock: it serves nobody else. */
  readonly mayBlock: boolean;
  /** Called before an external plugin is started; throws where that cannot be done here. */
  readonly mayStart?: (target: string) => void;
  /** It comes from another plugin of ours, which has checked the pod's namespace. */
  readonly delegated?: true;
  /**
   * Called with what ADD has made, before the caller hears of it: what must be in place before the
   * pod's first packet. Throws when the pod must not start.
   */
  readonly admit?: Admit;
  /** Why the node is not ready, as its daemon's `/readyz` says it; absent without the daemon. */
  readonly notReady?: () => readonly string[];
  /** The books of an ADD that another process may have to finish; absent where nobody would. */
  readonly operation?: Operation;
}

/** What a {@link Request} is made of. */
export interface RequestParts {
  readonly call: Call;
  readonly command: Command;
  readonly environment: Environment;
  /** stdin, byte for byte. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly document: Fields;
  /** The network's name. */
  readonly network: string;
  readonly version: Version;
}

/** One decoded and checked request. */
export class Request {
  readonly call: Call;
  readonly command: Command;
  /** Set for ADD, CHECK and DEL; otherwise whatever the caller sent. */
  readonly containerId: string;
  /** The pod interface: as {@link Request.containerId}. */
  readonly ifname: string;
  /** Path of the pod's namespace; may be empty for DEL. */
  readonly netns: string;
  /** `CNI_ARGS` as it is: see `parseArgs`. */
  readonly args: string;
  /** `CNI_PATH` as it is. */
  readonly path: string;
  /** stdin as it came: what a delegate gets, byte for byte. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The configuration. */
  readonly config: Fields;
  /** The network's name: `name` of the configuration. */
  readonly network: string;
  /** The configuration's version; results are printed in its form. */
  readonly version: Version;

  constructor(parts: RequestParts) {
    this.call = parts.call;
    this.command = parts.command;
    this.containerId = parts.environment.containerId;
    this.ifname = parts.environment.ifname;
    this.netns = parts.environment.netns;
    this.args = parts.environment.args;
    this.path = parts.environment.path;
    this.bytes = parts.bytes;
    this.config = parts.document;
    this.network = parts.network;
    this.version = parts.version;
  }

  /** The same request with another document, for plugin code that is called from inside. */
  derive(document: JsonObject, version: Version): Request {
    const { call, command, containerId, ifname, netns, args, path, network } = this;
    // Whether the namespace may be our own was asked when this request came.
    const environment = { command, containerId, ifname, netns, args, path, allowOwnNetns: false };
    const bytes = new TextEncoder().encode(stringifyJson(document));
    return new Request({
      ...{ call, command, environment, bytes, network, version },
      document: new Fields(document),
    });
  }

  /** Writes one line of log to the caller's stderr. */
  log(line: string): void {
    this.call.log(line);
  }

  /**
   * The result of the plugins before this one, or for CHECK and DEL of the whole ADD; undefined
   * when there is none. A DEL must not fail because of it: what cannot be read is logged and
   * counts as none.
   *
   * @throws {OpError} code 7 when it cannot be read.
   */
  prevResult(): Result | undefined {
    try {
      const value = this.config.raw("prevResult");
      if (value === undefined) return undefined;
      if (!(value instanceof JsonObject)) throw new SyntaxError("want an object");
      const version = resultVersion(new Fields(value), this.version);
      if (formatOf(version) !== formatOf(this.version)) {
        throw new SyntaxError(
          `its version ${version} does not go with the config's ${this.version}`,
        );
      }
      return parseResult(this.config.object("prevResult") ?? null, this.version);
    } catch (cause) {
      const problem = new OpError("use", "prevResult", {
        code: ErrorCode.badConfig,
        kernel: `could not parse prevResult: ${messageOf(cause)}`,
        cause,
      });
      if (this.command !== "DEL") throw problem;
      this.log(`${problem.message}; DEL goes on without it`);
      return undefined;
    }
  }

  /** {@link Request.prevResult}. @throws {OpError} code 7 also when there is none. */
  requirePrevResult(): Result {
    const result = this.prevResult();
    if (result !== undefined) return result;
    throw new OpError(this.command, `${this.containerId} ${this.ifname}`, {
      code: ErrorCode.badConfig,
      kernel: "Required prevResult missing",
      advice: "The runtime must pass the result of the plugins before this one",
    });
  }
}

/** A plugin. Commands that answer nothing return when the work is done. */
export interface Plugin {
  readonly name: PluginName;
  /** One sentence for somebody who starts the program by hand. */
  readonly about: string;
  /** The versions it serves, oldest first. */
  readonly versions: readonly Version[];
  /** Its ADD makes what only DEL takes away: a second one after a crash must begin with that. */
  readonly attaches?: boolean;
  /** Makes the attachment, or changes it (chained); leaves nothing behind when it throws. */
  add(request: Request): Result | Promise<Result>;
  /** Throws when what ADD made is not there any more. */
  check(request: Request): void | Promise<void>;
  /** Takes away what ADD made; what is already gone is no error. */
  del(request: Request): void | Promise<void>;
  /** Takes away what belongs to this network and to none of the valid attachments. */
  gc(request: Request): void | Promise<void>;
  /** Throws, with code 50 or 51, when an ADD could not be served. */
  status(request: Request): void | Promise<void>;
}
