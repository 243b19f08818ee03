// Remembers in this tab of the browser, and nowhere else, who visits and what was asked, so that
// nothing is lost when the page is loaded anew. Hands files over to the browser's downloads.

const PLACE = "sonicrx";

export default {
  render({ model, el }) {
    el.style.display = "none";
    let held = {};
    try {
      held = JSON.parse(sessionStorage.getItem(PLACE)) ?? {};
    } catch {
      held = {};
    }
    if (!model.get("visitor")) {
      const random = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0"));
      model.set("found", { visitor: held.visitor ?? random.join(""), draft: held.draft ?? {} });
      model.save_changes();
    }
    const keep = () => {
      if (!model.get("visitor")) return;
      const now = { visitor: model.get("visitor"), draft: model.get("draft") };
      sessionStorage.setItem(PLACE, JSON.stringify(now));
    };
    const off = [
      follow(model, ["visitor", "draft"], keep),
      follow(model, ["download"], async () => {
        const file = model.get("download");
        if (!file) return;
        const blob = await receive(model, file);
        if (!blob) return;
        const link = h("a", { href: URL.createObjectURL(blob), download: file.split("/").pop() });
        document.body.append(link);
        link.click();
        link.remove();
        setTimeout(() => URL.revokeObjectURL(link.href), 60000);
        model.set("download", "");
        model.save_changes();
      }),
    ];
    return () => off.forEach((stop) => stop());
  },
};
