import { escapeHtml, html } from "./html.js";

describe("html``", () => {
  test("escapes text and numbers, and takes markup as it is", () => {
    const inner = html`<b>${"<i>"}</b>`;
    expect(html`<p title="${`"x" & 'y'`}">${inner}${1.5}</p>`.text).toBe(
      '<p title="&quot;x&quot; &amp; &#39;y&#39;"><b>&lt;i&gt;</b>1.5</p>',
    );
  });

  test("writes lists one after the other, however deep, and nothing for what is not there", () => {
    expect(html`${[1, [html`<br />`, [">"]]]}${undefined}${null}${false}${""}${0}`.text).toBe("1<br />&gt;0");
  });
});

describe("escapeHtml()", () => {
  test("keeps letters of all scripts, tabs and newlines", () => {
    expect(escapeHtml("a\tü\n\u6f22\u{1f600}")).toBe("a\tü\n\u6f22\u{1f600}");
  });

  test.each(["\0", "\u001b", "\u007f", "\u0085", "\u202e", "\u2066", "\ud800", "\udfff"])(
    "replaces %j, which would not read as it is",
    (character) => expect(escapeHtml(`a${character}b`)).toBe("a\ufffdb"),
  );
});
