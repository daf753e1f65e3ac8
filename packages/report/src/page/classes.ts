import { count, formatNumber } from "../html/format.js";
import { html, type Html } from "../html/html.js";
import type { Run } from "../run.js";
import { scrolling, type Section } from "./section.js";

/** A row of samples for each class, and how often a network reads in them what was asked for. */
export function classesSection({ classes }: Run): Section | undefined {
  if (!classes || classes.classes.length === 0) return undefined;
  const { counted, of } = classes;
  const share = (read: number, images: number): string => `${((100 * read) / Math.max(images, 1)).toFixed(1)} %`;
  const parts = counted?.attributes.map(({ name, read, images }) => `${name} in ${share(read, images)}`);
  return {
    id: "classes",
    title: "Classes",
    content: html`<p>
        ${classes.classes.length < of ? `The first ${formatNumber(classes.classes.length)} of ${count(of, "class", "classes")}` : count(of, "class", "classes")},
        each with its first samples by their seeds.
        ${
          counted &&
          html`The feature network reads the class that was asked for in ${share(counted.read, counted.images)} of
          ${count(counted.images, "sample")}${parts && parts.length > 1 && html` (${parts.join(", ")})`}.`
        }
      </p>
      <figure>
        ${scrolling(
          "Samples by class",
          html`<table>
            <thead>
              <tr>
                <th scope="col">Class</th>
                <th scope="col">Samples</th>
                <th scope="col" class="number">Images</th>
                ${counted && html`<th scope="col" class="number">Read</th>`}
              </tr>
            </thead>
            <tbody>
              ${classes.classes.map(
                ({ name, images, read, row }): Html =>
                  html`<tr>
                    <th scope="row">${name}</th>
                    <td>
                      <img src="${row.src}" width="${row.width}" height="${row.height}" alt="Samples of ${name}" />
                    </td>
                    <td class="number">${formatNumber(images)}</td>
                    ${counted && html`<td class="number">${read === undefined ? "–" : share(read, images)}</td>`}
                  </tr>`,
              )}
            </tbody>
          </table>`,
        )}
      </figure>`,
  };
}
