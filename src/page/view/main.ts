/** The dashboard: what comes from the proxy is put where it is shown, and keys are heard. */
import { Session } from "../model/session.ts";
import { BackendsView } from "./backends_view.ts";
import { Chart } from "./chart.ts";
import { byId, setText } from "./dom.ts";
import { Dots } from "./dots.ts";
import { Drawer } from "./drawer.ts";
import { DropsView } from "./drops_view.ts";
import { FeedClient, LOOK_MS } from "./feed_client.ts";
import { Header } from "./header.ts";
import { TreeView } from "./tree_view.ts";

function start(): void {
  const session = new Session();
  const header = new Header();
  const drawer = new Drawer();
  const tree = new TreeView((node) => drawer.open({ node }, session.shown));
  const backends = new BackendsView((backend) => drawer.open({ backend }, session.shown));
  const drops = new DropsView();
  const chart = new Chart(session.history);
  const dots = new Dots(byId<HTMLCanvasElement>("dots"), tree);

  const showState = () => {
    const state = session.link.state(performance.now());
    header.showState(state, session.isPaused);
    const isMoving = !session.isPaused && (state.kind === "live" || state.kind === "reloaded");
    if (!isMoving) dots.stop();
  };
  const show = () => {
    const { shown } = session;
    if (shown !== null && !session.isPaused && !document.hidden) {
      document.body.classList.remove("empty");
      header.show(shown);
      tree.show(shown, session.outline, session.takeOtherRows());
      backends.show(shown);
      drops.show(shown);
      chart.show(shown.counters.ms, shown.rates);
      drawer.show(shown);
      const { hidden_nodes: hidden } = shown.tree;
      setText(byId("hidden-nodes"), hidden > 0 ? `${hidden} more nodes are not shown` : "");
      dots.update();
    }
    showState();
  };
  const client = new FeedClient(session, show);
  setInterval(() => {
    client.look();
    showState();
  }, LOOK_MS);
  document.addEventListener("visibilitychange", show);

  const pause = () => {
    session.pause(!session.isPaused, performance.now());
    show();
  };
  listen({ pause, tree, dots });
  void client.connect();
}

function listen(
  { pause, tree, dots }: { pause: () => void; tree: TreeView; dots: Dots },
): void {
  const filter = byId<HTMLInputElement>("filter");
  const help = byId<HTMLDialogElement>("help");
  const search = () => {
    const found = tree.filter(filter.value);
    setText(byId("found"), filter.value.trim() === "" ? "" : `${found} found`);
    dots.update();
  };
  filter.addEventListener("input", search);
  filter.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === "ArrowDown") tree.focusMatch();
    else if (event.key === "Escape") {
      filter.value = "";
      search();
      tree.focus();
    } else return;
    event.preventDefault();
  });
  byId("pause").addEventListener("click", pause);
  byId("ask-help").addEventListener("click", () => help.showModal());
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.querySelector("button")!.addEventListener("click", () => dialog.close());
  }
  document.addEventListener("keydown", (event) => {
    const { key, ctrlKey, altKey, metaKey, target } = event;
    const isTyping = target instanceof HTMLInputElement;
    if (ctrlKey || altKey || metaKey || isTyping || document.querySelector("dialog[open]")) return;
    if (key === "/") filter.focus();
    else if (key === "p") pause();
    else if (key === "?") help.showModal();
    else if (key === "Escape" && filter.value !== "") {
      filter.value = "";
      search();
      tree.focus();
    } else return;
    event.preventDefault();
  });
}

start();
