/**
 * Output that must arrive whole: of a command, not of a running proxy (see `outlet.ts`). Waits for
 * the reader as long as it takes.
 */
import { writeBytes, type Writer } from "./writer.ts";

/**
 * Writes all of `text`. A reader that is gone (EPIPE, as in `… | head`) wants no more: false.
 * Throws an Error when the stream fails in another way.
 */
export async function writeAll(writer: Writer, text: string): Promise<boolean> {
  try {
    await writeBytes(writer, new TextEncoder().encode(text));
    return true;
  } catch (error) {
    const { name, message } = error instanceof Error ? error : new Error(String(error));
    if (name === "BrokenPipe") return false;
    throw new Error(`Cannot write output: ${message}`);
  }
}
