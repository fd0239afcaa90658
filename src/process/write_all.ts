/**
 * Output that must arrive whole: of a command, not of a running proxy (see `outlet.ts`). Waits for the
 * reader as long as it takes.
 */
import type { Writer } from "./outlet.ts";

/** Pause before another try when the stream is non-blocking and full (EAGAIN). */
const RETRY_MS = 5;

/**
 * Writes all of `text`. A reader that is gone (EPIPE, as in `… | head`) wants no more: false. Throws an
 * Error when the stream fails in another way.
 */
export async function writeAll(writer: Writer, text: string): Promise<boolean> {
  const bytes = new TextEncoder().encode(text);
  for (let sent = 0; sent < bytes.length;) {
    try {
      const written = await writer.write(bytes.subarray(sent));
      if (written === 0) throw new Error("it takes no bytes");
      sent += written;
    } catch (error) {
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      if (name === "BrokenPipe") return false;
      if (name !== "WouldBlock") throw new Error(`Cannot write output: ${message}`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
  return true;
}
