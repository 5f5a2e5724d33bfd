"use strict";
// Makes the tables sortable: a button in each column's head. Without this script they are plain.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const status = document.getElementById("status");

  const key = (row, column, isNumber) => {
    const cell = row.cells[column];
    if (!isNumber) return cell.textContent.trim();
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };

  const sort = (column, isRising) => {
    const isNumber = heads[column].classList.contains("number");
    const sign = isRising ? 1 : -1;
    const rows = [...body.rows].map((row) => ({ row, key: key(row, column, isNumber) }));
    // What has no value stays at the end, whichever way is up. The sort is stable.
    rows.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
      if (isNumber) return sign * (a.key - b.key);
      return sign * a.key.localeCompare(b.key, undefined, { numeric: true });
    });
    body.append(...rows.map(({ row }) => row));
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      // Numbers begin with the largest: what takes longest, what is sparsest.
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      sort(column, order === "ascending");
      status.textContent = `Sorted by ${head.textContent}, ${order}.`;
    });
  });
}
