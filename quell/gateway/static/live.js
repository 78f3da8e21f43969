// Keeps the page fresh: fetches it again and replaces what changed, but never a form that somebody is filling in.
"use strict";
(() => {
  const seconds = Number(document.body.dataset.refresh || 0);
  if (!seconds) return;
  const isBusy = (node) =>
    node.contains(document.activeElement) && document.activeElement.matches("input, textarea, select, button") ||
    [...node.querySelectorAll("input:not([type=hidden]), textarea")].some((field) => field.value);
  const refresh = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.pathname, { headers: { "X-Quell-Refresh": "1" } });
      if (!answer.ok) throw new Error(String(answer.status));
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of document.querySelectorAll("[data-live]")) {
        const news = fresh.getElementById(part.id);
        if (news && !isBusy(part) && news.innerHTML !== part.innerHTML) {
          const open = [...part.querySelectorAll("details[open]")].map((d) => d.id);
          part.innerHTML = news.innerHTML;
          for (const id of open) document.getElementById(id)?.setAttribute("open", "");
        }
      }
      document.body.classList.remove("is-stale");
    } catch {
      document.body.classList.add("is-stale");
    }
  };
  setInterval(refresh, seconds * 1000);
})();
