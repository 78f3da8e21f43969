// Keeps the page fresh. A stream says when something changed; the page is then fetched again and only what differs is
// put in place, so that focus, open details, typed text and the place on the page stay. Without a stream it asks now
// and then. Nothing here is needed to read, decide or sign in.
"use strict";
(() => {
  const body = document.body;
  const events = body.dataset.events;
  const said = document.getElementById("said");
  const SLOWEST = 15000, ASKING = 5000, AT_MOST = 1000, AGAIN = 60000;
  let version = body.dataset.version, source = null, asking = 0, due = 0, last = 0, running = false;

  const isBusy = (node) =>
    (node.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) ||
    [...node.querySelectorAll("input:not([type=hidden]), textarea")].some((field) =>
      field.type === "checkbox" ? field.checked !== field.defaultChecked : field.value !== field.defaultValue);

  // Make `old` like `fresh`, keeping every node that is still there; `data-keep` holds what was loaded on demand.
  const morph = (old, fresh) => {
    for (const { name, value } of fresh.attributes)
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const { name } of [...old.attributes])
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    if (old.hasAttribute("data-keep")) return;
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      let match = at;
      const id = next.id;
      if (id) match = [...old.children].find((child) => child.id === id) || null;
      else while (match && match.id) match = match.nextSibling;
      if (match && match.nodeName === next.nodeName && (match.id || "") === (id || "")) {
        if (match !== at) old.insertBefore(match, at); else at = at.nextSibling;
        if (match.nodeType === 1) morph(match, next);
        else if (match.data !== next.data) match.data = next.data;
      } else old.insertBefore(document.importNode(next, true), at);
    }
    while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
  };

  const refresh = async () => {
    if (running || document.hidden) return;
    running = true;
    last = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { "X-Quell-Refresh": "1" } });
      if (answer.status === 401) { body.classList.add("is-out"); return stop(); }
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      let waits = false;
      for (const part of document.querySelectorAll("[data-live]")) {
        const news = fresh.getElementById(part.id);
        if (!news || news.isEqualNode(part)) continue;
        if (isBusy(part)) { waits = true; part.classList.add("is-behind"); continue; }
        part.classList.remove("is-behind");
        morph(part, news);
      }
      version = fresh.body.dataset.version;
      const news = fresh.body.dataset.latest;
      if (said && news && news !== body.dataset.latest) said.textContent = news;
      body.dataset.latest = news || "";
      body.classList.remove("is-stale");
      if (waits) soon(2000);
    } catch {
      body.classList.add("is-stale");
    } finally {
      running = false;
    }
  };
  const soon = (wait = 0) => {
    clearTimeout(due);
    due = setTimeout(refresh, Math.max(wait, AT_MOST - (Date.now() - last), 0));
  };
  const ask = (every) => { clearInterval(asking); asking = setInterval(refresh, every); };
  const stop = () => { source?.close(); source = null; clearInterval(asking); };
  const listen = () => {
    stop();
    if (document.hidden) return;
    if (!events || !window.EventSource) return ask(ASKING);
    ask(SLOWEST);  // what no stream tells of: the chart, and times that pass
    source = new EventSource(`${events}?since=${version}`);
    source.addEventListener("change", () => soon());
    source.onopen = () => body.classList.remove("is-stale");
    source.onerror = () => {
      if (source?.readyState !== EventSource.CLOSED) return body.classList.add("is-stale");
      source = null;  // refused: as many pages are live as this gateway serves, or signed out
      ask(ASKING);
      refresh();
      setTimeout(listen, AGAIN);
    };
  };

  const load = async (into, address) => {
    into.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(address, { headers: { "X-Quell-Refresh": "1" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      into.replaceChildren(...fresh.getElementById("page").childNodes);
    } catch {
      into.textContent = "It could not be loaded: try again.";
    }
    into.removeAttribute("aria-busy");
  };
  document.addEventListener("toggle", (event) => {
    const box = event.target.querySelector?.(":scope > [data-load]");
    if (box && event.target.open && !box.querySelector(":scope > :not(noscript)")) load(box, box.dataset.load);
  }, true);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-keep] a.turn");
    if (!link || event.metaKey || event.ctrlKey) return;
    event.preventDefault();
    load(link.closest("[data-keep]"), link.href);
  });
  let typing = 0;
  document.addEventListener("input", (event) => {
    const form = event.target.closest?.("form[data-into]");
    if (!form) return;
    clearTimeout(typing);
    typing = setTimeout(() => {
      const into = document.getElementById(form.dataset.into);
      const words = new FormData(form).get("q").trim();
      if (words) load(into, `${form.action}?${new URLSearchParams({ q: words })}`);
      else into.replaceChildren();
    }, 250);
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.key === "/" && document.querySelector("input[type=search]");
    if (field) { event.preventDefault(); field.focus(); }
  });
  if (body.hasAttribute("data-refresh")) {
    document.addEventListener("visibilitychange", () => { listen(); refresh(); });
    addEventListener("pagehide", stop);
    addEventListener("pageshow", (event) => { if (event.persisted) { listen(); refresh(); } });
    listen();
  }
})();
