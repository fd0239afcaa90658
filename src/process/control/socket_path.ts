/**
 * Where the control socket may be: in a folder that nobody else can write, all the way up, so that
 * nobody can put something else in its place; and over nothing but an old socket of ours that
 * nobody listens at.
 */
import { connect } from "node:net";
import { basename, dirname } from "node:path";
import { printable } from "../../core/text.ts";
import { reasonOf } from "../file_error.ts";

/** Bytes of `sun_path` in unix(7), the closing 0 excepted. */
const MAX_SOCKET_PATH_BYTES = 107;

/** Says so if no socket can have such a path, else null. */
export function tooLongPath(path: string): string | null {
  const lengthBytes = new TextEncoder().encode(path).length;
  if (lengthBytes <= MAX_SOCKET_PATH_BYTES) return null;
  return `its path has ${lengthBytes} bytes, expected at most ${MAX_SOCKET_PATH_BYTES}`;
}

const GROUP_OR_OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/**
 * Makes room for a socket at `path`, and gives the path of it without symbolic links. Throws an
 * Error of one line.
 */
export async function claimSocketPath(path: string): Promise<string> {
  const fail = (why: string): never => {
    throw new Error(`Cannot open control socket "${printable(path)}": ${why}`);
  };
  let folder: string;
  let unsafe: string | null;
  try {
    folder = await Deno.realPath(dirname(path));
    unsafe = await unsafeFolder(folder);
  } catch (error) {
    return fail(reasonOf(error, path));
  }
  if (unsafe !== null) fail(unsafe);
  const real = `${folder === "/" ? "" : folder}/${basename(path)}`;
  const tooLong = tooLongPath(real);
  if (tooLong !== null) fail(tooLong);
  const stat = await Deno.lstat(real).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return null;
    return fail(reasonOf(error, path));
  });
  if (stat === null) return real;
  if (stat.isSymlink) fail("there is a symbolic link: expected nothing, or an old socket");
  if (!stat.isSocket) fail("there is something else: expected nothing, or an old socket");
  if (stat.uid !== Deno.uid()) fail("there is a socket of another user");
  if (await answers(real)) fail("another program listens there");
  await Deno.remove(real).catch((error) => fail(reasonOf(error, path)));
  return real;
}

/**
 * What is wrong with the folder or one above it; null: only its owner and root can put things into
 * it.
 */
async function unsafeFolder(folder: string): Promise<string | null> {
  for (let at = folder;; at = dirname(at)) {
    const { mode, uid } = await Deno.stat(at);
    const isOpen = (mode! & GROUP_OR_OTHERS_WRITE) !== 0;
    // In a sticky folder above, as /tmp, nobody can rename what is another's.
    const isAllowed = !isOpen || (at !== folder && (mode! & STICKY) !== 0);
    if (!isAllowed) {
      return `others can write the folder "${printable(at)}"; make one for it, as with: ` +
        "install -d -m 0700 FOLDER";
    }
    if (uid !== 0 && uid !== Deno.uid()) return `the folder "${printable(at)}" is another user's`;
    if (at === "/") return null;
  }
}

/** Whether somebody listens at the socket; one that only root may ask counts. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const settle = (isThere: boolean) => {
      socket.destroy();
      resolve(isThere);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", (error) => settle((error as { code?: string }).code !== "ECONNREFUSED"));
  });
}
