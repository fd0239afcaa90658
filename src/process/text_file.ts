/** Files of text: UTF-8 of a bounded size. */

/**
 * The file's text, `-` is standard input, and what tells the file from others, whatever the path.
 * Rejects if it can't be read, is no UTF-8, or has more bytes than said.
 */
export async function readTextFile(
  path: string,
  maxBytes: number,
): Promise<{ readonly text: string; readonly id: string }> {
  const file = path === "-" ? Deno.stdin : await Deno.open(path);
  try {
    const text = await readText(file, maxBytes);
    if (file === Deno.stdin) return { text, id: path };
    const { isFile, dev, ino } = await (file as Deno.FsFile).stat();
    return { text, id: isFile ? `${dev} ${ino}` : path };
  } finally {
    if (file !== Deno.stdin) file.close();
  }
}

/**
 * As `readTextFile`, for a file that has been read before. A pipe gives its text once only, and
 * whoever reads it again may wait for ever.
 */
export async function readTextFileAgain(
  path: string,
  maxBytes: number,
): Promise<{ readonly text: string; readonly id: string }> {
  if (path === "-") throw new Error("standard input can be read at the start only");
  const { isFile, isDirectory } = await Deno.stat(path);
  if (isFile || isDirectory) return await readTextFile(path, maxBytes);
  throw new Error("it is no regular file, and such can be read at the start only");
}

/**
 * Its text, decoded as it comes. A pipe, too: its end is where it says so. A byte order mark stays,
 * so that columns are counted in one place.
 */
async function readText(file: Pick<Deno.FsFile, "read">, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  let lenBytes = 0;
  try {
    for (const chunk = new Uint8Array(65_536);;) {
      const read = await file.read(chunk);
      if (read === null) return text + decoder.decode();
      lenBytes += read;
      if (lenBytes > maxBytes) break;
      text += decoder.decode(chunk.subarray(0, read), { stream: true });
    }
  } catch (error) {
    if (error instanceof TypeError) throw new SyntaxError("expected text in UTF-8");
    throw error;
  }
  throw new RangeError(`expected at most ${maxBytes / 2 ** 20} MiB`);
}
