// Files dropped or chosen: sent one after the other, each with its own progress and result.

import { get, upload } from "./api.js";
import { byId, h, setText } from "./dom.js";
import { bytes, count } from "./format.js";
import { fileName, stateBadge } from "./log_words.js";

const WATCHED_MS = 1500;
const WATCHED_FOR_MS = 120000;

class Upload {
  constructor(file) {
    this.file = file;
    this.bar = h("progress", { max: "1", value: "0", "aria-label": `Upload of ${file.name}` });
    this.note = h("span", { class: "note", role: "status" }, "waiting");
    this.results = h("span", { class: "results" });
    this.element = h("li", null, h("b", null, file.name), h("small", { class: "num" }, bytes(file.size)), this.bar, this.note, this.results);
  }

  async send(aircraftId) {
    setText(this.note, "sending");
    try {
      const answer = await upload("logs", this.file, {
        query: { name: this.file.name, aircraft_id: aircraftId },
        onProgress: (share) => {
          this.bar.value = share;
          setText(this.note, share < 1 ? `${Math.round(share * 100)} %` : "being read");
        },
      });
      this.bar.value = 1;
      setText(this.note, answer.items.length > 1 ? count(answer.items.length, "log") : "taken");
      answer.items.forEach((log) => this.follow(log));
      return true;
    } catch (error) {
      this.element.classList.add("failed");
      setText(this.note, error.detail ? `${error.title}: ${error.detail}` : error.message);
      return false;
    }
  }

  /** Show what becomes of a log until it is settled. */
  async follow(log) {
    const place = h("a", { href: `/logs/${log.sha256}` });
    this.results.append(place);
    const until = Date.now() + WATCHED_FOR_MS;
    for (let now = log; ; ) {
      place.replaceChildren(fileName(now), " ", stateBadge(now));
      if (!["arriving", "whole"].includes(now.state) || Date.now() > until) return;
      await new Promise((next) => setTimeout(next, WATCHED_MS));
      now = await get(`logs/${log.sha256}`).then((a) => a.data, () => now);
    }
  }
}

/** Make the page take files. canUpload: whether this key may; onTaken: after each file. */
export function listenUploads({ canUpload, onTaken }) {
  const drop = byId("drop");
  const list = byId("upload-list");
  drop.hidden = !canUpload;
  if (!canUpload) return;
  let queue = Promise.resolve();
  let [sent, failed, all] = [0, 0, 0];
  const tell = () => setText(byId("upload-count"), `${sent + failed} of ${all}${failed ? `, ${failed} refused` : ""}`);

  function take(files) {
    for (const file of files) {
      const one = new Upload(file);
      list.prepend(one.element);
      all += 1;
      queue = queue.then(async () => {
        if (await one.send(byId("for-craft").value)) sent += 1;
        else failed += 1;
        tell();
        onTaken();
      });
    }
    byId("uploads").hidden = !all;
    tell();
  }

  byId("files").addEventListener("change", (e) => {
    take([...e.target.files]);
    e.target.value = "";
  });
  const holdsFiles = (e) => [...(e.dataTransfer?.types ?? [])].includes("Files");
  document.addEventListener("dragover", (e) => holdsFiles(e) && (e.preventDefault(), drop.classList.add("over")));
  document.addEventListener("dragleave", (e) => e.relatedTarget || drop.classList.remove("over"));
  document.addEventListener("drop", (e) => {
    if (!holdsFiles(e)) return;
    e.preventDefault();
    drop.classList.remove("over");
    take([...e.dataTransfer.files]);
  });
}
