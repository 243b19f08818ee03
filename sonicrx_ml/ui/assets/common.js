// What the widgets share: elements, pictures of time, and files that come in parts.

/** An element with attributes, listeners (on...) and children. */
function h(tag, given = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "text") node.textContent = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child));
  return node;
}

function svg(tag, given = {}) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(given)) node.setAttribute(name, value);
  return node;
}

let counted = 0;
const fresh = (name) => `sonicrx-${name}-${++counted}`;

function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** A file of the kernel, asked for part by part: no message is large. Null where it is gone. */
function receive(model, file) {
  return new Promise((resolve) => {
    const parts = [];
    let held = 0;
    const next = () => model.send({ want: file, at: held });
    const take = (message, buffers) => {
      if (message.file !== file || message.at !== held) return;
      if (message.total === null) return done(null);
      parts.push(buffers[0]);
      held += buffers[0].byteLength;
      if (held < message.total) next();
      else done(new Blob(parts, { type: message.mime }));
    };
    const done = (found) => {
      model.off("msg:custom", take);
      resolve(found);
    };
    model.on("msg:custom", take);
    next();
  });
}

/** Run `show` now and whenever one of the names changes; what it returns takes it off again. */
function follow(model, names, show) {
  const events = names.map((name) => `change:${name}`);
  for (const event of events) model.on(event, show);
  show();
  return () => events.forEach((event) => model.off(event, show));
}
