// A curve whose points are dragged on the picture, or moved with the keys.

const CURVE = { width: 640, height: 190, left: 60, right: 622, top: 12, bottom: 158 };
const APART = 0.001; // of the music, between neighbouring points

/** field: {label, low, high, view, step, unit}; commit(points | null) is called when a change is done. */
function curveEditor(field, commit) {
  let points = null;
  let seconds = 0;
  let range = [field.low, field.high];
  let waiting = 0;
  const label = fresh("curve");
  const open = h("input", { type: "checkbox", id: `${label}-open`, onchange: toggled });
  const add = h("button", { type: "button", class: "small", text: "Add a point", onclick: added });
  const take = h("button", {
    type: "button", class: "small", text: "Remove the chosen point", onclick: removed,
  });
  const said = h("output", { class: "said" });
  const picture = svg("svg", {
    viewBox: `0 0 ${CURVE.width} ${CURVE.height}`, role: "group", "aria-label": `${field.label}, points`,
  });
  const grid = svg("g", { "aria-hidden": "true" });
  const line = svg("path", { class: "curve-line", "aria-hidden": "true" });
  const handles = svg("g");
  picture.append(grid, line, handles);
  picture.addEventListener("dblclick", pressed);
  const buttons = h("div", { class: "row" }, add, take, said);
  const node = h("div", { class: "curve" },
    h("label", { class: "inline", for: `${label}-open` }, open, " left to the composer"),
    h("div", { class: "picture" }, picture), buttons);
  let chosen = 0;

  const x = (at) => CURVE.left + at * (CURVE.right - CURVE.left);
  const y = (v) => CURVE.bottom - ((v - range[0]) / (range[1] - range[0])) * (CURVE.bottom - CURVE.top);
  const rounded = (v) => Number((Math.round(v / field.step) * field.step).toFixed(4));
  const held = (v, low, high) => Math.min(Math.max(v, low), high);

  /** What is drawn: the usual values, and as much more as the points need. */
  function viewed() {
    const [low, high] = field.view ?? [field.low, field.high];
    const values = points ? points.map(([, value]) => value) : [];
    const room = 0.1 * (high - low);
    return [
      Math.max(field.low, Math.min(low, ...values.map((value) => value - room))),
      Math.min(field.high, Math.max(high, ...values.map((value) => value + room))),
    ];
  }

  function moved(index, at, value) {
    const inner = index > 0 && index < points.length - 1;
    const low = inner ? points[index - 1][0] + APART : points[index][0];
    const high = inner ? points[index + 1][0] - APART : points[index][0];
    points[index] = [
      inner ? Number(held(at, low, high).toFixed(4)) : points[index][0],
      rounded(held(value, field.low, field.high)),
    ];
    draw();
  }

  function soon() {
    clearTimeout(waiting);
    waiting = setTimeout(flush, 350);
  }

  function flush() {
    if (!waiting) return;
    clearTimeout(waiting);
    waiting = 0;
    commit(points);
  }

  function toggled() {
    if (open.checked) {
      points = null;
      commit(null);
    } else {
      const middle = rounded((field.usual ?? (field.low + field.high) / 2));
      points = [[0, middle], [1, middle]];
      commit(points);
    }
    draw();
  }

  function insert(at, value) {
    const index = points.findIndex(([other]) => other > at);
    if (index < 1 || at - points[index - 1][0] < APART || points[index][0] - at < APART) return;
    points.splice(index, 0, [Number(at.toFixed(4)), rounded(held(value, field.low, field.high))]);
    chosen = index;
    draw();
    handles.children[index]?.focus();
    commit(points);
  }

  function added() {
    let widest = 1;
    for (let i = 1; i < points.length; i++)
      if (points[i][0] - points[i - 1][0] > points[widest][0] - points[widest - 1][0]) widest = i;
    const [[a, low], [b, high]] = [points[widest - 1], points[widest]];
    insert((a + b) / 2, (low + high) / 2);
  }

  function removed() {
    if (chosen < 1 || chosen >= points.length - 1) return;
    points.splice(chosen, 1);
    chosen = 0;
    draw();
    commit(points);
  }

  function where(event) {
    const spot = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    const share = (CURVE.bottom - spot.y) / (CURVE.bottom - CURVE.top);
    return [(spot.x - CURVE.left) / (CURVE.right - CURVE.left), range[0] + share * (range[1] - range[0])];
  }

  function pressed(event) {
    if (points && !event.target.closest(".handle")) insert(...where(event));
  }

  function keyed(event, index) {
    const [at, value] = points[index];
    const large = event.shiftKey ? 5 : 1;
    const steps = {
      ArrowUp: [0, 1], ArrowDown: [0, -1], PageUp: [0, 10], PageDown: [0, -10],
      ArrowRight: [0.01, 0], ArrowLeft: [-0.01, 0],
    }[event.key];
    if (event.key === "Delete" || event.key === "Backspace") {
      chosen = index;
      removed();
      handles.children[Math.min(index, points.length - 1)]?.focus();
    } else if (event.key === "Insert" || event.key === "Enter") {
      added();
    } else if (steps) {
      moved(index, at + large * steps[0], value + large * steps[1] * field.step);
      waiting ||= 1;
      soon();
    } else return;
    event.preventDefault();
  }

  function handle(index) {
    const node = svg("g", { class: "handle", role: "slider", tabindex: "0" });
    node.append(svg("circle", { class: "reach", r: 17 }), svg("circle", { class: "dot", r: 8 }));
    node.addEventListener("focus", () => { chosen = index; draw(); });
    node.addEventListener("blur", flush);
    node.addEventListener("keydown", (event) => keyed(event, index));
    node.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      node.focus();
      node.setPointerCapture(event.pointerId);
      const move = (e) => moved(index, ...where(e));
      node.addEventListener("pointermove", move);
      node.addEventListener("lostpointercapture", () => {
        node.removeEventListener("pointermove", move);
        commit(points);
      }, { once: true });
    });
    return node;
  }

  function words(at, value) {
    const when = seconds ? `at ${clock(at * seconds)}` : `at ${Math.round(100 * at)} %`;
    return `${value} ${field.unit} ${when}`.replace("  ", " ");
  }

  function draw() {
    open.checked = points === null;
    for (const part of [buttons, picture]) part.classList.toggle("off", points === null);
    add.disabled = take.disabled = points === null;
    if (points === null) {
      line.setAttribute("d", "");
      handles.replaceChildren();
      said.textContent = "";
      return;
    }
    take.disabled = chosen < 1 || chosen >= points.length - 1;
    while (handles.children.length > points.length) handles.lastChild.remove();
    while (handles.children.length < points.length) handles.append(handle(handles.children.length));
    line.setAttribute("d", points.map(([at, v], i) => `${i ? "L" : "M"}${x(at)} ${y(v)}`).join(""));
    points.forEach(([at, value], index) => {
      const node = handles.children[index];
      node.setAttribute("transform", `translate(${x(at)} ${y(value)})`);
      node.setAttribute("aria-label", `${field.label}, point ${index + 1} of ${points.length}`);
      node.setAttribute("aria-valuemin", field.low);
      node.setAttribute("aria-valuemax", field.high);
      node.setAttribute("aria-valuenow", value);
      node.setAttribute("aria-valuetext", words(at, value));
      node.classList.toggle("chosen", index === chosen);
    });
    said.textContent = words(...points[Math.min(chosen, points.length - 1)]);
  }

  function scale() {
    const parts = [];
    for (let i = 0; i <= 4; i++) {
      const value = range[0] + (i / 4) * (range[1] - range[0]);
      const text = svg("text", { x: CURVE.left - 16, y: y(value) + 5, "text-anchor": "end" });
      text.textContent = Number(value.toFixed(field.step < 1 ? 2 : 0));
      parts.push(svg("path", { class: "grid", d: `M${CURVE.left} ${y(value)}H${CURVE.right}` }), text);
      const anchor = ["start", "middle", "middle", "middle", "end"][i];
      const time = svg("text", { x: x(i / 4), y: CURVE.bottom + 20, "text-anchor": anchor });
      time.textContent = seconds ? clock((i / 4) * seconds) : `${25 * i} %`;
      parts.push(time);
    }
    grid.replaceChildren(...parts);
  }

  return {
    node,
    /** Show what is asked, over so many seconds of music. */
    show(value, length) {
      if (waiting) return;
      seconds = length;
      points = value === null ? null : value.map((point) => [...point]);
      range = viewed();
      scale();
      draw();
    },
    disable(off) {
      for (const part of node.querySelectorAll("input,button")) part.disabled = off;
      if (!off) draw();
    },
  };
}
