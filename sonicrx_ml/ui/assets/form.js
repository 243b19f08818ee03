// A form: every control with its unit, its hint and its mark of evidence. The kernel is told of
// every change, and answers with what is then asked, and with what cannot be asked, in a sentence.
// Until it has, a field shows what was entered: an answer to an earlier change takes nothing back.

const OPEN = "left to the composer";

function numberField(field, id, commit) {
  const number = h("input", {
    type: "number", id, step: "any", min: field.low, max: field.high, "aria-describedby": `${id}-hint`,
    placeholder: field.open === true ? OPEN : field.open || null, onchange: () => commit(read(number.value)),
  });
  const read = (text) => (text.trim() === "" ? null : Number(text));
  const slider = field.slider && h("input", {
    type: "range", min: field.slider[0], max: field.slider[1], step: field.step,
    "aria-label": `${field.label}, slider`, oninput: () => { number.value = slider.value; },
    onchange: () => commit(Number(slider.value)),
  });
  return {
    node: h("div", { class: "row number" }, slider || null, number, h("span", { class: "unit", text: field.unit })),
    show(value) {
      if (document.activeElement !== number || read(number.value) !== value)
        number.value = value === null ? "" : value;
      if (slider) slider.value = value === null ? field.slider[0] : value;
    },
  };
}

function choiceField(field, id, commit) {
  const select = h("select", {
    id, "aria-describedby": `${id}-hint`, onchange: () => commit(select.value === "" ? null : select.value),
  });
  if (field.open) select.append(h("option", { value: "", text: field.open === true ? OPEN : field.open }));
  for (const [value, text] of field.options) select.append(h("option", { value, text }));
  return {
    node: select,
    show(value) {
      const known = [...select.options].some((option) => option.value === (value ?? ""));
      if (!known && value !== null) select.append(h("option", { value, text: value }));
      select.value = value ?? "";
    },
  };
}

function textField(field, id, commit) {
  const input = h("input", {
    type: "text", id, "aria-describedby": `${id}-hint`, placeholder: field.placeholder ?? "",
    autocomplete: "off", onchange: () => commit(input.value.trim() || null),
  });
  return {
    node: input,
    show(value) { if (document.activeElement !== input) input.value = value ?? ""; },
  };
}

function fileField(field, id, commit, model) {
  const input = h("input", {
    type: "file", id, accept: field.accept, "aria-describedby": `${id}-hint`,
    onchange: async () => {
      const file = input.files[0];
      if (!file) return;
      if (file.size > 4e6) model.send({ field: field.name, refused: `${file.name} is larger than 4 MB` });
      else model.send({ field: field.name, upload: file.name }, undefined, [await file.arrayBuffer()]);
      input.value = "";
    },
  });
  return { node: input, show() {} };
}

/** Radio buttons in a row: a scale of numbers, or yes, no and not answered. */
function radioField(field, id, commit) {
  const inputs = field.options.map(([value, text], index) => {
    const input = h("input", {
      type: "radio", name: id, id: `${id}-${index}`, onchange: () => commit(value),
    });
    return [value, input, h("label", { for: `${id}-${index}`, class: "radio" }, input, h("span", { text }))];
  });
  return {
    node: h("div", { class: "row radios" }, ...inputs.map(([, , label]) => label)),
    show(value) { for (const [mine, input] of inputs) input.checked = mine === value; },
  };
}

/**
 * Sounds to tick, in groups; with `single`, one of each group; with `hear`, a button plays each; with
 * `folded`, behind a line that says which are ticked.
 */
function soundsField(field, id, commit, model) {
  let chosen = [];
  const boxes = new Map();
  const player = new Audio();
  const tick = (name, group) => {
    const box = boxes.get(name);
    const rest = chosen.filter((other) => other !== name && !(field.single && box.checked && group.includes(other)));
    show(box.checked ? [...rest, name] : rest);
    commit(chosen);
  };
  async function hear(name, button) {
    button.disabled = true;
    const blob = await receive(model, `hear:${name}`);
    button.disabled = false;
    if (!blob) return;
    URL.revokeObjectURL(player.src);
    player.src = URL.createObjectURL(blob);
    await player.play();
  }
  const rows = field.options.map(([title, names]) => {
    const group = names.map(([name]) => name);
    const chips = names.map(([name, text]) => {
      const box = h("input", { type: "checkbox", id: `${id}-${name}`, onchange: () => tick(name, group) });
      boxes.set(name, box);
      const label = h("label", { for: `${id}-${name}` }, box, h("span", { text }));
      const play = field.hear && h("button", {
        type: "button", class: "hear", "aria-label": `Hear ${text}`, text: "▶", onclick: () => hear(name, play),
      });
      return h("span", { class: "chip" }, label, play || null);
    });
    const named = title ? `${field.label}: ${title}` : field.label;
    return h("div", { class: "family", role: "group", "aria-label": named }, title ? h("span", { class: "family-name", text: title }) : null,
      h("span", { class: "chips" }, ...chips));
  });
  const order = h("p", { class: "hint order" });
  const ticked = h("span", { class: "ticked" });
  const body = h("div", { class: "sounds" }, ...rows, order);
  function show(value) {
    chosen = value ?? [];
    for (const [name, box] of boxes) box.checked = chosen.includes(name);
    const said = chosen.map((name) => name.replaceAll("_", " "));
    ticked.textContent = said.join(", ") || "none";
    order.textContent = field.hear && chosen.length ? `Leads: ${said[0]}` : "";
  }
  return {
    node: field.folded
      ? h("details", { class: "pick" }, h("summary", {}, h("span", { text: `${field.label}: ` }), ticked), body)
      : body,
    show,
  };
}

const KINDS = {
  number: numberField, choice: choiceField, text: textField, file: fileField, radio: radioField,
  sounds: soundsField,
};
const GROUPED = new Set(["curve", "radio", "sounds"]);

function fieldRow(field, model, next) {
  const id = fresh(field.name);
  let entry = 0, entered = null;
  const commit = (value) => {
    [entry, entered] = [next(), value];
    model.send({ field: field.name, value, entry });
  };
  const made = field.kind === "curve" ? curveEditor(field, commit) : KINDS[field.kind](field, id, commit, model);
  const mark = h("span", { class: "mark", "aria-hidden": "true" });
  const hint = h("p", { class: "hint", id: `${id}-hint` });
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const grouped = GROUPED.has(field.kind);
  const heading = grouped
    ? h("legend", { class: field.folded ? "unseen" : null }, h("span", { text: field.label }), mark)
    : h("label", { for: id }, h("span", { text: field.label }), mark);
  const node = h(grouped ? "fieldset" : "div",
    { class: `field ${field.kind}`, "aria-describedby": grouped ? `${id}-hint` : null, "data-field": field.name },
    heading, made.node, wrong, hint);
  return {
    node,
    show(values, marks, errors, seconds) {
      const pending = entry > model.get("answered");
      made.show(pending ? entered : values[field.name] ?? null, seconds);
      const told = marks[field.name];
      mark.textContent = told ? told[0] : "";
      mark.hidden = !told;
      hint.textContent = [field.hint, told && `Evidence: ${told[0]}. ${told[1]}`].filter(Boolean).join(" ");
      const error = errors[field.name];
      wrong.textContent = error ? `✗ ${error}` : "";
      wrong.hidden = !error;
      node.classList.toggle("bad", Boolean(error));
      for (const input of node.querySelectorAll("input:not([type=checkbox]):not([type=radio]),select"))
        input.setAttribute("aria-invalid", error ? "true" : "false");
    },
  };
}

export default {
  render({ model, el }) {
    el.classList.add("sonicrx", "form");
    const rows = [];
    let entries = 0;
    const next = () => (entries = Math.max(entries, model.get("answered")) + 1);
    const groups = model.get("schema").map((group) => {
      const made = group.fields.map((field) => fieldRow(field, model, next));
      rows.push(...made);
      const body = [
        group.help ? h("p", { class: "hint", text: group.help }) : null,
        h("div", { class: "fields" }, ...made.map((row) => row.node)),
      ];
      if (group.folded === undefined)
        return h("div", {}, group.title ? h("h3", { text: group.title }) : null, ...body);
      return h("details", { open: !group.folded }, h("summary", { text: group.title }), ...body);
    });
    el.replaceChildren(...groups);
    return follow(model, ["values", "marks", "errors", "seconds", "answered"], () => {
      const [values, marks, errors] = ["values", "marks", "errors"].map((name) => model.get(name));
      for (const row of rows) row.show(values, marks, errors, model.get("seconds"));
    });
  },
};
