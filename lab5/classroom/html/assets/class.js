// The pages of a class: language, keys, sorting, filtering, and what the person enters.
"use strict";
(() => {
  const html = document.documentElement;
  const stored = {
    get(name) { try { return localStorage.getItem(name); } catch { return null; } },
    set(name, value) { try { localStorage.setItem(name, value); return true; } catch { return false; } },
  };
  function speak(language) {
    html.lang = html.dataset.lang = language === "en" ? "en" : "zh-TW";
    stored.set("lab5:language", html.lang);
  }
  speak(stored.get("lab5:language") || html.lang); // before anything is drawn

  const say = (en, zh) => (html.lang === "en" ? en : zh);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);
  const round = (value) => Math.round(value * 100) / 100;
  // Of the points that a person gave those count whose check still waits for them, and the other ones.
  const sum = (points, waiting) =>
    round([...new Set(waiting).add("other")].reduce((total, name) => total + (points[name] || 0), 0));

  document.addEventListener("DOMContentLoaded", () => {
    const { page, class: id, title } = document.body.dataset;
    const prefix = `lab5:${id}:`;

    // What the person entered: {points: {check: number}, note, at}, the later one of two counts.

    function later(a, b) { return !a || (b && b.at > a.at) ? b : a; }
    function valid(own) {
      return own && typeof own === "object" && own.points && typeof own.points === "object"
        && Object.values(own.points).every(Number.isFinite) && Number.isFinite(own.at)
        && typeof own.note === "string" ? own : null;
    }
    function inBrowser(key) {
      try { return valid(JSON.parse(stored.get(prefix + key))); } catch { return null; }
    }
    function keysInBrowser() {
      const start = prefix + "marks:";
      try {
        return Object.keys(localStorage).filter((name) => name.startsWith(start)).map((name) => name.slice(start.length));
      } catch { return []; } // it keeps nothing
    }
    const own = (key) => inBrowser("marks:" + key);
    const keep = (key, value) => stored.set(prefix + "marks:" + key, JSON.stringify(value));

    function download(name, marks) {
      const text = JSON.stringify({ title, marks }, null, 1) + "\n";
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    }

    // Language and keys

    const keys = {
      l: () => { speak(html.lang === "en" ? "zh-TW" : "en"); document.dispatchEvent(new Event("spoken")); },
      "?": () => one("#help").showModal(),
    };
    one("#language").addEventListener("click", keys.l);
    one("#keys").addEventListener("click", keys["?"]);
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      const typing = event.target.closest("input, textarea");
      if (event.key === "Escape" && typing) { typing.blur(); return; }
      if (typing || one("dialog[open]")) return;
      const act = keys[event.key];
      if (act) { event.preventDefault(); act(); }
    });
    function step(list, by, focus = (element) => element) {
      const here = list.findIndex((element) => element.contains(document.activeElement));
      const next = list[here < 0 ? (by > 0 ? 0 : list.length - 1) : here + by];
      if (next) { focus(next).focus(); next.scrollIntoView({ block: "nearest" }); }
    }

    if (page === "index") overview(); else student();

    function overview() {
      const body = one("#class tbody");
      const rows = () => all("tr", body);
      const visible = () => rows().filter((row) => !row.hidden);
      let embedded = new Map(); // a key may be called __proto__
      try { embedded = new Map(Object.entries(JSON.parse(one("#kept").dataset.marks))); } catch { /* as without */ }
      let filter = "all";
      let check = "";
      stored.set(prefix + "here", "1");
      if (matchMedia("(max-width: 760px)").matches) one(".plots").open = false; // the list first

      function refresh() {
        let left = 0;
        for (const row of rows()) {
          const mine = later(valid(embedded.get(row.dataset.key)), own(row.dataset.key)) || { points: {} };
          const waiting = row.dataset.waiting.split(" ").filter((name) => name);
          const points = sum(mine.points, waiting);
          const open = waiting.some((name) => !(name in mine.points));
          const ungraded = row.dataset.is.includes("ungraded");
          const total = round(Number(row.dataset.earned) + points);
          row.querySelector(".total b").textContent = ungraded ? "–" : total;
          row.querySelector(".total").dataset.v = ungraded ? -1 : total;
          row.querySelector(".own").textContent = Object.keys(mine.points).length ? points : "";
          row.querySelector(".own").dataset.v = points;
          row.querySelector(".waits").hidden = !open;
          row.classList.toggle("waiting", open);
          left += open;
        }
        one("#left").textContent = left;
        show();
      }
      function fits(row) {
        const words = one("#search").value.toLowerCase().split(/\s+/);
        const text = `${row.dataset.key} ${row.cells[0].dataset.v} ${row.cells[1].dataset.v}`.toLowerCase();
        return words.every((word) => text.includes(word))
          && (!check || row.dataset.failed.split(" ").includes(check))
          && (filter === "all" || (filter === "waiting" ? row.classList.contains("waiting")
            : row.dataset.is.split(" ").includes(filter)));
      }
      function show() {
        for (const row of rows()) row.hidden = !fits(row);
        one("#shown").textContent = visible().length;
        stored.set(prefix + "order", JSON.stringify(visible().map((row) => row.dataset.key)));
      }
      function choose(name) {
        filter = name;
        for (const chip of all("[data-filter]")) chip.setAttribute("aria-pressed", chip.dataset.filter === name);
        show();
      }
      function only(name, label) {
        check = name;
        const chip = one("#only");
        chip.hidden = !name;
        chip.replaceChildren(...label, name ? " ×" : "");
        show();
      }
      function sort(head) {
        const column = head.cellIndex;
        const down = head.getAttribute("aria-sort") === "ascending"
          || (head.getAttribute("aria-sort") === "none" && column > 1);
        for (const other of all("#class thead th[aria-sort]")) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = (row) => row.cells[column].dataset.v;
        const numbers = column > 1;
        const compare = (a, b) => (numbers ? Number(value(a)) - Number(value(b))
          : value(a).localeCompare(value(b), "zh-TW", { numeric: true }));
        const sorted = rows().sort((a, b) => (down ? -1 : 1) * compare(a, b));
        body.replaceChildren(...sorted);
        show();
      }
      one("#search").addEventListener("input", show);
      one("#search").addEventListener("keydown", (event) => {
        if (event.key === "Enter" && visible().length) visible()[0].querySelector("a").focus();
      });
      for (const chip of all("[data-filter]")) chip.addEventListener("click", () => choose(chip.dataset.filter));
      for (const fault of all("[data-check]")) {
        fault.addEventListener("click", () => {
          only(fault.dataset.check, [...fault.cloneNode(true).childNodes]);
          one("#hand-ins").scrollIntoView();
        });
      }
      one("#only").addEventListener("click", () => only("", []));
      for (const head of all("#class thead th[aria-sort]")) {
        head.querySelector("button").addEventListener("click", () => sort(head));
      }
      one("#export").addEventListener("click", () => {
        const marks = new Map(embedded);
        for (const key of keysInBrowser()) marks.set(key, later(valid(embedded.get(key)), own(key)));
        download("marks.json", Object.fromEntries(marks));
      });
      one("#import").addEventListener("change", async (event) => {
        let taken = 0;
        const wrong = [];
        for (const file of event.target.files) {
          try {
            const marks = Object.entries(JSON.parse(await file.text()).marks);
            if (!marks.every(([, value]) => valid(value))) throw new Error(file.name);
            for (const [key, value] of marks) {
              if (later(later(valid(embedded.get(key)), own(key)), value) === value) taken += keep(key, value);
            }
          } catch { wrong.push(file.name); }
        }
        event.target.value = "";
        one("#kept-status").textContent = say(`${taken} taken over.`, `已匯入 ${taken} 份。`)
          + (wrong.length ? say(` Not readable: ${wrong}`, ` 無法讀取：${wrong}`) : "");
        refresh();
      });
      const link = (row) => row.querySelector("a");
      const filters = all("[data-filter]").map((chip) => chip.dataset.filter);
      Object.assign(keys, {
        j: () => step(visible(), 1, link),
        k: () => step(visible(), -1, link),
        "/": () => { one("#search").focus(); one("#search").select(); },
        f: () => choose(filters[(filters.indexOf(filter) + 1) % filters.length]),
      });
      window.addEventListener("pageshow", refresh); // also when one comes back to it
      window.addEventListener("storage", refresh);
      refresh();
    }

    function student() {
      const form = one("#mine");
      const key = form.dataset.key;
      const inputs = all("input[data-check]", form);
      const note = one("#note");
      const names = inputs.map((input) => input.dataset.check);
      const embedded = valid(JSON.parse(form.dataset.own));
      const known = () => later(embedded, own(key));
      function read() {
        const points = { ...known().points }; // also of checks that do not wait in this run
        for (const name of names) delete points[name];
        for (const input of inputs) {
          if (input.value !== "" && input.checkValidity()) points[input.dataset.check] = input.valueAsNumber;
        }
        return { points, note: note.value, at: Date.now() };
      }
      function fill() {
        const mine = known();
        for (const input of inputs) input.value = mine.points[input.dataset.check] ?? "";
        note.value = mine.note;
        add();
      }
      function add() {
        const points = sum(read().points, names);
        if (!one("#own")) return;
        one("#own").textContent = points;
        one("#total").textContent = round(Number(form.dataset.earned) + points);
      }
      form.addEventListener("submit", (event) => event.preventDefault());
      form.addEventListener("input", () => {
        const wrong = inputs.some((input) => !input.checkValidity());
        const kept = keep(key, read());
        one("#kept-status").textContent = wrong
          ? say("A number is out of range: it is not kept.", "有分數超出範圍，未保存。")
          : kept ? say("Kept in this browser.", "已保存在這個瀏覽器。")
            : say("This browser keeps nothing: export before you leave.", "這個瀏覽器無法保存，離開前請匯出。");
        if (!kept) one(".apart").hidden = false;
        add();
      });
      one(".apart").hidden = stored.get(prefix + "here") === "1";
      one("#export").addEventListener("click", () => download(`marks-${key}.json`, { [key]: read() }));

      // The neighbours as the overview lists them
      let order = [];
      try { order = JSON.parse(stored.get(prefix + "order")) || []; } catch { /* as they are */ }
      const place = order.indexOf(key);
      function neighbour(link, other) {
        if (place < 0) return;
        if (other === undefined) link.removeAttribute("href");
        else link.href = `${encodeURIComponent(other)}.html`;
      }
      neighbour(one("#previous"), order[place - 1]);
      neighbour(one("#next"), order[place + 1]);
      const go = (link) => { if (link.href) link.click(); };
      const stops = all(".check, .group");
      Object.assign(keys, {
        n: () => go(one("#next")),
        p: () => go(one("#previous")),
        u: () => go(one("#up")),
        j: () => step(stops, 1),
        k: () => step(stops, -1),
        m: () => inputs[0].focus(),
      });
      window.addEventListener("pageshow", fill);
      fill();
    }
  });
})();
