/** A stream to write to, and how all of some bytes get into it. */

/** The part of a stream that is needed here; `Deno.stdout` is one. */
export interface Writer {
  /** Writes some of `bytes` and resolves to how many. */
  write(bytes: Uint8Array): Promise<number>;
}

/** Pause before another try when the stream is non-blocking and full (EAGAIN). */
const RETRY_MS = 5;

/**
 * Writes all of `bytes`, as long as it takes. Throws what the writer throws, but for a full stream.
 */
export async function writeBytes(writer: Writer, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) {
    try {
      const written = await writer.write(bytes.subarray(sent));
      if (written === 0) throw new Error("it takes no bytes");
      sent += written;
    } catch (error) {
      if (!(error instanceof Error && error.name === "WouldBlock")) throw error;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}
