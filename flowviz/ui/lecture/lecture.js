// The way through a lecture: four buttons, and the keys of a keyboard or a presenter's clicker.

/** Where an arrow already means something: fields, menus, sliders, tabs. */
const OWN_ARROWS = "input, textarea, select, [contenteditable=true], [role=slider], [role=combobox], [role=listbox], [role=menu], [role=menuitem], [role=radio], [role=tab], [role=spinbutton]";

/** What a key asks for: "next", "previous" or null. Clickers send Page Down and Page Up. */
export function asked(key, target = null) {
  if (key === "PageDown") return "next";
  if (key === "PageUp") return "previous";
  if (target?.closest?.(OWN_ARROWS)) return null;
  return { ArrowRight: "next", ArrowLeft: "previous" }[key] ?? null;
}

const element = (tag, className, text) => {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
};

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".fl");
  if (!root || !data) return undefined;
  const go = (where) => {
    if (where === "next" && data.number === data.count) return;
    if (where === "previous" && data.number === 1) return;
    setTriggerValue("go", where);
  };
  const button = (where, text, title, disabled = false) => {
    const node = element("button", `fl-${where}`, text);
    Object.assign(node, { type: "button", title, disabled });
    node.setAttribute("aria-label", title);
    node.addEventListener("click", () => { node.blur(); go(where); });
    return node;
  };
  root.replaceChildren(
    button("previous", "‹", "Previous step (←, Page Up)", data.number === 1),
    element("output", "fl-where", `${data.number} / ${data.count}`),
    button("next", "›", "Next step (→, Page Down)", data.number === data.count),
    button("leave", "Leave", "Leave the lecture, stay on this page"),
  );
  const onKey = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.defaultPrevented) return;
    const where = asked(event.key, event.composedPath()[0]);
    if (!where) return;
    // A clicker's keys are the lecture's even where the player has the focus; arrows are not.
    if (event.eventPhase === Event.CAPTURING_PHASE || event.target === document) {
      if (!event.key.startsWith("Page")) return;
    }
    event.preventDefault();
    event.stopPropagation();
    go(where);
  };
  document.documentElement.dataset.lecture = ""; // a player leaves the arrows to it
  document.addEventListener("keydown", onKey, true);
  document.addEventListener("keydown", onKey);
  return () => {
    delete document.documentElement.dataset.lecture;
    document.removeEventListener("keydown", onKey, true);
    document.removeEventListener("keydown", onKey);
  };
}
