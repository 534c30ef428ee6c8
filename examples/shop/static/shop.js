// Marks the current category.
for (const link of document.querySelectorAll("header nav a")) {
  if (location.pathname.startsWith(link.getAttribute("href"))) link.setAttribute("aria-current", "page");
}
