/** Why a file could not be read or written, in a few words for the operator. */
import { printable } from "../core/text.ts";

/** What is wrong with `path`, as the error of reading or writing it tells. */
export function reasonOf(error: unknown, path: string): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such file or folder";
  if (error instanceof Deno.errors.IsADirectory) return "it is a directory";
  if (error instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (error instanceof Deno.errors.NotCapable) {
    return !path.startsWith("/") && Deno.cwd().startsWith("/proc/")
      ? "the working directory has been removed" // see src/pack/launcher.c
      : "this program may not do that";
  }
  return printable(error instanceof Error ? error.message : String(error));
}
