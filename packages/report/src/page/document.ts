import { createHash } from "node:crypto";
import { Html, html, type Content } from "../html/html.js";
import { SCRIPT } from "./script.js";

/**
 * A whole page: one HTML document that asks for nothing, allowed by its own policy to show what is inside it and
 * nothing else.
 *
 * @param style Its rules; equal text has an equal hash in the policy.
 */
export function documentOf(title: string, style: string, body: Content): string {
  const policy = [
    "default-src 'none'",
    "img-src data:",
    `style-src ${hashOf(style)}`,
    `script-src ${hashOf(SCRIPT)}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  return `${
    html`<!doctype html>
      <html lang="en">
        <head>
          <meta charset="utf-8" />
          <meta http-equiv="Content-Security-Policy" content="${policy}" />
          <meta name="viewport" content="width=device-width, initial-scale=1" />
          <meta name="color-scheme" content="light dark" />
          <meta name="referrer" content="no-referrer" />
          <title>${title}</title>
          <link rel="icon" href="${ICON}" />
          ${element("style", style)}
        </head>
        <body>
          ${body} ${element("script", SCRIPT)}
        </body>
      </html>`.text
  }\n`;
}

/** Four blocks, three of them drawn. */
const ICON =
  "data:image/svg+xml," +
  encodeURIComponent(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path fill="#3b84b5" d="M1 1h6v6H1zM9 1h6v6H9zM1 9h6v6H1z"/><path fill="#3b84b5" opacity=".35" d="M9 9h6v6H9z"/></svg>',
  );

/** As a policy names an inline style or script. */
function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

/** A style or script whose text is exactly this one, as its hash demands. */
function element(name: "style" | "script", text: string): Html {
  return new Html(`<${name}>${text}</${name}>`);
}
