"use strict";
(() => {
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  const make = (tag, text, attributes = {}) => {
    const element = document.createElement(tag);
    element.textContent = text;
    Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
    return element;
  };

  const keyOf = (row, column) => {
    const cell = row.cells[column];
    return cell.hasAttribute("data-key") ? cell.getAttribute("data-key") : null;
  };

  const sortRows = (body, column, down) => {
    const rows = Array.from(body.rows);
    rows.sort((a, b) => {
      const [x, y] = [keyOf(a, column), keyOf(b, column)];
      if (x === null || y === null) {
        const order = collator.compare(a.cells[column].textContent, b.cells[column].textContent);
        return down ? -order : order;
      }
      if (x === "" || y === "") return (x === "") - (y === "");
      const difference = Number(x) - Number(y);
      const order = Number.isNaN(difference) ? 0 : difference;
      return down ? -order : order;
    });
    rows.forEach((row) => body.append(row));
  };

  const makeSortable = (table, say) => {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach((head, column) => {
      const title = head.textContent;
      const button = make("button", title, { type: "button" });
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const was = head.getAttribute("aria-sort");
        const first = head.classList.contains("number") ? "descending" : "ascending";
        const other = first === "descending" ? "ascending" : "descending";
        const now = was === first ? other : first;
        heads.forEach((one) => one.setAttribute("aria-sort", "none"));
        head.setAttribute("aria-sort", now);
        sortRows(table.tBodies[0], column, now === "descending");
        say(`Sorted by ${title}, ${now}.`);
      });
    });
  };

  const makeSearchable = (holder, table, say) => {
    const rows = Array.from(table.tBodies[0].rows);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const box = make("div", "", { class: "search" });
    const label = make("label", "Search ");
    const input = make("input", "", { type: "search", "aria-controls": table.id, autocomplete: "off" });
    label.append(make("span", `in ${table.caption.textContent}`, { class: "hidden" }), input);
    const count = make("span", "", { class: "muted count" });
    box.append(label, count);
    holder.prepend(box);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let kept = 0;
      rows.forEach((row, i) => {
        const hit = words.every((word) => texts[i].includes(word));
        row.hidden = !hit;
        kept += hit;
      });
      count.textContent = words.length ? `${kept} of ${rows.length} rows` : "";
      say(words.length ? `${kept} of ${rows.length} rows are shown.` : "All rows are shown.");
    });
  };

  document.querySelectorAll(".table").forEach((holder) => {
    const table = holder.querySelector("table");
    if (table.tBodies[0].rows.length < 2) return;
    const status = make("p", "", { class: "hidden", role: "status" });
    holder.append(status);
    const say = (text) => { status.textContent = text; };
    makeSortable(table, say);
    if (holder.hasAttribute("data-search")) makeSearchable(holder, table, say);
  });

  // In a notebook the page is a frame without an address, and its links to sections would lead to the notebook's.
  if (document.URL.startsWith("about:")) {
    document.querySelectorAll('a[href^="#"]').forEach((link) => {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        const target = document.getElementById(link.getAttribute("href").slice(1));
        target.setAttribute("tabindex", "-1");
        target.focus({ preventScroll: true });
        target.scrollIntoView();
      });
    });
  }

  const save = document.getElementById("save");
  if (save) {
    save.hidden = false;
    save.addEventListener("click", () => {
      const text = document.getElementById("data").textContent;
      const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      make("a", "", { href: address, download: `${document.title}.json` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10000);
    });
  }
})();
