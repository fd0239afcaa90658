/**
 * The dashboard as it is served: one file, which may run its own program and style, known by their
 * hashes, and ask this server; nothing else.
 *
 * Read first: Content Security Policy Level 3, §2.3.1 "Source lists" and §6.7 on hashes.
 */
import { createHash } from "node:crypto";

export interface Page {
  readonly html: string;
  /** The value of Content-Security-Policy. */
  readonly policy: string;
}

/** Null stands for a page that was not built. */
export function pageOf(html: string | null): Page | null {
  if (html === null) return null;
  const style = hashOf(/<style>([^]*?)<\/style>/, html);
  const script = hashOf(/<script type="module">([^]*?)<\/script>/, html);
  const policy = [
    "default-src 'none'",
    `script-src ${script}`,
    `style-src ${style}`,
    "img-src data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
  return { html, policy };
}

function hashOf(pattern: RegExp, html: string): string {
  const text = pattern.exec(html)?.[1];
  if (text === undefined) throw new Error("Cannot serve the page: it lacks its style or program");
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
