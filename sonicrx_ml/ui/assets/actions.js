// Buttons, and how far what they started has come; says so where the kernel does not answer.

const PATIENCE_MS = 15000;

export default {
  render({ model, el }) {
    el.classList.add("sonicrx", "actions");
    let pressedAt = 0;
    const lost = h("p", { class: "wrong", role: "alert", hidden: true });
    const press = (name) => {
      model.send({ press: name });
      const mine = ++pressedAt;
      setTimeout(() => {
        if (mine !== pressedAt || model.get("heard") >= mine) return;
        lost.hidden = false;
        lost.textContent =
          "✗ No answer from SonicRx. Reload the page: your choices and your takes are kept.";
      }, PATIENCE_MS);
      model.set("pressed", mine);
      model.save_changes();
    };
    const buttons = model.get("buttons").map(([name, text, style]) => [
      name, h("button", { type: "button", class: style, text, onclick: () => press(name) }),
    ]);
    const bar = h("progress", { max: 1, "aria-label": "Progress" });
    const said = h("p", { class: "status", role: "status" });
    const alarm = h("p", { class: "wrong", role: "alert", hidden: true });
    el.replaceChildren(h("div", { class: "row" }, ...buttons.map(([, node]) => node)), bar, said, alarm, lost);
    const asked = (event) => { if (model.get("busy") && model.get("guard")) event.preventDefault(); };
    window.addEventListener("beforeunload", asked);
    const off = follow(model, ["busy", "share", "text", "alarm", "enabled", "heard"], () => {
      const [busy, enabled] = [model.get("busy"), model.get("enabled")];
      for (const [name, node] of buttons) {
        const on = enabled.includes(name);
        if (!on && document.activeElement === node) said.tabIndex = -1, said.focus();
        node.disabled = !on;
        node.hidden = name === "cancel" && !busy;
      }
      bar.hidden = !busy;
      el.classList.toggle("guarded", busy && model.get("guard")); // which the served page looks for
      if (busy && model.get("share") < 0) bar.removeAttribute("value");
      else bar.value = Math.max(0, model.get("share"));
      if (said.textContent !== model.get("text")) said.textContent = model.get("text");
      alarm.textContent = model.get("alarm") ? `✗ ${model.get("alarm")}` : "";
      alarm.hidden = !model.get("alarm");
      if (model.get("heard") >= pressedAt) lost.hidden = true;
    });
    return () => {
      off();
      window.removeEventListener("beforeunload", asked);
    };
  },
};
