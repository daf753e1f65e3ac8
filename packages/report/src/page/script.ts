/** The page's only script, for comfort: the page is complete without it. Holds nothing that comes from data. */
export const SCRIPT = `
for (const code of document.querySelectorAll("code.digest")) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = code.title + "\\nClick to copy";
  button.setAttribute("aria-label", "Copy digest " + code.textContent);
  button.textContent = code.textContent;
  button.addEventListener("click", () => {
    navigator.clipboard?.writeText(code.title).then(() => {
      button.dataset.copied = "";
      setTimeout(() => delete button.dataset.copied, 1500);
    }, () => {});
  });
  code.replaceChildren(button);
}
const toggle = document.querySelector("#open-all");
if (toggle) {
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    const all = [...document.querySelectorAll("details")];
    const open = !all.every((each) => each.open);
    for (const each of all) each.open = open;
    toggle.textContent = open ? "Close all" : "Open all";
  });
}
`;
