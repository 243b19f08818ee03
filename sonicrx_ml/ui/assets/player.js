// A take: its sound, the picture of it with a line that moves with the sound, and marks to jump to.

export default {
  render({ model, el }) {
    el.classList.add("sonicrx", "player");
    const title = h("h3");
    const summary = h("p", { class: "hint" });
    const sound = h("audio", { controls: true, preload: "auto" });
    const loading = h("p", { class: "hint", role: "status" });
    const marks = h("div", { class: "row marks", role: "group", "aria-label": "Jump to" });
    const picture = h("div", { class: "scroll", tabindex: "0", role: "region" });
    const keep = h("button", { type: "button", class: "primary", onclick: () => model.send({ keep: true }) });
    el.replaceChildren(title, summary, sound, loading, marks, picture, h("div", { class: "row" }, keep));
    let shown = null;

    function head() {
      for (const figure of picture.querySelectorAll("svg[data-seconds]")) {
        const line = figure.querySelector(".head");
        const [left, right] = model.get("axis");
        const share = Math.min(1, sound.currentTime / figure.dataset.seconds);
        line.setAttribute("transform", `translate(${left + share * (right - left)})`);
        line.style.visibility = sound.currentTime > 0 ? "visible" : "hidden";
        const at = ((left + share * (right - left)) / figure.viewBox.baseVal.width) * figure.clientWidth;
        if (!sound.paused) picture.scrollLeft = at - picture.clientWidth / 2;
      }
      for (const button of marks.children)
        button.classList.toggle("passed", sound.currentTime >= Number(button.dataset.at) - 0.05);
      if (!sound.paused) requestAnimationFrame(head);
    }

    function seek(event) {
      const figure = event.target.closest("svg[data-seconds]");
      if (!figure) return;
      const [left, right] = model.get("axis");
      const box = figure.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * figure.viewBox.baseVal.width;
      sound.currentTime = Math.max(0, ((at - left) / (right - left)) * figure.dataset.seconds);
    }

    async function load() {
      const file = model.get("sound");
      if (file === shown) return;
      shown = file;
      if (!file) {
        sound.removeAttribute("src");
        return sound.load();
      }
      loading.textContent = "Fetching the sound …";
      const blob = await receive(model, file);
      if (file !== shown) return;
      loading.textContent = blob ? "" : "✗ The sound is gone; make the take again.";
      if (!blob) return;
      const [at, playing, older] = [sound.currentTime, !sound.paused && !sound.ended, sound.src];
      sound.src = URL.createObjectURL(blob);
      sound.addEventListener("loadedmetadata", () => {
        if (at > 0 && at < sound.duration) sound.currentTime = at;
        if (playing) sound.play();
        if (older) URL.revokeObjectURL(older);
      }, { once: true });
    }

    sound.addEventListener("play", head);
    sound.addEventListener("seeked", head);
    picture.addEventListener("click", seek);
    const off = [
      follow(model, ["sound"], load),
      follow(model, ["figure", "marks", "name"], () => {
        title.textContent = model.get("name");
        sound.setAttribute("aria-label", `Sound of ${model.get("name")}`);
        picture.setAttribute("aria-label", `Picture of ${model.get("name")}: notes, asked and realised curves`);
        picture.innerHTML = model.get("figure");
        marks.replaceChildren(...model.get("marks").map(([at, name]) => h("button", {
          type: "button", class: "small mark-button", "data-at": at, text: `${clock(at)} ${name}`,
          onclick: () => { sound.currentTime = at; },
        })));
        marks.hidden = model.get("marks").length === 0;
        head();
      }),
      follow(model, ["summary", "kept", "keepable"], () => {
        summary.textContent = model.get("summary");
        keep.hidden = !model.get("keepable");
        keep.textContent = model.get("kept") ? "✓ Kept: this take is checked and exported" : "Keep this take";
        keep.setAttribute("aria-pressed", model.get("kept") ? "true" : "false");
        el.classList.toggle("kept", model.get("kept") && model.get("keepable"));
      }),
    ];
    return () => {
      off.forEach((stop) => stop());
      sound.pause();
    };
  },
};
