// A flight: facts, record, track, plots, findings and events round one view. A live flight is asked about every 2 s.

import { Feed, get } from "./api.js";
import { backdropOf, endOf } from "./backdrop.js";
import { Board } from "./board.js";
import { listenKeys, listenTimeMode, listenWheel, readAddress, writeAddress } from "./board_keys.js";
import { channelPicker, loadChannels } from "./channel_picker.js";
import { showCompleteness } from "./completeness.js";
import { byId, h, onTheme, setText } from "./dom.js";
import { EventList } from "./events.js";
import { FindingList } from "./findings.js";
import { showDownloads, showHead } from "./flight_head.js";
import { isWhole } from "./flight_words.js";
import { errorState, openFrame, showLink } from "./frame.js";
import { poll } from "./poll.js";
import { listenTabs } from "./tabs.js";
import { TimeAxis } from "./time_axis.js";
import { Timeline } from "./timeline.js";
import { TrackPanel } from "./track_panel.js";
import { View } from "./view.js";

const LIVE_MS = 2000;
const AFTER_MS = 15000; // a closed flight is still settled and analysed for a while

class FlightPage {
  constructor(id) {
    this.id = id;
    this.path = `flights/${encodeURIComponent(id)}`;
    this.findings = [];
    this.feeds = { findings: new Feed(`${this.path}/findings`), events: new Feed(`${this.path}/events`) };
    this.backdrop = { modes: [], unarmed: [], findings: [], gaps: [] };
    this.head = { title: byId("title"), crumb: byId("crumb"), badges: byId("badges"), factList: byId("facts") };
  }

  async open() {
    const { data } = await get(this.path);
    byId("trouble").replaceChildren();
    this.flight = data;
    this.view = new View(data.started_utc_us / 1e6, endOf(data));
    this.axis = new TimeAxis(data.started_utc_us / 1e6);
    this.buildParts();
    this.showFlight();
    document.body.classList.add("has-flight");
    await Promise.allSettled([this.track.load().then(() => this.timeline.draw()), this.loadFindings(), this.loadEvents()]);
    this.watch();
  }

  buildParts() {
    const { view, axis, id } = this;
    const backdrop = () => this.backdrop;
    const extras = readAddress(view);
    this.track = new TrackPanel({ flightId: id, view, isLive: () => this.flight.state === "live" });
    this.timeline = new Timeline(byId("timeline"), { view, axis, backdrop, silhouette: () => this.track.silhouette });
    this.board = new Board({
      flightId: id, host: byId("plots"), view, axis, backdrop,
      onBusy: (isBusy) => setText(byId("busy"), isBusy ? "Loading" : ""),
      onError: showLink,
      onChange: (names) => writeAddress(view, names),
    });
    this.eventList = new EventList(byId("events"), { view, axis });
    this.findingList = new FindingList(byId("findings"), { view, axis });
    listenTabs(document.querySelector("[role=tablist]"));
    listenKeys(byId("plots"), view, axis);
    listenWheel(byId("plots"), view);
    listenTimeMode(byId("time-mode"), axis);
    channelPicker(byId("picker"), (channel) => this.board.addChannel(channel)?.element.scrollIntoView({ block: "center", behavior: "smooth" }));
    showDownloads(byId("downloads"), this.flight);
    this.restoreChannels(extras);
    const whole = byId("whole");
    whole.addEventListener("click", () => view.showAll());
    view.addEventListener("window", () => {
      whole.disabled = view.isWhole;
      clearTimeout(this.addressTimer);
      this.addressTimer = setTimeout(() => writeAddress(view, this.board.extras()), 300);
    });
    whole.disabled = view.isWhole;
    onTheme(() => [this.board, this.track].forEach((part) => part.retheme()) ?? this.timeline.draw());
  }

  async restoreChannels(names) {
    if (!names.length) return;
    const known = await loadChannels().catch(() => []);
    names.map((name) => known.find((c) => c.name === name)).filter(Boolean).forEach((c) => this.board.addChannel(c));
  }

  showFlight() {
    showHead(this.flight, this.head);
    showCompleteness(byId("record"), this.flight);
    this.backdrop = backdropOf(this.flight, this.findings);
    this.track.setModes(this.backdrop.modes);
    this.timeline.draw();
    this.board.redraw();
  }

  async loadFindings() {
    this.findings = (await this.feeds.findings.load()) ?? this.findings;
    this.backdrop = backdropOf(this.flight, this.findings);
    this.findingList.set(this.findings, this.flight);
    if (this.findings.length) this.loadVerdicts().catch(showLink);
    setText(byId("tab-findings").querySelector(".count"), String(this.findings.length));
    if (!this.hasChosenTab) {
      this.hasChosenTab = true;
      if (!this.findings.length && this.flight.state !== "live") byId("tab-events").click();
    }
    this.timeline.draw();
    this.board.redraw();
  }

  async loadVerdicts() {
    const [{ data }, who] = await Promise.all([get(`${this.path}/feedback`), me]);
    this.findingList.setVerdicts(data.items, who);
  }

  async loadEvents() {
    const items = await this.feeds.events.load();
    if (!items) return;
    setText(byId("tab-events").querySelector(".count"), String(items.length));
    this.eventList.set(items);
  }

  /** Ask again: often while live, seldom while the hub may still settle and analyse, then never. */
  watch() {
    const isLive = this.flight.state === "live";
    if (!isLive && this.flight.analysis && isWhole(this.flight)) return;
    this.polled = poll(this.path, { everyMs: isLive ? LIVE_MS : AFTER_MS, onData: (data) => this.onNews(data), onError: showLink });
  }

  async onNews(flight) {
    const wasLive = this.flight.state === "live";
    const end = endOf(flight);
    const hasGrown = end > this.view.extent.to + 0.05;
    this.flight = flight;
    if (hasGrown) await Promise.all([this.track.appendNew(end), this.board.appendNew(end)]);
    this.view.grow(end);
    this.showFlight();
    await Promise.all([this.loadEvents(), this.loadFindings()]);
    if (flight.state === "live") return;
    await this.track.load(); // closed, settled or completed: what was drawn live may be finer now
    this.board.reload();
    if (wasLive) {
      this.polled.stop();
      this.watch();
    }
  }
}

async function start() {
  const id = decodeURIComponent(location.pathname.split("/").pop());
  try {
    await new FlightPage(id).open();
  } catch (error) {
    document.body.classList.add("has-failed");
    const isUnknown = error.status === 404;
    const shown = isUnknown ? { title: "No such flight", detail: "It does not exist, or it belongs to another organisation. The list of flights shows all that this key may see." } : error;
    const back = h("p", { class: "centre" }, h("a", { class: "button", href: "/" }, "All flights"));
    byId("trouble").replaceChildren(errorState(shown, isUnknown ? null : () => location.reload()), back);
    if (!error.status && error.name !== "ApiError") throw error;
  }
}

const me = openFrame();
start();
